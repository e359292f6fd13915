"""How well does a judge find what people marked as unsupported? The positive class is "unsupported".

A response counts as unsupported where one of its sentences does, and its suspicion is that of its worst sentence. Suspicion is
1 - support. Definitions are those of scikit-learn; AUROC is computed from ranks (Mann and Whitney, 1947), which equals
roc_auc_score and is ten times as fast: intervals need it thousands of times.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from evals.judges.trivial import coverage
from evals.task import Metric, Output, Sample, Scores, pooled, rate

Floats = NDArray[np.float64]
_SENTENCES = tuple((f"label {place}", f"suspicion {place}") for place in range(1000))


@dataclass(frozen=True, slots=True)
class Counts:
    """What a detector with a threshold gets right and wrong."""

    hits: float
    false_alarms: float
    misses: float
    passed: float


def precision(c: Counts) -> float | None:
    """Share of what is flagged that is unsupported; None where nothing is flagged."""
    return c.hits / (c.hits + c.false_alarms) if c.hits + c.false_alarms else None


def recall(c: Counts) -> float | None:
    """Share of what is unsupported that is flagged; None where nothing is."""
    return c.hits / (c.hits + c.misses) if c.hits + c.misses else None


def f1(c: Counts) -> float | None:
    """Harmonic mean of precision and recall; 0 where nothing is flagged, None where nothing is unsupported."""
    return 2 * c.hits / (2 * c.hits + c.false_alarms + c.misses) if c.hits + c.misses else None


def balanced_accuracy(c: Counts) -> float | None:
    """Mean of recall and specificity; None where everything or nothing is unsupported."""
    if not c.hits + c.misses or not c.false_alarms + c.passed:
        return None
    return (c.hits / (c.hits + c.misses) + c.passed / (c.false_alarms + c.passed)) / 2


def counts(truth: Floats, suspicion: Floats, most: float) -> Counts:
    """Count.

    Args:
        truth: 1 where people marked the item as unsupported, else 0.
        suspicion: of the detector, on any scale; same length.
        most: the highest suspicion at which it lets an item pass.
    """
    flagged = suspicion > most
    hits, alarms, positive = float(truth[flagged].sum()), float(flagged.sum()), float(truth.sum())
    return Counts(hits, alarms - hits, positive - hits, len(truth) - positive - alarms + hits)


def auroc(truth: Floats, suspicion: Floats) -> float | None:
    """Chance that an unsupported item is more suspicious than a supported one; None where one of the two is missing."""
    from scipy.stats import rankdata

    positive, n = float(truth.sum()), len(truth)
    if positive in (0, n):
        return None
    ranks = float(rankdata(suspicion)[truth == 1].sum())
    return (ranks - positive * (positive + 1) / 2) / (positive * (n - positive))


def average_precision(truth: Floats, suspicion: Floats) -> float | None:
    """Mean precision over recall; the base rate for a detector that guesses."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth, suspicion)) if truth.any() else None


RANKING: dict[str, tuple[Callable[[Floats, Floats], float | None], str]] = {
    "auroc": (auroc, "area under the ROC curve; 0.5 is chance"),
    "average_precision": (average_precision, "average precision; the base rate is chance"),
}
AT_THRESHOLD: dict[str, tuple[Callable[[Counts], float | None], str]] = {
    "precision": (precision, "share of what the judge flags that people marked"),
    "recall": (recall, "share of what people marked that the judge flags"),
    "f1": (f1, "harmonic mean of precision and recall"),
    "balanced_accuracy": (balanced_accuracy, "mean of recall and specificity; 0.5 is chance"),
}


def fitted(truth: Floats, suspicion: Floats) -> float:
    """The threshold (`most` of counts) with the highest F1 on items of the dev half; of equal ones the one that flags least.

    It lies midway between two suspicions. Infinity where there is nothing to find.
    """
    if not truth.any():
        return float("inf")
    order = np.argsort(-suspicion, kind="stable")
    values, hits = suspicion[order], np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # equal values are flagged together
    best = int(np.argmax(2 * hits[ends] / (ends + 1 + truth.sum())))
    return float(values[ends[best : best + 2]].mean()) if best + 1 < len(ends) else float("-inf")


