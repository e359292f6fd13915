"""What the course consists of right now: documents, sections and passages in one SQLite file.

The catalogue is the truth. Vectors and BM25 follow it: a passage that the catalogue does not hold is never returned, so one
SQLite transaction per document makes ingest atomic, whatever happens to the other two. The vectors of sentences lie in the same
file, but come before their passage and go after it, as its own vector does in Chroma.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from knowledge.errors import IndexMismatch
from knowledge.passage import Block, Document, Passage, Section

SCHEMA_VERSION = "4"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, source TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL, blocks TEXT NOT NULL,
    content_hash TEXT NOT NULL, added_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sections (
    id TEXT PRIMARY KEY, document_id TEXT NOT NULL REFERENCES documents(id) ON DELETE CASCADE, heading TEXT NOT NULL,
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, tokens INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS passages (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    document_id TEXT NOT NULL REFERENCES documents(id) ON DELETE CASCADE, section_id TEXT NOT NULL, heading TEXT NOT NULL,
    page INTEGER, cell INTEGER, start INTEGER NOT NULL, "end" INTEGER NOT NULL, text TEXT NOT NULL, tokens INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS sentences (passage_id TEXT PRIMARY KEY, spans BLOB NOT NULL, vectors BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS sections_of ON sections (document_id);
CREATE INDEX IF NOT EXISTS passages_of ON passages (document_id);
CREATE INDEX IF NOT EXISTS passages_in ON passages (section_id);
"""
# Deleting the file instead would pull it from under the readers of other processes.
_ERASE = f"""
BEGIN IMMEDIATE;
DROP TABLE IF EXISTS sentences; DROP TABLE IF EXISTS passages; DROP TABLE IF EXISTS sections; DROP TABLE IF EXISTS documents;
{_SCHEMA}
DELETE FROM meta WHERE key <> 'generation';
UPDATE meta SET value = value + 1;
COMMIT;
VACUUM;
"""
# The text is kept twice: cutting each passage out of its document in SQL reads the whole document for every passage.
_PASSAGE_QUERY = """
SELECT p.id, p.document_id, p.section_id, d.source, d.title, p.heading, p.page, p.cell, p.start, p."end", p.text, p.tokens
FROM passages p JOIN documents d ON d.id = p.document_id
"""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """One line of `lectern sources list`; `tokens` counts the passages in the embedder's tokens."""

    document_id: str
    source: str
    title: str
    passages: int
    tokens: int
    added_at: str


@dataclass(frozen=True, slots=True, eq=False)
class Sentences:
    """The sentences of one passage.

    Attributes:
        spans: half-open character ranges of `Passage.text`, in reading order.
        vectors: their unit vectors, shape (len(spans), dimension); half precision moves a cosine by less than 0.001.
    """

    spans: tuple[tuple[int, int], ...]
    vectors: NDArray[np.float16]


