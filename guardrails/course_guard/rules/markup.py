"""Markup that acts: scripts, event handlers, embedded things, images, and links to where no cited passage points.

The text is read by a CommonMark parser, as the page reads it, so that code shown as code passes. The parser's own rules tell
where links, images and tags lie; what is unsafe is made plain there, word for word: a link becomes its text, an image its
description, a URL a span of code, a tag's "<" an "&lt;". The outcome is read again, and put into a block of code as it is if
anything is left. No sanitiser of HTML is needed, because an escaped tag acts in no reading, however a browser mends it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline, autolink, backtick, html_inline, image, link
from markdown_it.token import Token

from course_guard.verdict import Finding

_LONGEST = 20_000  # characters that are read: no sentence has more, and some markup takes the parser quadratic time
_ROUNDS = 6
_MAY_ACT = re.compile(r"<[a-z/!?]|\]\s?[(\[:]|//|www\.|&[#a-z]|\\[/:.]", re.IGNORECASE)
_REASON = "The text contains markup that could act or carry data out: a script, an image or a link that no cited passage has."

# As remark-gfm makes links of bare text, and hosts without a scheme, which complete a link begun in another sentence.
_BARE_URL = re.compile(
    r"(?<![a-z0-9])(?:https?://|ftps?://|www\.)[^\s<>`]+|(?<![\w/:)\]}*])//(?=[\w-]{1,63}\.\w)[^\s<>`]+", re.IGNORECASE
)
_WEB_URL = re.compile(r"https?://[^\s<>`]+", re.IGNORECASE)
_URL_END = ".,;:!?\"'*_~)]}$"
_ELSEWHERE = r"\s*<?(?:[a-z][a-z0-9+.-]{1,20}:|[/\\]{2}|&|\\)"
_DEFINITION = re.compile(rf"^[ \t>*+-]{{0,99}}(?=\[[^\]\n]{{1,999}}\]:{_ELSEWHERE})", re.MULTILINE | re.IGNORECASE)  # [1]: URL
_TARGET = re.compile(rf"(?=\]\({_ELSEWHERE})", re.IGNORECASE)  # the second half of a link: ](URL)

_NOWHERE = re.compile(r"[\w .,+*^=()\[\]-]*|\w+::[\w:]*")

_TAG = re.compile(
    r"<(?:[!?]|/?(?P<name>[a-z][^\s/>]*+)(?P<rest>(?:[^>\"']|\"[^\"]{0,500}\"|'[^']{0,500}'|[\"']){0,500}))",
    re.IGNORECASE,
)
_ACTIVE = frozenset({  # even without attributes: they run, embed, ask for input or swallow what follows
    "applet", "button", "embed", "fencedframe", "form", "frame", "frameset", "iframe", "listing", "marquee", "math", "noembed",
    "noframes", "noscript", "object", "plaintext", "portal", "script", "style", "svg", "template", "textarea", "xmp",
})  # fmt: skip
_ACTING = re.compile(
    r"(?:^|[\s/\"'])(?:on\w+|[\w:-]*(?:href|src\w*)|style|action|formaction|data|background|poster|ping|code\w*|content"
    r"|http-equiv|manifest|values|to)\s*=",
    re.IGNORECASE,
)


def urls_in(texts: Iterable[str]) -> frozenset[str]:
    """The web addresses that stand in texts, without the punctuation behind them."""
    return frozenset(found.rstrip(_URL_END) for text in texts for found in _WEB_URL.findall(text))


class _Edit(NamedTuple):
    """Put `text` in place of the characters from `start` to `end`."""

    start: int
    end: int
    text: str


class _Found(NamedTuple):
    """What an inline rule of the parser found: a half-open span, of which a link's text is `inner` to `outer`."""

    kind: str
    start: int
    end: int
    inner: int = 0
    outer: int = 0
    url: str = ""


class _Hidden(Exception):
    """Something unsafe has no place in the source that could be told."""


