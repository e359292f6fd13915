"""Plain text to paragraphs; text that is written in Markdown is read as Markdown."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from knowledge.loaders.builder import INVISIBLE, make_document
from knowledge.loaders.markdown import markdown_document
from knowledge.loaders.text import decode, mend, smuggled
from knowledge.passage import Block, Document, Hidden

# Several lines of a kind, because one "# comment" or one row of dashes proves nothing.
_SIGNS = (
    (re.compile(r"^#{1,6} \S.*$", re.MULTILINE), 2),
    (re.compile(r"^(?:```|~~~)[\w{]*[ \t]*$", re.MULTILINE), 2),
    (re.compile(r"^\|?(?:[ \t]*:?-{3,}:?[ \t]*\|)+(?:[ \t]*:?-{3,}:?)?[ \t]*$", re.MULTILINE), 1),
    (re.compile(r"^\S[^\n]{0,80}\n={3,}[ \t]*$", re.MULTILINE), 1),
    (re.compile(r"\[[^\]\n]{1,200}\]\(https?://[^)\s]{1,300}\)"), 2),
    (re.compile(r"\*\*[^*\n]{1,200}\*\*"), 3),
)
_PARAGRAPH = re.compile(r"\S(?:[^\n]|\n(?![ \t]*(?:\n|\Z)))*")


def load_plain(path: Path, data: bytes, source: str) -> Document:
    """Load a .txt file: paragraphs are blocks of text, unless it looks like Markdown.

    Raises:
        UnreadableFile: binary content, no known encoding, or no text.
    """
    raw = decode(data, path.name)
    text = mend(raw)
    if looks_like_markdown(text):
        return markdown_document(path, data, source, raw)
    hidden = [Hidden(words, INVISIBLE) for words in smuggled(raw)]
    return make_document(path, data, source, text, tuple(paragraphs(text)), hidden=hidden)


def looks_like_markdown(text: str) -> bool:
    """Return whether the text uses headings, fences, tables, links or emphasis of Markdown; its beginning decides."""
    sample = text[:200_000]
    return any(sum(1 for _ in islice(pattern.finditer(sample), least)) == least for pattern, least in _SIGNS)


def paragraphs(text: str) -> Iterator[Block]:
    """Yield runs of lines between blank lines as blocks of text."""
    for match in _PARAGRAPH.finditer(text):
        yield Block("text", match.start(), match.start() + len(match[0].rstrip()))
