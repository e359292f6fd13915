"""Is the tuned embedder better on lessons that it has not learnt from, and does all that hangs on its vectors still hold?

What hangs on them, and how it is seen to:
- search: the index made anew is searched as the chat does it, the one in use beside it;
- refusals: the threshold is calibrated anew in that index, and measured on covered questions and others;
- the check of answers: its threshold was set on the shipped embedder's similarities, so it is measured on labelled claims;
- the classifier of orders: knows the shipped embedder only and keeps it (assistant/embedders.py): nothing to measure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from course_guard.grounding import OverlapVerifier
from course_guard.settings import GroundingSettings
from finetune.embedder.figures import Criterion, gain, paired
from finetune.embedder.general import check_general
from finetune.embedder.questions import Asked, rows_of
from knowledge.embedding import Embedder
from knowledge.passage import Passage
from knowledge.retrieval import CourseRetriever

_ENOUGH = 30  # questions of people; with fewer, made ones decide
_MARGIN = 0.05
_DEPTH = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """All criteria of the gate, and figures that are only told."""

    criteria: tuple[Criterion, ...]
    told: tuple[Criterion, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it may be promoted."""
        return bool(self.criteria) and all(criterion.passed for criterion in self.criteria)

    @property
    def failed(self) -> list[str]:
        """Names of the criteria that were not met."""
        return [criterion.name for criterion in self.criteria if not criterion.passed]

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        lists = {"criteria": self.criteria, "told": self.told}
        return {"passed": self.passed} | {key: [c.as_json() for c in found] for key, found in lists.items()}


def judge(
    before: CourseRetriever,
    after: CourseRetriever,
    people: Sequence[Asked],
    made: Sequence[Asked],
    held: frozenset[str],
    grounding: GroundingSettings,
    data: Path | None,
    seed: int,
    tell: Callable[[str], None],
) -> Verdict:
    """Measure everything.

    Args:
        before: of the index in use.
        after: of the index made with the tuned embedder.
        people: questions that people asked, of all lessons, and such as the course does not cover; may be empty.
        made: questions made from the held-out lessons.
        held: sources of those lessons.
        grounding: of the check of answers.
        data: folder of public sets, or None.
        seed: of intervals and samples.
        tell: hears what is being measured.
    """
    unseen = [asked for asked in people if asked.lesson in held]
    decided_by_people = len(unseen) >= _ENOUGH
    tell("questions of people")
    criteria, told = [], []
    if decided_by_people:
        criteria += [
            _search("held-out lessons, people's questions, nDCG@10", before, after, unseen, 0.0, seed),
            _covered("held-out lessons, people's questions: not refused", before, after, unseen, seed),
        ]
        learnt = [asked for asked in people if asked.answers and asked.lesson not in held]
        told += [_search("other lessons, people's questions, nDCG@10", before, after, learnt, _MARGIN, seed)] if learnt else []
    if not_covered := [asked for asked in people if not asked.answers]:
        criteria.append(_covered("questions that the course does not cover: refused", before, after, not_covered, seed))
    tell("made questions")
    if made:
        margin = _MARGIN if decided_by_people else 0.0
        criteria.append(_search("held-out lessons, made questions, nDCG@10", before, after, made, margin, seed))
    criteria += check_general(before.index.embedder, after.index.embedder, data, seed, tell)
    tell("the check of answers")
    criteria += check_claims(before.index.embedder, after.index.embedder, grounding, seed)
    return Verdict(tuple(criteria), tuple(told))


def _search(
    name: str, before: CourseRetriever, after: CourseRetriever, asked: Sequence[Asked], margin: float, seed: int
) -> Criterion:
    first, second = ([_gain(retriever, one) for one in asked] for retriever in (before, after))
    return paired(name, first, second, [one.lesson for one in asked], margin, seed)


def _gain(retriever: CourseRetriever, asked: Asked) -> float:
    ranking = [ranked.passage.id for ranked in retriever.retrieve(asked.text, _DEPTH).passages]
    return gain(ranking, asked.answers, _DEPTH)


def _covered(name: str, before: CourseRetriever, after: CourseRetriever, asked: Sequence[Asked], seed: int) -> Criterion:
    """Whether what is covered is not refused, and what is not is."""

    def right(retriever: CourseRetriever) -> list[float]:
        return [float(retriever.retrieve(one.text).covered == bool(one.answers)) for one in asked]

    return paired(name, right(before), right(after), [one.lesson or one.text for one in asked], _MARGIN, seed)


def check_claims(before: Embedder, after: Embedder, settings: GroundingSettings, seed: int) -> list[Criterion]:
    """How the check of answers by overlap judges labelled sentences about the starter course, with either embedder."""
    rows = sorted(rows_of("claims.jsonl"), key=lambda row: str(row["evidence"]))
    values: dict[tuple[int, bool], list[float]] = {}
    groups: dict[bool, list[str]] = {True: [], False: []}
    for number, embedder in enumerate((before, after)):
        verifier = OverlapVerifier(embedder, settings)
        for evidence, claims in groupby(rows, key=lambda row: str(row["evidence"])):
            checker = verifier.against([_passage(evidence)], "")
            for row in claims:
                supported = bool(row["supported"])
                right = bool(checker.check(str(row["claim"])).citations) == supported
                values.setdefault((number, supported), []).append(float(right))
                if not number:
                    groups[supported].append(str(row["lesson"]))
    names = {True: "check of answers: supported sentences pass", False: "check of answers: others are left out"}
    return [
        paired(names[kind], values[0, kind], values[1, kind], groups[kind], _MARGIN, seed) for kind in names if groups[kind]
    ]


def _passage(text: str) -> Passage:
    return Passage(text[:40], "", "", "", "", (), None, None, 0, len(text), text, 0)
