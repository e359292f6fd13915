"""Vectors of passages in Chroma, embedded in this process and persistent on disk, behind langchain-chroma."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.api.shared_system_client import SharedSystemClient
from chromadb.config import Settings
from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings

from knowledge.embedding import Embedder, Vectors
from knowledge.passage import Passage

_BATCH = 256  # passages a Chroma write or look-up; its own limit is in the thousands
# Chroma writes its HNSW graph to files in place every `sync_threshold` vectors. A process killed then, or two that do so at
# once, leave files that can never be opened again. So it never does: vectors stay in Chroma's SQLite log, which is safe in
# both cases, and the graph is built in memory on opening, by several threads and so each time a little otherwise. Chroma's
# search_ef of 100 then misses some of the 50 nearest in a fifth of the searches, others each time, and a question near the
# threshold is refused today and answered tomorrow. With 400 it misses none of the starter course (docs/log.md).
_COLLECTION = {"hnsw:space": "cosine", "hnsw:sync_threshold": 10**9, "hnsw:search_ef": 400}
_opening = threading.Lock()


class _LangChainEmbeddings(Embeddings):
    """Our Embedder in the shape that LangChain's vector stores expect."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._embedder.embed(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class VectorStore:
    """Nearest passages by cosine similarity.

    Args:
        folder: Chroma's own folder.
        embedder: turns passages and questions into vectors.
    """

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        self._embedder = embedder
        settings = Settings(anonymized_telemetry=False, allow_reset=False)
        with _opening:
            # Chroma shares one system per path in the process, blind to what other processes write. This one is ours alone.
            client = chromadb.PersistentClient(path=str(folder), settings=settings)
            self._system = SharedSystemClient._identifier_to_system.pop(str(folder))
        self._chroma = Chroma(
            collection_name="passages",
            embedding_function=_LangChainEmbeddings(embedder),
            client=client,
            collection_metadata=_COLLECTION,
        )

    def close(self) -> None:
        """Free files and threads; another store on the same folder sees what was written since this one was opened."""
        self._system.stop()

    def add(self, passages: Sequence[Passage]) -> None:
        """Embed and write passages; writing the same passage again changes nothing."""
        for start in range(0, len(passages), _BATCH):
            batch = passages[start : start + _BATCH]
            metadata: list[dict[str, Any]] = [{"document_id": passage.document_id} for passage in batch]
            self._chroma.add_texts([p.searchable for p in batch], metadata, ids=[p.id for p in batch])

    def delete(self, ids: Sequence[str]) -> None:
        """Forget passages; unknown ids are ignored."""
        for start in range(0, len(ids), _BATCH):
            self._chroma.delete(ids=list(ids[start : start + _BATCH]))

    def ids(self, among: Sequence[str] | None = None) -> list[str]:
        """Every id in the store, or those of `among` that are."""
        if among is None:
            return list(self._chroma.get(include=[])["ids"])
        batches = (list(among[start : start + _BATCH]) for start in range(0, len(among), _BATCH))
        return [id_ for batch in batches for id_ in self._chroma.get(ids=batch, include=[])["ids"]]

    def search(self, vector: Vectors, k: int) -> list[tuple[str, float]]:
        """The `k` nearest passages of a unit vector, shape (dimension,), as (id, cosine similarity), best first."""
        if (count := self._chroma._collection.count()) == 0:
            return []
        found = self._chroma._collection.query(
            query_embeddings=[vector.tolist()], n_results=min(k, count), include=["distances"]
        )
        distances = found["distances"] or [[]]
        return [(id_, 1.0 - float(d)) for id_, d in zip(found["ids"][0], distances[0], strict=True)]

    def vectors(self, ids: Sequence[str]) -> dict[str, Vectors]:
        """Stored unit vectors by passage id."""
        found = self._chroma.get(ids=list(ids), include=["embeddings"])
        return {id_: np.asarray(v, dtype=np.float32) for id_, v in zip(found["ids"], found["embeddings"], strict=True)}
