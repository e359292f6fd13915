"""Public retrieval collections, ranked as evals/bench/retrieval.py does: dense, BM25 and fused, with exact dense search."""

from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from assistant.models import model_path
from evals.bench.retrieval import Collection, Ranking, rank, read_chunking, read_cranfield
from evals.environment import Environment
from evals.running.cache import code_version
from evals.sets import data_folder
from evals.sets.collections import CRANFIELD
from evals.task import Output, Sample
from knowledge.embedding import SentenceEmbedder

_FOLDERS = {CRANFIELD: "cranfield"}
_CHUNKING = "chunking_eval"


class Collections:
    """The collections of a run by name, read and cut when first asked for.

    Args:
        environment: of the run.
    """

    def __init__(self, environment: Environment) -> None:
        self.settings, self._data = environment.settings, environment.data

    @cached_property
    def embedder(self) -> SentenceEmbedder:
        """The one of the settings."""
        return SentenceEmbedder(model_path(self.settings.embedder))

    @cached_property
    def _cranfield(self) -> Collection:
        return read_cranfield(data_folder(self._data, _FOLDERS[CRANFIELD]))

    @cached_property
    def _chunked(self) -> dict[str, Collection]:
        found = read_chunking(data_folder(self._data, _CHUNKING), self.embedder, self.settings.chunking)
        return {collection.name: collection for collection in found}

    def __getitem__(self, name: str) -> Collection:
        return self._cranfield if name == CRANFIELD else self._chunked[name]

    def digest(self, folder: str) -> str:
        """Hash of the files of a set."""
        return folder_digest(data_folder(self._data, folder))


class RankingSolver:
    """For {"collection", "id", "question"} gives passage ids, best first, under "dense", "BM25" and "fused".

    A collection is embedded when the first of its questions is asked, all questions with it, which takes minutes.

    Args:
        environment: of the run.
        folder: the set's own, below the folder of public data.
    """

    def __init__(self, environment: Environment, folder: str) -> None:
        self._collections, self._folder = Collections(environment), folder
        self._ranked: dict[str, dict[str, dict[str, Ranking]]] = {}

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        collections = self._collections
        return {
            "solver": "ranking",
            "settings": collections.settings.model_dump(mode="json", include={"chunking", "retrieval"}),
            "embedder": collections.embedder.identity,
            "data": collections.digest(self._folder),
            "code": code_version("knowledge", "evals.bench"),
        }

    def solve(self, sample: Sample) -> Output:
        name, id = sample.input["collection"], sample.input["id"]
        if name not in self._ranked:
            settings = self._collections.settings.retrieval
            self._ranked[name] = rank(self._collections[name], self._collections.embedder, settings)
        return {system: rankings[id] for system, rankings in self._ranked[name].items()}

    def close(self) -> None:
        self._ranked.clear()


def folder_digest(folder: Path) -> str:
    """Hash of the names and bytes of the files in a folder."""
    found = sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        found.update(f"{path.name}\0".encode() + sha256(path.read_bytes()).digest())
    return found.hexdigest()[:12]
