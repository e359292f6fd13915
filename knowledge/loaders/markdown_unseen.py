"""What Markdown keeps from the readers of the finished page: comments, titles of links, elements hidden by their style."""

import re
from collections.abc import Iterator

from knowledge.loaders.web_unseen import Colour, colour_of, declarations, hides, inherited, same
from knowledge.passage import Hidden

Span = tuple[int, int]

_SIGNS = ("<!--", "]:", "](", "style", "hidden", "color")
_FARTHEST = 20_000  # characters to the closing tag
_FENCE = re.compile(
    r"^ {0,3}(?:>[ \t]*)*(`{3,}+|~{3,}+)[^\n]*+\n.*?(?:^ {0,3}(?:>[ \t]*)*\1[`~]*+[ \t]*+$|\Z)", re.MULTILINE | re.DOTALL
)
_CODE = re.compile(r"(?<!`)(`{1,20})(?!`)[^\n]{1,1000}?(?<!`)\1(?!`)")
_COMMENT = re.compile(r"<!--.*?(?:--!?>|\Z)", re.DOTALL)
_NOTE = re.compile(
    r"^ {0,3}\[(?!\^)[^\]\n]{1,200}\]:[ \t]*\S+[ \t]+(?:\"([^\"\n]*)\"|'([^'\n]*)'|\(([^()\n]*)\))[ \t]*$", re.MULTILINE
)
_LINK_TITLE = re.compile(r"\]\([^()\s]{1,500}(\s+(?:\"([^\"\n]{1,500})\"|'([^'\n]{1,500})'))\s*\)")
_OPENING = re.compile(
    r"<([a-z][\w-]*)((?:\s+[\w:-]+(?:\s*=\s*(?:\"[^\"]{0,2000}\"|'[^']{0,2000}'|[^\s\"'<>]{1,200}))?){1,30})\s*/?>",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"([\w:-]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>]+)))?")
_PAPER: Colour = (255, 255, 255)


def without_unseen(text: str) -> tuple[str, list[Hidden]]:
    """Cut from Markdown what is not on the finished page; code stays as it is.

    Args:
        text: mended Markdown.

    Returns:
        The rest, and what was cut, in order. Comments and titles of links are usual.
    """
    lower = text.lower()
    if not any(sign in lower for sign in _SIGNS):
        return text, []
    cuts: list[tuple[Span, Hidden]] = []
    taken = bytearray(len(text))  # 1 where there is code or a cut
    for pattern in (_FENCE, _CODE):
        for found in pattern.finditer(text):
            taken[found.start() : found.end()] = b"\1" * len(found[0])
    for (start, end), hidden in _candidates(text):
        if taken.find(1, start, end) < 0:
            cuts.append(((start, end), hidden))
            taken[start:end] = b"\1" * (end - start)
    cuts.sort(key=lambda cut: cut[0])
    kept, end = [], 0
    for (start, stop), _ in cuts:
        kept.append(text[end:start])
        end = stop
        if text.endswith("\n", 0, start):  # it stood alone, and leaves no gap
            while text.startswith("\n", end):
                end += 1
    return "".join([*kept, text[end:]]), [hidden for _, hidden in cuts]


def _candidates(text: str) -> Iterator[tuple[Span, Hidden]]:
    for found in _COMMENT.finditer(text):
        yield found.span(), Hidden(_one_line(found[0].removeprefix("<!--").removesuffix("-->")), "in a comment", usual=True)
    position = 0
    while opening := _OPENING.search(text, position):
        position = opening.end()
        if how := _why(opening[2]):
            span = opening.start(), _closing(text, opening)
            position = max(position, span[1])
            words = re.sub(r"<[^<>]{0,2000}>", " ", text[slice(*span)])
            yield span, Hidden(_one_line(words), how)
    for found in _NOTE.finditer(text):  # "[//]: # (words)" is the commonest way to write a comment
        words = _one_line(found[1] or found[2] or found[3] or "")
        yield found.span(), Hidden(words, "in a comment", usual=True)
    for found in _LINK_TITLE.finditer(text):
        yield found.span(1), Hidden(_one_line(found[2] or found[3]), "in the title of a link", usual=True)


def _why(attributes: str) -> str:
    given = {name.lower(): a or b or c for name, a, b, c in _ATTRIBUTE.findall(attributes)}
    if "hidden" in given:
        return "not displayed"
    style = declarations(given.get("style", ""))
    if how := hides(style) or inherited(style):
        return how
    colour = colour_of(style.get("color") or given.get("color", "").lower())
    if colour == "transparent":
        return "transparent"
    is_white = isinstance(colour, tuple) and same(colour, _PAPER)
    return "in the colour of its background" if is_white and not any(name.startswith("background") for name in style) else ""


def _closing(text: str, opening: "re.Match[str]") -> int:
    """Where the element ends: behind its closing tag, or with its paragraph if there is none."""
    depth = 1
    near = text[opening.end() : opening.end() + _FARTHEST]
    for tag in re.finditer(rf"<(/?){re.escape(opening[1])}\b[^<>]{{0,2000}}>", near, re.IGNORECASE):
        depth += -1 if tag[1] else 1
        if depth == 0:
            return opening.end() + tag.end()
    blank = text.find("\n\n", opening.end())
    return len(text) if blank < 0 else blank


def _one_line(text: str) -> str:
    return " ".join(text.split())[:2_000]
