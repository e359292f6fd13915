"""Document -> sections and passages. Pure: the same document and sizes always give the same ids.

A passage is made of whole sentences, table rows or code lines of one heading; a section is a run of passages under a
common heading path, so that it can serve as one block of evidence in a prompt.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from os.path import commonprefix
from typing import TypeVar

from knowledge.loaders.builder import plain
from knowledge.passage import Block, Document, Passage, Section
from knowledge.sentences import sentence_spans
from knowledge.settings import ChunkingSettings

TokenCounter = Callable[[str], int]
_T = TypeVar("_T")

# A tokenizer may take a long string without spaces (Thai, base64) for one unknown token; it must not become one huge passage.
_CHARACTERS_A_TOKEN = 10


@dataclass(frozen=True, slots=True)
class _Piece:
    """The smallest unit that is never cut if it fits: a sentence, a table row, a line of code."""

    start: int
    end: int
    tokens: int
    heading: tuple[str, ...]
    block: Block


def chunk(
    document: Document, count_tokens: TokenCounter, settings: ChunkingSettings | None = None
) -> tuple[list[Section], list[Passage]]:
    """Cut a document.

    Args:
        document: any loader's result.
        count_tokens: length of a text in the embedder's tokens.
        settings: largest passage and section, in those tokens.

    Returns:
        Sections and passages in reading order; every passage lies in the section that its `section_id` names.
        Headings and diagrams are never part of a passage's text.
    """
    settings = settings or ChunkingSettings()
    pieces = list(_pieces(document, count_tokens, settings.passage_tokens))
    groups = [
        group for run in _runs(document, pieces) for group in _pack(run, lambda piece: piece.tokens, settings.passage_tokens)
    ]
    sections: list[Section] = []
    passages: list[Passage] = []
    for members in _sections(groups, settings.section_tokens):
        start, end = members[0][0].start, members[-1][-1].end
        section = Section(
            id=_id(document, start, end, "section"),
            document_id=document.id,
            heading=tuple(commonprefix([group[0].heading for group in members])),
            start=start,
            end=end,
            tokens=sum(piece.tokens for group in members for piece in group),
        )
        sections.append(section)
        passages.extend(_passage(document, section, group) for group in members)
    return sections, passages


def _pieces(document: Document, count_tokens: TokenCounter, limit: int) -> Iterator[_Piece]:
    path: list[tuple[int, str]] = []
    for block in document.blocks:
        text = document.text[block.start : block.end]
        if block.kind == "heading":
            path = [(level, title) for level, title in path if level < block.level]
            path.append((block.level, plain(text)))
        elif block.kind != "diagram":
            heading = tuple(title for _, title in path)
            spans = sentence_spans(text) if block.kind == "text" else _line_spans(text)
            for start, end in spans:
                for left, right, tokens in _cut_long(text, start, end, count_tokens, limit):
                    yield _Piece(block.start + left, block.start + right, tokens, heading, block)


def _line_spans(text: str) -> list[tuple[int, int]]:
    spans, start = [], 0
    for line in text.split("\n"):
        if line.strip():
            spans.append((start, start + len(line.rstrip())))
        start += len(line) + 1
    return spans


def _cut_long(text: str, start: int, end: int, count_tokens: TokenCounter, limit: int) -> Iterator[tuple[int, int, int]]:
    """Halve a piece that is longer than a whole passage, at a space if there is one, until it fits: (start, end, tokens)."""
    tokens = max(count_tokens(text[start:end]), (end - start) // _CHARACTERS_A_TOKEN)
    if tokens <= limit or end - start == 1:
        yield start, end, tokens
        return
    cut = text.rfind(" ", start + 1, (start + end) // 2)
    if cut < 0:
        cut = text.find(" ", (start + end) // 2, end)
    if cut < 0:
        cut = (start + end) // 2
    for left, right in ((start, cut), (cut, end)):
        part = text[left:right].strip()
        if part:
            left = text.index(part, left)
            yield from _cut_long(text, left, left + len(part), count_tokens, limit)


def _runs(document: Document, pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    """Neighbours that may share a passage: nothing stands between them, in one cell, and prose never with tables or code."""
    run: list[_Piece] = []
    for piece in pieces:
        if run and not _are_neighbours(document, run[-1], piece):
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _are_neighbours(document: Document, a: _Piece, b: _Piece) -> bool:
    if a.block.cell != b.block.cell or (a.block != b.block and not a.block.kind == b.block.kind == "text"):
        return False
    return not document.text[a.end : b.start].strip()  # a heading, a diagram or a comment would become part of the passage


def _pack(run: Sequence[_T], tokens: Callable[[_T], int], limit: int) -> Iterator[list[_T]]:
    """Fill evenly rather than greedily, so that no run ends in a scrap: one short sentence, or a section of one passage."""
    total = sum(map(tokens, run))
    target = total / max(1, -(-total // limit))
    group: list[_T] = []
    size = 0
    for item in run:
        more = tokens(item)
        if group and (size + more > limit or size + more / 2 > target):
            yield group
            group, size = [], 0
        group.append(item)
        size += more
    if group:
        yield group


def _sections(groups: list[list[_Piece]], limit: int) -> Iterator[list[list[_Piece]]]:
    """Join neighbouring passages while they fit and share at least the top heading."""
    for _, related in groupby(groups, key=lambda group: group[0].heading[:1]):
        yield from _pack(list(related), lambda group: sum(piece.tokens for piece in group), limit)


def _passage(document: Document, section: Section, group: list[_Piece]) -> Passage:
    start, end = group[0].start, group[-1].end
    return Passage(
        id=_id(document, start, end, "passage"),
        document_id=document.id,
        section_id=section.id,
        source=document.source,
        title=document.title,
        heading=group[0].heading,
        page=group[0].block.page,
        cell=group[0].block.cell,
        start=start,
        end=end,
        text=document.text[start:end],
        tokens=sum(piece.tokens for piece in group),
    )


def _id(document: Document, start: int, end: int, kind: str) -> str:
    key = f"{kind}:{document.id}:{document.content_hash}:{start}:{end}"
    return sha256(key.encode()).hexdigest()[:20]
