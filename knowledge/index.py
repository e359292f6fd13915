"""One course on disk: catalogue, vectors and BM25 kept in step, seen as one object.

Order of every write: vectors of passages and of their sentences first, then the catalogue's transaction, and at the end of a
run the removal of vectors that the catalogue no longer knows. Killed anywhere in between, the catalogue still describes a
complete course; vectors that it does not know are ignored, and swept by the next run.
"""

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock, Timeout

from knowledge.calibrated import FILE as CALIBRATION
from knowledge.catalogue import Catalogue, Sentences, SourceInfo
from knowledge.embedding import Embedder, Vectors
from knowledge.errors import IndexBusy, IndexMismatch
from knowledge.lexical import LexicalIndex
from knowledge.passage import Document, Passage, Section
from knowledge.sentences import sentence_spans

if TYPE_CHECKING:
    from knowledge.store import VectorStore


_CATALOGUE, _CHROMA, _LOCK = "catalogue.sqlite", "chroma", "writing.lock"
_UNSWEPT = "unswept"  # a file that exists while there may be vectors of passages that the catalogue does not know


class CourseIndex:
    """The index in one folder.

    Args:
        folder: created if it does not exist.
        embedder: must be the one that the index was made with.

    Raises:
        IndexMismatch: it is not, and there are documents in the index; the text names the remedy.
    """

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.embedder = embedder
        try:
            self.catalogue = Catalogue(folder / _CATALOGUE, embedder.identity)
        except IndexMismatch:
            if self.recorded(folder):
                raise
            self.erase(folder)  # nothing is in it that could be lost
            self.catalogue = Catalogue(folder / _CATALOGUE, embedder.identity)
        self._lock = threading.RLock()
        self._seen_generation = -1
        self._store: VectorStore | None = None
        self._lexical: LexicalIndex | None = None
        self._live: frozenset[str] | None = None

    @staticmethod
    def erase(folder: Path) -> None:
        """Delete an index, for example before building it with another embedder.

        Raises:
            IndexBusy: another process is writing it.
        """
        if (folder / _CATALOGUE).exists():
            with _exclusive(folder):
                Catalogue.erase(folder / _CATALOGUE)
                if (folder / _CHROMA).exists():
                    shutil.rmtree(folder / _CHROMA)
                for name in (_UNSWEPT, CALIBRATION):
                    (folder / name).unlink(missing_ok=True)

    @staticmethod
    def recorded(folder: Path) -> list[str]:
        """Sources of the documents of an index, even of one that is another embedder's or version's; none if there is none."""
        return Catalogue.recorded(folder / _CATALOGUE)

    # Reading

    def sources(self) -> list[SourceInfo]:
        """The documents of the course, by source."""
        return self.catalogue.sources()

    def document(self, document_id: str) -> Document | None:
        """A document with text and structure, or None."""
        return self.catalogue.document(document_id)

    def sections(self) -> list[Section]:
        """Every section, in the order of ingest, those of a document in reading order."""
        return self.catalogue.sections()

    def section_passages(self, section_id: str) -> tuple[Passage, ...]:
        """The passages of a section in reading order; none if there is no such section."""
        return self.catalogue.passages_in(section_id)

    def sentences(self, ids: Sequence[str]) -> dict[str, Sentences]:
        """Spans and stored unit vectors of the sentences of passages, by passage id; unknown ids are left out."""
        return self.catalogue.sentences(ids)

    def dense(self, vector: Vectors, k: int) -> list[tuple[str, float]]:
        """Up to `k` passage ids with cosine similarity to a unit vector, best first."""
        with self._lock:
            self._refresh()
            if self._live is None:
                self._live = frozenset(self.catalogue.passage_ids())
            if not self._live:  # spares an empty course the seconds that Chroma takes
                return []
            store = self._open_store()
            wanted = k
            while True:
                found = store.search(vector, wanted)
                live = [(id_, similarity) for id_, similarity in found if id_ in self._live]
                if len(live) >= k or len(found) < wanted:
                    return live[:k]
                wanted *= 4  # vectors of a document that is being ingested, or that a killed ingest left, crowd the top

    def lexical(self) -> LexicalIndex:
        """BM25 over the current passages; built on first use and after every change."""
        with self._lock:
            self._refresh()
            if self._lexical is None:
                passages = self.catalogue.all_passages()
                self._lexical = LexicalIndex([p.id for p in passages], [p.searchable for p in passages])
            return self._lexical

    def vectors(self, ids: Sequence[str]) -> dict[str, Vectors]:
        """Stored unit vectors by passage id."""
        with self._lock:
            self._refresh()
            return self._open_store().vectors(ids)

    def _open_store(self) -> "VectorStore":
        if self._store is None:
            from knowledge.store import VectorStore  # takes seconds: Chroma

            self._store = VectorStore(self.folder / _CHROMA, self.embedder)
        return self._store

    def _refresh(self) -> None:
        """Notice what another process has written since the last look."""
        generation = self.catalogue.generation
        if generation != self._seen_generation:
            self.catalogue.check()
            if self._store is not None:
                self._store.close()
            self._store = self._lexical = self._live = None
            self._seen_generation = generation

    # Writing

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the index for writing; at the end sweep the vectors that the catalogue does not know.

        Raises:
            IndexBusy: another process holds it.
        """
        with _exclusive(self.folder):
            yield
            unswept = self.folder / _UNSWEPT
            if unswept.exists():  # otherwise nothing was written, and opening Chroma only to sweep takes seconds
                with self._lock:
                    self._refresh()
                    store = self._open_store()
                    store.delete(sorted(set(store.ids()) - set(self.catalogue.passage_ids())))
                    self.catalogue.sweep_sentences()
                unswept.unlink()

    def embed(self, passages: Sequence[Passage]) -> None:
        """Store the vectors of passages, and of their sentences, that `put` will make visible; those there are cost nothing."""
        (self.folder / _UNSWEPT).touch()
        with self._lock:
            self._refresh()
            store = self._open_store()
        # Not under the lock: a batch takes seconds, and questions shall not wait for it.
        ids = [p.id for p in passages]
        present = set(store.ids(ids))
        store.add([p for p in passages if p.id not in present])
        present = set(self.catalogue.sentences(ids))
        self.catalogue.put_sentences(embedded_sentences({p.id: p.text for p in passages if p.id not in present}, self.embedder))

    def put(self, document: Document, sections: Sequence[Section], passages: Sequence[Passage]) -> None:
        """Add or replace a document; call inside `writing()`."""
        self.embed(passages)
        with self._lock:
            self.catalogue.put(document, sections, passages)
            self._after_own_write()

    def remove(self, source: str) -> bool:
        """Forget the document of a source; False if there is none.

        Raises:
            IndexBusy: another process is writing.
        """
        matching = [info for info in self.sources() if info.source == source]
        if not matching:
            return False
        with self.writing(), self._lock:
            (self.folder / _UNSWEPT).touch()
            self._refresh()
            removed = self.catalogue.remove(matching[0].document_id)
            self._after_own_write()
            return removed

    def _after_own_write(self) -> None:
        # Our own vectors are already in the open store; only what is derived from the catalogue must be rebuilt.
        self._seen_generation = self.catalogue.generation
        self._lexical = self._live = None


def embedded_sentences(texts: Mapping[str, str], embedder: Embedder) -> dict[str, Sentences]:
    """Find and embed the sentences of passages.

    Args:
        texts: of the passages, by id.
        embedder: is called once, because batches of sentences of similar length are fastest.

    Returns:
        The sentences by passage id.
    """
    spans = {id_: tuple(sentence_spans(text)) for id_, text in texts.items()}
    sentences = list(dict.fromkeys(texts[id_][start:end] for id_ in texts for start, end in spans[id_]))  # table rows recur
    if not sentences:
        return {id_: Sentences((), np.zeros((0, 0), dtype=np.float16)) for id_ in texts}
    row = {sentence: number for number, sentence in enumerate(sentences)}
    vectors = embedder.embed(sentences).astype(np.float16)
    return {
        id_: Sentences(spans[id_], vectors[np.array([row[text[a:b]] for a, b in spans[id_]], dtype=int)])
        for id_, text in texts.items()
    }


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder / _LOCK, timeout=0):
            yield
    except Timeout as error:
        raise IndexBusy(
            f"Another process is writing the index in {folder}.", "Wait until it has ended, then try again."
        ) from error