class DetectionScorer:
    """Scores of a response: unsupported, suspicion, and the counts of the judge at its threshold (`response hits` and so on).

    To compare with: `uncovered`, the share of the words of its worst sentence that the passages lack, and `words`, its length.
    `part <name>` is 1 for its part of the set. With `sentences`, the counts of these, and `label <i>`, `suspicion <i>` of each.
    """

    def __init__(self, sentences: bool = False) -> None:
        self._sentences = sentences

    def __call__(self, sample: Sample, output: Output) -> Scores:
        """As in Scorer."""
        seen, most = sample.input, 1 - output["threshold"]
        labels = np.array(sample.target["unsupported"], dtype=float)
        suspicion = 1 - np.array(output["support"], dtype=float)
        covered = coverage(seen["sentences"], seen["passages"], seen["question"])
        worst = np.array([labels.max(initial=0)]), np.array([suspicion.max(initial=0)])
        scores: Scores = {
            "unsupported": float(worst[0][0]),
            "suspicion": float(worst[1][0]),
            "uncovered": 1 - min(covered, default=1.0),
            "words": float(sum(len(sentence.split()) for sentence in seen["sentences"])),
            f"part {sample.target['part']}": 1.0,
            **_count_scores("response", counts(*worst, most)),
        }
        if self._sentences:
            scores |= _count_scores("sentence", counts(labels, suspicion, most))
            for place, pair in enumerate(zip(labels.tolist(), suspicion.tolist(), strict=True)):
                scores |= zip(_SENTENCES[place], pair, strict=True)
        return scores


def metrics(parts: Sequence[str], sentences: bool = False) -> tuple[Metric, ...]:
    """What a task of the family reports, at the judge's own threshold; evals/judges/quality.py has those fitted on dev.

    Args:
        parts: of the set; each gets the judge's AUROC within it.
        sentences: whether responses have several sentences; then the same is reported of these, but for average precision.
    """
    shown = [pooled(name, _ranked(compute), about) for name, (compute, about) in RANKING.items()]
    shown += [pooled(name, partial(_counted, "response", compute), about) for name, (compute, about) in AT_THRESHOLD.items()]
    if sentences:
        shown.append(pooled("sentence_auroc", _sentence_auroc, f"sentences: {RANKING['auroc'][1]}"))
        shown += [
            pooled(f"sentence_{name}", partial(_counted, "sentence", compute), f"sentences: {about}")
            for name, (compute, about) in AT_THRESHOLD.items()
        ]
    shown += [
        rate("unsupported", "share of the responses that people marked: the base rate", higher_is_better=None),
        pooled("f1_always", _f1_always, "F1 of calling every response unsupported", None),
        pooled("auroc_coverage", _ranked(auroc, "uncovered"), "AUROC of the share of words that the passages lack", None),
        pooled("auroc_length", _ranked(auroc, "words"), "AUROC of the number of words", None),
    ]
    if len(parts) > 1:
        shown += [
            pooled(f"auroc_{part}", _ranked(auroc, part=part), f"AUROC within {part}", needs=(f"part {part}",))
            for part in parts
        ]
    return tuple(shown)


def _ranked(
    compute: Callable[[Floats, Floats], float | None], key: str = "suspicion", part: str = ""
) -> Callable[[Sequence[Scores]], float | None]:
    def figure(rows: Sequence[Scores]) -> float | None:
        pairs = [(row["unsupported"], row[key]) for row in rows if not part or f"part {part}" in row]
        return compute(*_columns(pairs)) if pairs else None

    return figure


def _sentence_auroc(rows: Sequence[Scores]) -> float | None:
    pairs = []
    for row in rows:
        for label, suspicion in _SENTENCES:
            if label not in row:
                break
            pairs.append((row[label], row[suspicion]))
    return auroc(*_columns(pairs)) if pairs else None


def _counted(level: str, compute: Callable[[Counts], float | None], rows: Sequence[Scores]) -> float | None:
    return compute(Counts(*(sum(row[key] or 0.0 for row in rows) for key in _count_keys(level))))


def _f1_always(rows: Sequence[Scores]) -> float | None:
    positive = sum(row["unsupported"] or 0.0 for row in rows)
    return f1(Counts(positive, len(rows) - positive, 0.0, 0.0))


def _count_scores(level: str, found: Counts) -> Scores:
    return dict(zip(_count_keys(level), (found.hits, found.false_alarms, found.misses, found.passed), strict=True))


def _count_keys(level: str) -> tuple[str, ...]:
    return tuple(f"{level} {name}" for name in Counts.__slots__)


def _columns(pairs: Sequence[tuple[float | None, float | None]]) -> tuple[Floats, Floats]:
    truth, suspicion = np.array(pairs, dtype=float).T
    return truth, suspicion
