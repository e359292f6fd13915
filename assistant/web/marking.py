"""Text of the course as the page can draw it: the cited words marked, the rest safe for Chainlit's Markdown."""

import re
from collections.abc import Sequence

from course_guard.rules.markup import UnsafeMarkupRule
from knowledge.passage import Document, Passage

# Around cited words; SourcePassage.jsx turns them into <mark>. Unicode punctuation, because Markdown lets emphasis begin
# and end beside punctuation, and so rare that no course contains them.
OPEN, CLOSE = "\u2e28", "\u2e29"

Span = tuple[int, int]

_UNSAFE = UnsafeMarkupRule()
_AROUND = 700  # characters of context on either side of a passage
_VERBATIM_OR_RISKY = re.compile(
    r"(?P<verbatim>(?P<fence>```|~~~).*?(?:(?P=fence)|(?P<open>\Z))"
    r"|(?P<ticks>`+)(?!`)(?:(?!\n[ \t]*\n).)+?(?<!`)(?P=ticks)(?!`)"
    r"|\$\$.+?\$\$|\$(?=\S)[^$\n]*?(?<=\S)\$(?!\d))"
    r"|\\?`+|\$|:(?=[A-Za-z])",
    re.DOTALL,
)
# What Markdown wants at the start of a line, and a table's last bar: a mark there would break list, heading, fence or row.
_LINE_START = re.compile(r"(?:\s*(?:```[^\n]*\n|~~~[^\n]*\n|[-*+>]\s+|#{1,6}\s+|\d+[.)]\s+|\|\s*))*\s*")
_LINE_END = re.compile(r"(?:\s*(?:\n```|\n~~~|\|))?\s*\Z")


def safe_markdown(text: str) -> str:
    """Escape a price's "$" (it would start a formula), a colon before a letter (Chainlit would swallow the word) and a stray
    backtick, and end an open block of code: either would find its other half in a later sentence, and lay bare its code.
    """
    return _VERBATIM_OR_RISKY.sub(_safe, text)


def _safe(found: re.Match[str]) -> str:
    if found["verbatim"]:
        return found[0] if found["open"] is None else f"{found[0]}\n{found['fence']}"
    return "".join("\\" + char for char in found[0].removeprefix("\\"))


def harmless_markdown(text: str) -> str:
    """The same words without images, and without links and tags that act: what a file of the course says is not trusted."""
    finding = _UNSAFE.look(text)
    return text if finding is None or finding.replacement is None else finding.replacement


def surroundings(document: Document, passage: Passage) -> Span:
    """The passage with some context, cut at block boundaries where one is near.

    Returns:
        Half-open span of characters in `document.text`.
    """
    low, high = passage.start - _AROUND, passage.end + _AROUND
    starts = [block.start for block in document.blocks if low <= block.start <= passage.start]
    ends = [block.end for block in document.blocks if passage.end <= block.end <= high]
    text = document.text
    start = min(starts, default=None)
    end = max(ends, default=None)
    if start is None:
        start = text.find(" ", max(low, 0), passage.start) + 1 or passage.start
    if end is None:
        end = text.rfind(" ", passage.end, high)
        end = passage.end if end < 0 else end
    return start, end


def marked(text: str, spans: Sequence[Span], shown: Span | None = None) -> str:
    """Markdown of `text[shown]` with every span between OPEN and CLOSE.

    Args:
        text: of a document, as Markdown.
        spans: characters of `text`; those that overlap are joined, those outside `shown` are cut to it.
        shown: characters of `text`, all by default.
    """
    begin, stop = shown or (0, len(text))
    parts, position = [], begin
    for start, end in _joined(spans):
        start, end = _inside_markup(text, max(start, begin), min(end, stop))
        if start < end:
            parts += [text[position:start], OPEN, text[start:end], CLOSE]
            position = end
    body = harmless_markdown("".join([*parts, text[position:stop]]))
    before = "… " if begin and text[begin - 1] == " " else ""
    after = " …" if stop < len(text) and text[stop] == " " else ""
    return before + safe_markdown(body) + after


def _joined(spans: Sequence[Span]) -> list[Span]:
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def _inside_markup(text: str, start: int, end: int) -> Span:
    """The span without the line marks at its ends."""
    quote = text[start:end]
    at_line_start = not text[text.rfind("\n", 0, start) + 1 : start].strip()
    leading = _LINE_START.match(quote) if at_line_start else re.match(r"\s*", quote)
    trailing = _LINE_END.search(quote)
    return start + (leading.end() if leading else 0), start + (trailing.start() if trailing else len(quote))
