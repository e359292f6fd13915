"""Question -> ranked passages, or none when the course does not seem to cover it.

Dense and BM25 scores are fused, each as a share of its search's best: how much better one passage is than the next is what
ranks alone forget (Bruch, Gai and Ingber, 2023). Whether there is anything to answer from is a separate decision: a relevance
between 0 and 1 from two signals that fail on different questions, moved to suit the course by its calibration.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from knowledge import calibrated
from knowledge.asking import content
from knowledge.embedding import Vectors
from knowledge.index import CourseIndex
from knowledge.lexical import terms
from knowledge.passage import Passage, RankedPassage
from knowledge.settings import RetrievalSettings

# Logistic weights of (bias, best cosine similarity, share of the question's rare words found), fitted on development questions
# that no reported figure uses; the bias is such that 3% of the covered ones stay below 0.5.
RELEVANCE_WEIGHTS = (-8.1, 8.86, 6.67)
_JUDGED = 5


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What a search found.

    Attributes:
        passages: best first; nearest passages even if they are below the threshold.
        relevance: 0 to 1, how likely the course covers the question.
        covered: whether relevance reaches the threshold.
        signals: what relevance was computed from, see `signals`.
        vector: the question's unit vector, shape (dimension,).
    """

    passages: tuple[RankedPassage, ...]
    relevance: float
    covered: bool
    signals: tuple[float, float] = (0.0, 0.0)
    vector: Vectors = field(default_factory=lambda: np.zeros(0, dtype=np.float32), compare=False, repr=False)


class CourseRetriever(BaseRetriever):
    """A LangChain retriever over a CourseIndex.

    `invoke(question)` returns LangChain documents, none below the threshold; `retrieve` also says why.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: CourseIndex
    settings: RetrievalSettings = RetrievalSettings()
    k: int = 5

    def retrieve(self, question: str, k: int | None = None) -> Retrieved:
        """Search for a standalone question.

        Args:
            question: in natural language.
            k: how many passages at most; None takes the retriever's own.
        """
        k = k or self.k
        vector = self.index.embedder.embed([question])[0]
        for _ in range(3):  # a document that is being replaced may be found neither by its old passages nor by its new ones
            dense = self.index.dense(vector, self.settings.candidates)
            lexical = self.index.lexical()
            sparse = lexical.search(question, self.settings.candidates)
            fused = fuse([dense, sparse])
            passages = self.index.catalogue.passages(fused)
            if len(passages) == len(fused):
                break
        best = _distinct(fused, passages)[:k]
        # Judged on the passages that the weights were fitted on: as many, and chosen by reciprocal rank.
        judged = judged_by(dense, sparse, passages, self.settings.rrf_k)
        similarity = dict(dense)
        missing = [id_ for id_ in dict.fromkeys((*best, *judged)) if id_ not in similarity]
        if missing:  # found by BM25 only
            stored = self.index.vectors(missing)
            similarity.update((id_, float(v @ vector)) for id_, v in stored.items())

        def ranked(ids: list[str]) -> tuple[RankedPassage, ...]:
            return tuple(RankedPassage(passages[id_], fused[id_], similarity.get(id_, 0.0)) for id_ in ids)

        if not best:
            return Retrieved((), 0.0, False, vector=vector)
        sentences = self.index.sentences(judged).values()
        nearest = max((float((found.vectors @ vector).max(initial=-1.0)) for found in sentences), default=-1.0)
        seen = signals(question, ranked(judged), lexical, nearest)
        calibration = calibrated.read(self.index.folder, self.index.embedder.identity, RELEVANCE_WEIGHTS)
        likely = relevance(*seen, shift=calibration.shift if calibration else 0.0)
        return Retrieved(ranked(best), likely, likely >= self.settings.threshold, seen, vector)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **_: Any
    ) -> list[LangChainDocument]:
        found = self.retrieve(query)
        return [
            LangChainDocument(
                id=ranked.passage.id,
                page_content=ranked.passage.text,
                metadata={"passage": ranked.passage, "score": ranked.score, "similarity": ranked.similarity},
            )
            for ranked in (found.passages if found.covered else ())
        ]


def fuse(searches: Sequence[Sequence[tuple[str, float]]]) -> dict[str, float]:
    """Mean over searches of a passage's score as a share of the best one, 0 where it was not found; best first.

    Args:
        searches: each a list of (id, score), best first.
    """
    scores: dict[str, float] = {}
    for found in searches:
        best = max((score for _, score in found), default=0.0)
        for id_, score in found:
            share = max(0.0, score) / best if best > 0 else 0.0
            scores[id_] = scores.get(id_, 0.0) + share / len(searches)
    return _best_first(scores)


def reciprocal_ranks(searches: Sequence[Sequence[tuple[str, float]]], k: int = 60) -> dict[str, float]:
    """Reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009): the sum of 1 / (k + rank), ranks from 1; best first."""
    scores: dict[str, float] = {}
    for found in searches:
        for rank, (id_, _) in enumerate(found, start=1):
            scores[id_] = scores.get(id_, 0.0) + 1.0 / (k + rank)
    return _best_first(scores)


def _best_first(scores: dict[str, float]) -> dict[str, float]:
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def _distinct(ids: Iterable[str], passages: Mapping[str, Passage]) -> list[str]:
    """Those that still exist, the same words in two documents once."""
    of_text: dict[str, str] = {}
    for id_ in ids:
        if id_ in passages:
            of_text.setdefault(passages[id_].text, id_)
    return list(of_text.values())


def judged_by(
    dense: Sequence[tuple[str, float]], sparse: Sequence[tuple[str, float]], passages: Mapping[str, Passage], rrf_k: int
) -> list[str]:
    """Ids of the passages that relevance is judged on, best first."""
    return _distinct(reciprocal_ranks([dense, sparse], rrf_k), passages)[:_JUDGED]


class Rarities(Protocol):
    """How rare the words of a course are; a LexicalIndex knows."""

    def rarity(self, term: str) -> float:
        """Inverse document frequency of a stemmed term, at least 0."""


def signals(question: str, ranked: Sequence[RankedPassage], rarities: Rarities, nearest: float = -1.0) -> tuple[float, float]:
    """What tells a covered question from another: (best similarity, share of its words found).

    The share is of the words that say what the question is about, weighted by rarity, and of them those that stand in one and
    the same of the retrieved passages: one that has most of them answers more often than five with one each. 1 if it has none.

    Args:
        question: in natural language.
        ranked: the passages to judge by.
        rarities: of the course.
        nearest: similarity of the nearest sentence in them, which counts if it is nearer than every passage as a whole.
    """
    if not ranked:
        return 0.0, 0.0
    similarity = max(*(item.similarity for item in ranked), nearest)
    wanted = content(question) or frozenset(terms(question))
    total = sum(rarities.rarity(term) for term in wanted)
    if total == 0:
        return similarity, 1.0
    found = (wanted.intersection(terms(item.passage.searchable)) for item in ranked)
    return similarity, max(sum(rarities.rarity(term) for term in words) for words in found) / total


def relevance(similarity: float, coverage: float, shift: float = 0.0) -> float:
    """Probability, 0 to 1, that the course covers a question with these signals (logistic).

    Args:
        similarity: as of `signals`.
        coverage: as of `signals`.
        shift: of the course's calibration.
    """
    bias, per_similarity, per_coverage = RELEVANCE_WEIGHTS
    return 1.0 / (1.0 + math.exp(-(bias + shift + per_similarity * similarity + per_coverage * coverage)))
