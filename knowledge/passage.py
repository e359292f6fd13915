"""The nouns of the course: Document, Block, Section, Passage, Citation. Plain frozen data, no behaviour beyond slicing.

Every span is a half-open range of character offsets into `Document.text`, so a citation always opens at its exact place.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

BlockKind = Literal["heading", "text", "table", "code", "diagram"]


@dataclass(frozen=True, slots=True)
class Block:
    """One structural unit of a document, in reading order; blocks never overlap.

    Attributes:
        kind: what the block is; a "diagram" (mermaid, graphviz) stays in the text but never becomes a passage.
        start, end: characters in `Document.text`.
        level: 1 to 6 for a heading, 0 otherwise.
        page: 1-based page of a PDF or slide of a deck, else None.
        cell: 1-based cell of a notebook, else None.
    """

    kind: BlockKind
    start: int
    end: int
    level: int = 0
    page: int | None = None
    cell: int | None = None


@dataclass(frozen=True, slots=True)
class Hidden:
    """Text in a file that its readers do not see, and that is therefore not part of the document.

    Attributes:
        text: what it says, on one line.
        how: why it is not seen, in a few words that end a sentence such as "It was left out: ...".
        page: as in Block.
        usual: most files have such text for good reasons (comments, alternatives for old programs).
    """

    text: str
    how: str
    page: int | None = None
    usual: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """One source file as text plus structure.

    Attributes:
        source: where it came from; identifies the document across versions (a path, or `course/<file>` for the starter course).
        title: what to call it in a citation.
        text: mended, readable text, its lines ended by a line feed; all spans count in it.
        blocks: headings, text, tables and code in reading order.
        content_hash: SHA-256 of the file's bytes; unchanged hash means nothing to do.
        hidden: what was left out because nobody sees it; only a loader knows, so it is empty for a document from the index.
    """

    source: str
    title: str
    text: str
    blocks: tuple[Block, ...]
    content_hash: str
    hidden: tuple[Hidden, ...] = field(default=(), compare=False)

    @property
    def id(self) -> str:
        """Stable across versions of the same source."""
        return sha256(self.source.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Section:
    """A run of blocks under one heading path, small enough to be a prompt's evidence block (about 1,000 tokens at most)."""

    id: str
    document_id: str
    heading: tuple[str, ...]
    start: int
    end: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Passage:
    """What is embedded, retrieved and cited: a few sentences, one table or one piece of code.

    Attributes:
        id: stable hash of document id, document content and span.
        heading: heading path from the document's top heading down, may be empty.
        page, cell: of the passage's first block.
        text: `document.text[start:end]`, verbatim.
        tokens: length in the embedder's tokens.
    """

    id: str
    document_id: str
    section_id: str
    source: str
    title: str
    heading: tuple[str, ...]
    page: int | None
    cell: int | None
    start: int
    end: int
    text: str
    tokens: int

    @property
    def searchable(self) -> str:
        """What is embedded and indexed: the heading path gives a passage the context that its sentences leave out."""
        headings = dict.fromkeys((self.title, *self.heading))  # ordered, and the title is often the first heading too
        return " > ".join(headings) + "\n" + self.text


@dataclass(frozen=True, slots=True)
class RankedPassage:
    """A passage with why it was retrieved.

    Attributes:
        score: fused score, higher is better; comparable within one retrieval only.
        similarity: cosine of question and passage embeddings, -1 to 1.
    """

    passage: Passage
    score: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Citation:
    """The place that supports one sentence of an answer.

    Attributes:
        number: 1-based position of the passage in the turn's evidence; what the reader sees as [n].
        quote: the supporting sentence, verbatim from the source.
        start, end: the quote's characters in the document.
    """

    number: int
    passage: Passage
    quote: str
    start: int
    end: int