class Catalogue:
    """The SQLite file of an index.

    Args:
        path: the file; its folder must exist.
        embedder: identity of the embedder that this process would use.

    Raises:
        IndexMismatch: the index was made with another embedder or by another version.
    """

    def __init__(self, path: Path, embedder: str) -> None:
        self._path = path
        self._made_with = {"schema": SCHEMA_VERSION, "embedder": embedder}
        with closing(self._connect()) as db, db:
            db.executescript(_SCHEMA)
            db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", [("generation", "0"), *self._made_with.items()])
        self.check()

    def check(self) -> None:
        """Look again whether the index is still one that this process can use.

        Raises:
            IndexMismatch: it was erased and made anew in another way.
        """
        with closing(self._connect()) as db:
            for key, wanted in self._made_with.items():
                found = self._meta(db, key)
                if found not in (wanted, None):
                    back = "Go back to that model, or" if key == "embedder" else "Lectern has changed;"
                    raise IndexMismatch(
                        f"The index in {self._path.parent} was made with {key} {found}, but this is {key} {wanted}.",
                        f"{back} build the index anew from the same files: lectern ingest --rebuild",
                    )

    @staticmethod
    def erase(path: Path) -> None:
        """Forget everything, so that an index can be made anew in any way; other processes see an empty course."""
        with closing(_connect(path)) as db:
            db.executescript(_ERASE)

    @staticmethod
    def recorded(path: Path) -> list[str]:
        """Sources of the documents in the catalogue at `path`, whichever embedder or version made it; none if there is none."""
        if not path.exists():
            return []
        with closing(_connect(path)) as db:
            known = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'documents'").fetchone()
            return [row["source"] for row in db.execute("SELECT source FROM documents ORDER BY source")] if known else []

    def _connect(self) -> sqlite3.Connection:
        return _connect(self._path)

    @staticmethod
    def _meta(db: sqlite3.Connection, key: str) -> str | None:
        row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row["value"])

    @property
    def generation(self) -> int:
        """Grows with every change; readers compare it to notice another process's ingest."""
        with closing(self._connect()) as db:
            return int(self._meta(db, "generation") or 0)

    def put(self, document: Document, sections: Sequence[Section], passages: Sequence[Passage]) -> None:
        """Add a document or replace its previous version, in one transaction."""
        blocks = json.dumps([list(asdict(block).values()) for block in document.blocks])
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with closing(self._connect()) as db, db:
            db.execute("DELETE FROM documents WHERE id = ?", (document.id,))
            db.execute(
                "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)",
                (document.id, document.source, document.title, document.text, blocks, document.content_hash, now),
            )
            db.executemany(
                "INSERT INTO sections VALUES (?, ?, ?, ?, ?, ?)",
                [(s.id, s.document_id, json.dumps(s.heading), s.start, s.end, s.tokens) for s in sections],
            )
            db.executemany(
                'INSERT INTO passages (id, document_id, section_id, heading, page, cell, start, "end", text, tokens) '
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (p.id, p.document_id, p.section_id, json.dumps(p.heading), p.page, p.cell, p.start, p.end, p.text, p.tokens)
                    for p in passages
                ],
            )
            self._advance(db)

    def remove(self, document_id: str) -> bool:
        """Forget a document; False if there was none."""
        with closing(self._connect()) as db, db:
            removed = db.execute("DELETE FROM documents WHERE id = ?", (document_id,)).rowcount > 0
            if removed:
                self._advance(db)
        return removed

    @staticmethod
    def _advance(db: sqlite3.Connection) -> None:
        db.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")

    def hashes(self) -> dict[str, str]:
        """Content hash by source of all documents."""
        with closing(self._connect()) as db:
            return {row["source"]: row["content_hash"] for row in db.execute("SELECT source, content_hash FROM documents")}

    def sources(self) -> list[SourceInfo]:
        """All documents, by source."""
        query = """SELECT d.id, d.source, d.title, count(p.id), coalesce(sum(p.tokens), 0), d.added_at
                   FROM documents d LEFT JOIN passages p ON p.document_id = d.id GROUP BY d.id ORDER BY d.source"""
        with closing(self._connect()) as db:
            return [SourceInfo(*row) for row in db.execute(query)]

    def document(self, document_id: str) -> Document | None:
        """A document with its text and structure, or None."""
        with closing(self._connect()) as db:
            row = db.execute("SELECT * FROM documents WHERE id = ?", (document_id,)).fetchone()
        if row is None:
            return None
        blocks = tuple(Block(*values) for values in json.loads(row["blocks"]))
        return Document(row["source"], row["title"], row["text"], blocks, row["content_hash"])

    def sections(self) -> list[Section]:
        """Every section, in the order of ingest, those of a document in reading order."""
        with closing(self._connect()) as db:
            return [_section(row) for row in db.execute("SELECT * FROM sections ORDER BY rowid")]

    def passages_in(self, section_id: str) -> tuple[Passage, ...]:
        """The passages of a section in reading order; none if there is no such section."""
        with closing(self._connect()) as db:
            rows = db.execute(f"{_PASSAGE_QUERY} WHERE p.section_id = ? ORDER BY p.number", (section_id,))
            return tuple(_passage(row) for row in rows)

    def passages(self, ids: Iterable[str]) -> dict[str, Passage]:
        """The passages that exist among `ids`, by id."""
        with closing(self._connect()) as db:
            rows = db.execute(f"{_PASSAGE_QUERY} WHERE p.id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),))
            return {row["id"]: _passage(row) for row in rows}

    def all_passages(self) -> list[Passage]:
        """Every passage, in the order of ingest."""
        with closing(self._connect()) as db:
            return [_passage(row) for row in db.execute(f"{_PASSAGE_QUERY} ORDER BY p.number")]

    def passage_ids(self) -> list[str]:
        """Ids of every passage, without their text."""
        with closing(self._connect()) as db:
            return [row["id"] for row in db.execute("SELECT id FROM passages ORDER BY number")]

    def put_sentences(self, sentences: Mapping[str, Sentences]) -> None:
        """Store the sentences of passages, by passage id, which `put` may make visible later."""
        rows = [
            (id_, np.array(found.spans, dtype=np.int32).tobytes(), found.vectors.tobytes()) for id_, found in sentences.items()
        ]
        with closing(self._connect()) as db, db:
            db.executemany("INSERT OR REPLACE INTO sentences VALUES (?, ?, ?)", rows)

    def sentences(self, ids: Iterable[str]) -> dict[str, Sentences]:
        """The stored sentences of passages, by passage id."""
        with closing(self._connect()) as db:
            query = "SELECT * FROM sentences WHERE passage_id IN (SELECT value FROM json_each(?))"
            return {row["passage_id"]: _sentences(row) for row in db.execute(query, (json.dumps(list(ids)),))}

    def sweep_sentences(self) -> None:
        """Forget the sentences of passages that are not there."""
        with closing(self._connect()) as db, db:
            db.execute("DELETE FROM sentences WHERE passage_id NOT IN (SELECT id FROM passages)")


def _connect(path: Path) -> sqlite3.Connection:
    # A connection per call: cheap beside embedding, and safe in the many threads of a web server.
    db = sqlite3.connect(path, timeout=30)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA foreign_keys=ON")
    return db


def _section(row: sqlite3.Row) -> Section:
    return Section(**{**dict(row), "heading": tuple(json.loads(row["heading"]))})


def _sentences(row: sqlite3.Row) -> Sentences:
    spans = np.frombuffer(row["spans"], dtype=np.int32).reshape(-1, 2)
    vectors = np.frombuffer(row["vectors"], dtype=np.float16).reshape(len(spans), -1)
    return Sentences(tuple((start, end) for start, end in spans.tolist()), vectors)


def _passage(row: sqlite3.Row) -> Passage:
    return Passage(**{**dict(row), "heading": tuple(json.loads(row["heading"]))})
