"""Builds the text and the blocks of a document side by side, so that every span is exact."""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from knowledge.errors import UnreadableFile
from knowledge.loaders.text import mend, smuggled
from knowledge.passage import Block, BlockKind, Document, Hidden

_LEADING_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+")
_PAIRED = re.compile(r"(\*+|`+)(?=\S)(.+?)(?<=\S)\1")  # a lone mark is meant, as in "A* search"
INVISIBLE = "written in invisible characters"
_LONGEST_HIDDEN = 2_000
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")


class TextBuilder:
    """Collects blocks in reading order; their text is joined by blank lines."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._blocks: list[Block] = []
        self._hidden: list[Hidden] = []
        self._length = 0

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks so far; their spans count in `text`."""
        return tuple(self._blocks)

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._parts)

    def add(
        self,
        kind: BlockKind,
        text: str,
        *,
        level: int = 0,
        page: int | None = None,
        cell: int | None = None,
        tight: bool = False,
    ) -> None:
        r"""Append one block; text that is blank once mended is left out.

        A heading's white space is collapsed to one line, and code keeps its indentation. The kind and the numbers are those of
        `Block`; a `tight` block is joined to the one before by "\n" instead of a blank line, like the items of a list.
        """
        for words in smuggled(text):
            self.hide(words, INVISIBLE, page=page)
        text = mend(text)
        if kind == "heading":
            text = one_line(text)
        elif kind in ("code", "diagram"):
            text = _LEADING_BLANK_LINES.sub("", text).rstrip()
        else:
            text = text.strip()
        if not text:
            return
        if self._parts:
            self._append("\n" if tight else "\n\n")
        start = self._length
        self._append(text)
        self._blocks.append(Block(kind, start, self._length, level, page, cell))

    def hide(self, text: str, how: str, *, page: int | None = None, usual: bool = False) -> None:
        """Keep a text that readers do not see out of the document, but say so; the arguments are those of `Hidden`."""
        if words := one_line(mend(text)):
            self._hidden.append(Hidden(words[:_LONGEST_HIDDEN], how, page, usual))

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def document(self, path: Path, data: bytes, source: str, title: str = "", fallback: str = "") -> Document:
        """Return the document; for the title see `make_document`.

        Raises:
            UnreadableFile: nothing was added.
        """
        return make_document(path, data, source, self.text, self.blocks, title, fallback, self._hidden)


def make_document(
    path: Path,
    data: bytes,
    source: str,
    text: str,
    blocks: tuple[Block, ...],
    title: str = "",
    fallback: str = "",
    hidden: Sequence[Hidden] = (),
) -> Document:
    """Put a document together from its mended text and blocks.

    Its title is the first of these that is not empty: `title`, the first top heading, `fallback`, the file's name.

    Raises:
        UnreadableFile: there are no blocks.
    """
    if not blocks:
        raise UnreadableFile(f"{path.name} holds no text.", "Leave it out, or add the text that it should hold.")
    top = next((text[block.start : block.end] for block in blocks if block.level == 1), "")
    title = one_line(mend(title)) or plain(top) or one_line(mend(fallback)) or pretty(path.stem)
    return Document(source, title[:200].strip(), text, blocks, sha256(data).hexdigest(), tuple(hidden))


def one_line(text: str) -> str:
    """Collapse all white space to single spaces."""
    return " ".join(text.split())


def plain(heading: str) -> str:
    """Return a Markdown heading without links, emphasis and code marks."""
    unmarked = _PAIRED.sub(r"\2", _PAIRED.sub(r"\2", _LINK.sub(r"\1", heading)))  # twice: code inside emphasis
    return one_line(re.sub(r"(?<!\w)_+|_+(?!\w)", "", unmarked))


def pretty(stem: str) -> str:
    """Return a file's stem as a title: `09-clustering_basics` becomes "Clustering basics"."""
    words = one_line(mend(re.sub(r"[-_]+", " ", re.sub(r"^\d{1,3}[-_. ]+(?=\D)", "", stem))))
    return words[:1].upper() + words[1:] if words.islower() else words or "Untitled"