class UnsafeMarkupRule:
    """Notices what would act when the text is drawn as Markdown or HTML.

    Args:
        allowed_urls: where links may point, such as the URLs that stand in the cited passages. Images are never fetched.
    """

    name = "output.markup"
    wants = ("allowed_urls",)

    def __init__(self, allowed_urls: Collection[str] = ()) -> None:
        self._allowed = {url for url in allowed_urls if url.lower().startswith(("http://", "https://"))}

    def look(self, text: str, allowed_urls: Collection[str] = ()) -> Finding | None:
        """What acts in the text; `allowed_urls` are allowed for this text besides."""
        if allowed_urls:
            return UnsafeMarkupRule({*self._allowed, *allowed_urls}).look(text)
        if not _MAY_ACT.search(text):
            return None
        source = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")  # as the parser does
        spans: tuple[tuple[int, int], ...] = ()
        if len(source) <= _LONGEST:
            try:
                for _ in range(_ROUNDS):
                    edits = sorted(set(self._in_blocks(source))) or sorted(set(self._in_line(source)))
                    if not edits:
                        return Finding(_REASON, spans, 1.0, source) if spans else None
                    spans = spans or tuple((edit.start, edit.end) for edit in edits)
                    source = _edited(source, edits)
            except _Hidden:
                pass  # shown as code, below
        return Finding(_REASON, ((0, len(text)),), 1.0, _as_code(source))

    def _in_blocks(self, source: str) -> Iterator[_Edit]:
        """Edits where the text stands alone."""
        starts = [0, *(match.end() for match in re.finditer("\n", source)), len(source)]
        lines = source.split("\n")
        read: dict[int, int] = {}  # how far each line was read: the cells of a table share one
        for token in _parser(blocks_only=True).parse(source):
            first, last = token.map or (0, 0)
            if token.type == "html_block":
                yield from _tags(source, starts[first], starts[min(last, len(lines))])
            elif token.type == "inline":
                places: list[int] = []  # in the source, of each character of the token
                for line, words in enumerate(token.content.split("\n"), first):
                    at = lines[line].find(words, read.get(line, 0)) if line < len(lines) else -1
                    read[line] = max(at, 0) + len(words)
                    places += (
                        range(starts[line] + at, starts[line] + at + len(words) + 1) if at >= 0 else [-1] * (len(words) + 1)
                    )
                for edit in self._in_line(token.content):
                    start, end = places[edit.start], places[edit.end]
                    if min(start, end) < 0:
                        raise _Hidden
                    yield _Edit(start, end, edit.text)

    def _in_line(self, text: str) -> Iterator[_Edit]:
        """Edits in one paragraph, or where the text is added to one."""
        env: dict[str, list[_Found]] = {"found": []}
        tokens = _parser().parseInline(text, env)[0].children or []
        edits = []
        opaque = bytearray(len(text) + 1)  # 1: code or a target, where nothing else is looked for
        for kind, start, end, inner, outer, url in env["found"]:
            if kind == "image" or kind == "link" and not self._may_point_to(url):
                edits += [_Edit(start, inner, ""), _Edit(outer, end, "")]
                start = outer
            elif kind == "autolink" and not self._may_point_to(url):
                edits.append(_Edit(start, end, _code(text[start + 1 : end - 1])))
            elif kind == "html":
                edits += _tags(text, start, end)
            opaque[start:end] = b"\1" * (end - start)
        for start, end in _bare_urls(text):
            if not opaque[start] and text[start:end] not in self._allowed:
                edits.append(_Edit(start, end, _code(text[start:end])))
        brackets = [match.end() for pattern in (_DEFINITION, _TARGET) for match in pattern.finditer(text)]
        edits += [_Edit(at, at, "\\") for at in brackets if not opaque[at]]
        edits += [edit for edit in _tags(text, 0, len(text)) if not opaque[edit.start]]
        if not edits:
            # The page looks for URLs in what entities and escapes stand for: `http&#58;//host` becomes a link, too.
            shown = _shown(tokens)
            if any(shown[start:end] not in self._allowed for start, end in _bare_urls(shown)):
                raise _Hidden
        yield from edits

    def _may_point_to(self, url: str) -> bool:
        # `f[0](1)` and `vector<std::string>` are links to Markdown, too, and lead nowhere else.
        return url in self._allowed or bool(_NOWHERE.fullmatch(url))


def _bare_urls(text: str) -> Iterator[tuple[int, int]]:
    """Half-open spans of what the page makes links of, without the punctuation behind it."""
    for match in _BARE_URL.finditer(text):
        yield match.start(), match.start() + len(match[0].rstrip(_URL_END))


def _shown(tokens: list[Token]) -> str:
    """What the page shows of a paragraph outside of code and links."""
    parts, links = [], 0
    for token in tokens:
        links += token.nesting if token.type in ("link_open", "link_close") else 0
        parts.append(token.content if token.type == "text" and not links else " ")
    return "".join(parts)


def _tags(text: str, start: int, end: int) -> Iterator[_Edit]:
    """Edits that make the acting tags between two places plain."""
    for match in _TAG.finditer(text, start, end):
        name = match["name"]
        if not name or name.lower() in _ACTIVE or _ACTING.search(match["rest"]):
            yield _Edit(match.start(), match.start() + 1, "&lt;")


def _edited(text: str, edits: list[_Edit]) -> str:
    parts, position = [], 0
    for edit in edits:
        if edit.start >= position:
            parts += [text[position : edit.start], edit.text]
            position = edit.end
    return "".join([*parts, text[position:]])


def _code(text: str) -> str:
    """A span of code that shows `text`."""
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks}{text}{ticks}"


def _as_code(text: str) -> str:
    """A block of code that shows `text`, wherever in an answer it is put."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"\n\n{fence}text\n{text}\n{fence}\n"


# The parser, whose inline rules note in `env["found"]` where they found something


def _noting(kind: str, rule: Callable[[StateInline, bool], bool]) -> Callable[[StateInline, bool], bool]:
    def noted(state: StateInline, silent: bool) -> bool:
        found: list[_Found] = state.env["found"]
        start, tokens, earlier = state.pos, len(state.tokens), len(found)
        if not rule(state, silent):
            return False
        if not silent:
            inner = outer = start
            if kind == "image":
                del found[earlier:]  # of its description, which is read as a text of its own
            if kind in ("link", "image"):
                inner = start + len("![" if kind == "image" else "[")
                outer = state.md.helpers.parseLinkLabel(state, inner - 1, kind == "link")
            opened = next((token for token in state.tokens[tokens:] if token.type == "link_open"), None)
            url = str(opened.attrGet("href")) if opened and kind != "code" else ""
            found.append(_Found(kind, start, state.pos, inner, outer, url))
        return True

    return noted


@cache
def _parser(blocks_only: bool = False) -> MarkdownIt:
    """A CommonMark parser with tables.

    Definitions of links stay text for it, because they may stand in another sentence than the link; indented code, too,
    because it is none where the text is added to a paragraph.
    """
    parser = MarkdownIt("commonmark", {"html": True}).enable("table").disable(["reference", "code"])
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    if blocks_only:
        parser.core.ruler.enableOnly(["normalize", "block"])
    for name, kind, rule in (
        ("link", "link", link),
        ("image", "image", image),
        ("autolink", "autolink", autolink),
        ("html_inline", "html", html_inline),
        ("backticks", "code", backtick),
    ):
        parser.inline.ruler.at(name, _noting(kind, rule))
    return parser
