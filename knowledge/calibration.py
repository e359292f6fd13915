"""Where to stop answering, fitted on a course's own passages.

Made questions (knowledge/questions.py) are searched for twice: with the whole course, which covers them, and with every passage
hidden that knows their subject, which makes of the same question one that the course just fails to cover. Only the threshold
is fitted, as a shift of the logit: weights fitted on made questions told real ones apart worse than those that ship
(docs/log.md). Made questions use the course's own words and so are easier to find than real ones. They can show that the
shipped threshold is too strict for a course, never that it is too lax, so the shift only ever lets more through. Few questions
say little: it is drawn towards none, as if by 100 questions that ask for none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from knowledge import calibrated
from knowledge.calibrated import Calibration, Point
from knowledge.embedding import Vectors
from knowledge.errors import CourseError
from knowledge.index import CourseIndex
from knowledge.lexical import terms
from knowledge.passage import RankedPassage
from knowledge.questions import FAR, Question, questions_from
from knowledge.retrieval import RELEVANCE_WEIGHTS, judged_by, signals
from knowledge.settings import RetrievalSettings

QUESTIONS = 240  # at ingest: 95% intervals of 5% false refusals are about 3 to 9%
FALSE_REFUSALS = 0.05
STALE = 0.2  # share of passages that are other ones
_LEAST = 20  # questions
_PRIOR = 100  # questions
_FARTHEST = 2.0  # that the shift goes: so much makes a relevance of 0.12 one of 0.5
_BATCH = 32
_CURVE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
Logits = NDArray[np.float64]
Tell = Callable[[int, int], None]


def calibrate(
    index: CourseIndex,
    settings: RetrievalSettings,
    questions: int = QUESTIONS,
    false_refusals: float = FALSE_REFUSALS,
    tell: Tell | None = None,
) -> Calibration:
    """Fit the threshold to the course. Nothing is written; `calibrated.write` does it.

    Args:
        index: with the course in it.
        settings: of the search.
        questions: how many to make at most.
        false_refusals: share of the covered questions that may be refused, above 0 and below 1.
        tell: called with (questions done, of how many).

    Raises:
        CourseError: the course has too few plain sentences to make questions from.
    """
    tell = tell or (lambda done, total: None)
    made = questions_from(index.catalogue.all_passages(), questions)
    if len(made) < _LEAST:
        raise CourseError(
            f"Only {len(made)} questions could be made from this course, and {_LEAST} are needed.",
            "Add material in whole sentences. Until then the thresholds that ship with Lectern are used.",
        )
    course = _Course(index, settings)
    covered: list[float] = []
    near: list[float] = []
    total = len(made) + len(FAR)
    for start in range(0, len(made), _BATCH):
        batch = made[start : start + _BATCH]
        for question, vector in zip(batch, index.embedder.embed([question.text for question in batch]), strict=True):
            covered.append(course.logit(question.text, vector))
            near.append(course.logit(question.text, vector, course.knowing(question)))
        tell(len(covered), total)
    far = [course.logit(text, vector) for text, vector in zip(FAR, index.embedder.embed(FAR), strict=True)]
    tell(total, total)
    yes, no = np.array(covered), np.array([*near, *far])
    shift = _shift(yes, false_refusals)
    return Calibration(
        weights=RELEVANCE_WEIGHTS,
        embedder=index.embedder.identity,
        passages=len(course.ids),
        sample=calibrated.sample_of(course.ids),
        generation=index.catalogue.generation,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        questions=len(made),
        target=false_refusals,
        shift=round(shift, 4),
        chosen=_point(yes + shift, no + shift, 0.5),
        before=_point(yes, no, 0.5),
        curve=tuple(_point(yes + shift, no + shift, threshold) for threshold in _CURVE),
    )


def is_possible(index: CourseIndex) -> bool:
    """Whether `calibrate` can make enough questions from the course."""
    return len(questions_from(index.catalogue.all_passages(), _LEAST)) >= _LEAST


def recalibrate_if_stale(index: CourseIndex, settings: RetrievalSettings, tell: Tell | None = None) -> Calibration | None:
    """Calibrate and write if the index has no calibration of its own, or more than a fifth of its passages are other ones.

    The target of the calibration before is kept.

    Returns:
        The new calibration; None if the old one will do, or if the course gives too few questions, which leaves what there was.
    """
    before = calibrated.read(index.folder, index.embedder.identity, RELEVANCE_WEIGHTS)
    if before and before.changed(index.catalogue.passage_ids()) <= STALE:
        return None
    try:
        found = calibrate(index, settings, false_refusals=before.target if before else FALSE_REFUSALS, tell=tell)
    except CourseError:  # too little text: not a fault of an ingest
        return None
    calibrated.write(index.folder, found)
    return found


def _shift(covered: Logits, false_refusals: float) -> float:
    """How far to move logits up so that no more than about the wanted share of covered questions stays below 0.

    The quantile is a weighted mean of its neighbours (Harrell and Davis, 1982; normal weights for their beta ones): the logits
    of the few lowest questions lie far apart, and a single one of them would say where all others are refused.
    """
    rank = np.arange(len(covered)) + 0.5 - false_refusals * len(covered)
    weights = np.exp(-(rank**2) / (2 * len(covered) * false_refusals * (1 - false_refusals)))
    wanted = -float(np.average(np.sort(covered), weights=weights))
    return float(np.clip(wanted * len(covered) / (len(covered) + _PRIOR), 0.0, _FARTHEST))


def _point(covered: Logits, others: Logits, threshold: float) -> Point:
    least = np.log(threshold / (1 - threshold))
    refused, through = float((covered < least).mean()), float((others >= least).mean())
    return Point(threshold=threshold, false_refusals=round(refused, 4), let_through=round(through, 4))


class _Course:
    """A course in memory, which can be searched without some of its passages as CourseRetriever searches it with all."""

    def __init__(self, index: CourseIndex, settings: RetrievalSettings) -> None:
        passages = index.catalogue.all_passages()
        self.ids = [passage.id for passage in passages]
        self._settings, self._lexical = settings, index.lexical()
        self._passages = dict(zip(self.ids, passages, strict=True))
        self._row = {id_: row for row, id_ in enumerate(self.ids)}
        self._terms = [frozenset(terms(passage.searchable)) for passage in passages]
        vectors = index.vectors(self.ids)
        self._vectors = np.stack([vectors[id_] for id_ in self.ids])
        self._sentences = index.sentences(self.ids)

    def knowing(self, question: Question) -> NDArray[np.bool_]:
        """Which passages know the subject of a question, by row."""
        return np.array([question.subject <= found for found in self._terms])

    def logit(self, question: str, vector: Vectors, hidden: NDArray[np.bool_] | None = None) -> float:
        """The logit of a question's relevance if the hidden passages were not there, before any shift."""
        hidden = np.zeros(len(self.ids), dtype=bool) if hidden is None else hidden
        similarity = np.where(hidden, -np.inf, self._vectors @ vector)
        nearest = np.argsort(-similarity, kind="stable")[: min(self._settings.candidates, int((~hidden).sum()))]
        dense = [(self.ids[row], float(similarity[row])) for row in nearest]
        found = self._lexical.search(question, self._settings.candidates + int(hidden.sum()))
        sparse = [(id_, score) for id_, score in found if not hidden[self._row[id_]]][: self._settings.candidates]
        judged = judged_by(dense, sparse, self._passages, self._settings.rrf_k)
        ranked = [RankedPassage(self._passages[id_], 0.0, float(similarity[self._row[id_]])) for id_ in judged]
        sentence = max((float((self._sentences[id_].vectors @ vector).max(initial=-1.0)) for id_ in judged), default=-1.0)
        seen = signals(question, ranked, _Rest(self._terms, hidden), sentence)
        bias, per_similarity, per_coverage = RELEVANCE_WEIGHTS
        return bias + per_similarity * seen[0] + per_coverage * seen[1]


@dataclass(frozen=True, slots=True)
class _Rest:
    """How rare words are in what is not hidden."""

    terms: Sequence[frozenset[str]]
    hidden: NDArray[np.bool_]

    def rarity(self, term: str) -> float:
        """As LexicalIndex."""
        frequency = sum(term in found and not gone for found, gone in zip(self.terms, self.hidden, strict=True))
        return float(np.log(1 + int((~self.hidden).sum()) / (1 + frequency)))
