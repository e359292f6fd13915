"""Markdown to blocks whose spans point into the mended source itself."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from knowledge.loaders.builder import INVISIBLE, make_document
from knowledge.loaders.markdown_unseen import without_unseen
from knowledge.loaders.text import decode, mend, smuggled
from knowledge.passage import Block, BlockKind, Document, Hidden

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

DIAGRAMS = frozenset({"mermaid", "graphviz", "dot", "plantuml", "puml"})
_LONGEST_HEADING = 200
_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\n(?=\s*[\w-]+\s*[:=])(.*?\n)(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"""^title\s*[:=]\s*(["']?)(.+?)\1\s*$""", re.MULTILINE)
_ALL_BOLD = re.compile(r"(\*\*|__)(?=\S)((?:(?!\1).)+)\1")
_HTML_HEADING = re.compile(r"\s*<h([1-6])[^>]*>\s*([^<>]*[^<>\s])\s*</h\1>\s*$", re.IGNORECASE)
_WORDLESS = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1\s*>|\Z)|<[^>]*>|\s+", re.DOTALL | re.IGNORECASE)
_EMBEDDED = re.compile(r"(data:[\w.+-]+/[\w.+-]+;base64,)[A-Za-z0-9+/=]{80,}")
_KINDS: dict[str, BlockKind] = {"fence": "code", "code_block": "code", "table_open": "table"}
_LEAVES = (*_KINDS, "heading_open", "paragraph_open", "html_block")


def load_markdown(path: Path, data: bytes, source: str) -> Document:
    """Load a Markdown file; front matter gives the title and no content.

    Raises:
        UnreadableFile: binary content, no known encoding, or no text.
    """
    return markdown_document(path, data, source, decode(data, path.name))


def markdown_document(path: Path, data: bytes, source: str, raw: str) -> Document:
    """Make the document of Markdown as it was decoded.

    Raises:
        UnreadableFile: no text.
    """
    text, hidden = without_unseen(without_embedded(mend(raw)))
    front = _FRONT_MATTER.match(text)
    title = _TITLE.search(front[2]) if front else None
    hidden += [Hidden(words, INVISIBLE) for words in smuggled(raw)]
    return make_document(path, data, source, text, tuple(markdown_blocks(text)), title[2] if title else "", hidden=hidden)


def without_embedded(text: str) -> str:
    """Cut the bytes of images embedded as data URIs: nobody reads them, and they can be megabytes."""
    return _EMBEDDED.sub(r"\1", text)


@lru_cache(maxsize=1)
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    # Spans of blocks are all we need: without inline parsing it is several times faster and has no slow inputs.
    return MarkdownIt("commonmark", {"maxNesting": 100}).enable("table").disable("inline")


def markdown_blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of mended Markdown.

    A heading's span holds its words only. The paragraphs of one list item, or of one quotation, are one block of text unless
    code or a table comes between them. Fences stay with their code.
    """
    front = _FRONT_MATTER.match(text)
    skipped = front[0].count("\n") if front else 0
    lines = text.split("\n")
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    tokens = _parser().parse("\n".join([""] * skipped + lines[skipped:]))
    container = -1  # token that opened the current paragraph, list item or quotation
    growing, grows_in = None, -1  # block of text that the next paragraph of the same container extends
    for number, token in enumerate(tokens):
        if token.level == 0 or (token.type == "list_item_open" and token.level == 1):
            container = number
        block = _block(lines, starts, token) if token.type in _LEAVES else None
        if block is None:
            continue
        if growing and block.kind == "text" and grows_in == container:
            growing = Block("text", growing.start, block.end)
            continue
        if growing:
            yield growing
        growing, grows_in = (block, container) if block.kind == "text" else (None, -1)
        if not growing:
            yield block
    if growing:
        yield growing


def _block(lines: list[str], starts: list[int], token: "Token") -> Block | None:
    """Return the block of a leaf token, or None for one without content."""
    first, last = token.map or (0, 0)
    while last > first and not lines[last - 1].strip():
        last -= 1
    if first == last:
        return None
    start, end = starts[first], starts[last - 1] + len(lines[last - 1].rstrip())
    if token.type in _KINDS:
        language = re.split(r"[\s,}]", token.info.strip().lstrip("{").lower())[0]
        return Block("diagram" if language in DIAGRAMS else _KINDS[token.type], start, end)
    start += len(lines[first]) - len(lines[first].lstrip())
    if token.type == "heading_open" and token.level == 0:
        return (
            _setext(lines, starts, first, last, token.markup)
            if token.markup in ("=", "-")
            else _atx(lines[first], starts[first])
        )
    if token.type == "html_block":
        heading = _HTML_HEADING.match(lines[first]) if last - first == 1 and token.level == 0 else None
        if heading:
            return Block("heading", starts[first] + heading.start(2), starts[first] + heading.end(2), int(heading[1]))
        if not _WORDLESS.sub("", "\n".join(lines[first:last])):
            return None
    return Block("text", start, end)


def _atx(line: str, offset: int) -> Block | None:
    marked = line.strip()
    words = marked.lstrip("#")
    level = len(marked) - len(words)
    words = words.strip()
    unclosed = words.rstrip("#")
    if not unclosed or unclosed[-1] in " \t":  # otherwise "#" belongs to the last word, as in "C#"
        words = unclosed.rstrip()
    if not words:
        return None
    start = line.index(words, line.index("#") + level)
    end = start + len(words)
    if len(words) > _LONGEST_HEADING:
        return Block("text", offset + start, offset + end)
    if bold := _ALL_BOLD.fullmatch(line, start, end):
        start, end = bold.span(2)
    return Block("heading", offset + start, offset + end, level)


def _setext(lines: list[str], starts: list[int], first: int, last: int, markup: str) -> Block:
    """Return the heading above its underline.

    A rule right below a long paragraph makes a heading of it by the letter of CommonMark, against its author's mind.
    """
    start = starts[first] + len(lines[first]) - len(lines[first].lstrip())
    end = starts[last - 2] + len(lines[last - 2].rstrip())
    if last - first > 2 or end - start > _LONGEST_HEADING:
        return Block("text", start, end)
    return Block("heading", start, end, 1 if markup == "=" else 2)
