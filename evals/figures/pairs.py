"""Which samples of two runs can be set side by side, and which of them changed most."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evals.running.cache import digest
from evals.task import Metric, Row, Sample

_QUESTION_KEYS = ("question", "prompt", "text", "sentence", "claim")


@dataclass(frozen=True, slots=True)
class Pairs:
    """The rows of one task in two runs.

    Attributes:
        both: rows of the same sample, before and after, neither of which failed.
        only_before, only_after: ids of samples that one run alone has.
        edited: ids whose input or target is not the same any more, so that they are not the same case.
        failed_before: ids that failed before, whether or not they work now.
        newly_failed: ids that worked before and fail after.
    """

    both: tuple[tuple[Row, Row], ...]
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    failed_before: tuple[str, ...] = ()
    newly_failed: tuple[str, ...] = ()

    @property
    def unpaired(self) -> dict[str, tuple[str, ...]]:
        """The ids that could not be paired, by the reason in words; reasons without ids are left out."""
        reasons = {
            "only in the run before": self.only_before,
            "only in the run after": self.only_after,
            "edited between the runs": self.edited,
            "failed before": self.failed_before,
            "failed after, not before": self.newly_failed,
        }
        return {reason: ids for reason, ids in reasons.items() if ids}


@dataclass(frozen=True, slots=True)
class ChangedSample:
    """A sample whose scores differ between two runs.

    Attributes:
        change: mean of the absolute differences of its scores, 0 to 1; a score that only one of the two has counts as 1.
        scores: before and after, of the scores that differ.
        before, after: the answers; empty where the run keeps no texts.
    """

    task: str
    id: str
    change: float
    scores: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    question: str = ""
    before: str = ""
    after: str = ""


def pair(before: Iterable[Row], after: Iterable[Row]) -> Pairs:
    """Set the rows of two runs side by side, in the order of the first."""
    old, new = ({row.sample.id: row for row in rows} for rows in (before, after))
    shared = [(row, new[id]) for id, row in old.items() if id in new]
    same = [two for two in shared if fingerprint(two[0].sample) == fingerprint(two[1].sample)]
    known = {a.sample.id for a, _ in same}
    return Pairs(
        both=tuple((a, b) for a, b in same if not a.error and not b.error),
        only_before=tuple(id for id in old if id not in new),
        only_after=tuple(id for id in new if id not in old),
        edited=tuple(a.sample.id for a, _ in shared if a.sample.id not in known),
        failed_before=tuple(a.sample.id for a, _ in same if a.error),
        newly_failed=tuple(a.sample.id for a, b in same if b.error and not a.error),
    )


def fingerprint(sample: Sample) -> str:
    """Hash of what a sample asks and expects; a sample without its texts (see `without_texts`) carries it along."""
    if set(sample.input) == {"sha256"}:
        return str(sample.input["sha256"])
    return digest([dict(sample.input), dict(sample.target)])


def without_texts(row: Row) -> Row:
    """The row with its scores, and of question, target and answer nothing but a hash; it still pairs with the full one."""
    sample = Sample(row.sample.id, {"sha256": fingerprint(row.sample)}, {}, row.sample.group, row.sample.split)
    return Row(sample, {}, row.scores, 0.0, False, "failed" if row.error else "")


def most_changed(task: str, pairs: Pairs, metrics: Sequence[Metric], count: int = 10) -> list[ChangedSample]:
    """The samples whose scores moved most, greatest change first.

    Times and other scores with a unit or beyond 0 to 1 do not count: they cannot be weighed against shares.
    """
    measured = {metric.key for metric in metrics if metric.unit}
    named = {key for two in pairs.both for row in two for key in row.scores} - measured
    shares = sorted(key for key in named if all(0 <= (row.scores.get(key) or 0) <= 1 for two in pairs.both for row in two))
    changed = []
    for before, after in pairs.both:
        two = {key: (before.scores.get(key), after.scores.get(key)) for key in shares}
        moved = {key: _moved(*values) for key, values in two.items() if values != (None, None)}
        differing = {key: two[key] for key, by in moved.items() if by}
        if differing:
            texts = question_of(before) or question_of(after), answer_of(before), answer_of(after)
            changed.append(ChangedSample(task, before.sample.id, sum(moved.values()) / len(moved), differing, *texts))
    return sorted(changed, key=lambda sample: (-sample.change, sample.id))[:count]


def question_of(row: Row) -> str:
    """What was asked, as text; empty where the run keeps no texts."""
    given = row.sample.input
    if set(given) <= {"sha256"}:
        return ""
    return next((given[key] for key in _QUESTION_KEYS if isinstance(given.get(key), str)), _text(given))


def answer_of(row: Row) -> str:
    """What came of it, as text; empty where the run keeps no texts."""
    output = row.output
    if output.get("refused"):
        return f"(refused: {output.get('reason') or output.get('rule') or 'no reason given'})"
    return output["answer"] if isinstance(output.get("answer"), str) else _text(output) if output else ""


def _moved(before: float | None, after: float | None) -> float:
    return 1.0 if before is None or after is None else abs(after - before)


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False)
