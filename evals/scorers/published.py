"""Does our judge agree with published verdicts about whole answers? (1 means inconsistent, by somebody else's judge.)"""

from collections.abc import Sequence

import numpy as np

from assistant.prompts import says_not_covered
from evals.judges import Judge
from evals.scorers.detection import Floats, auroc
from evals.scorers.given import answered
from evals.scorers.groundedness import Groundedness
from evals.task import Metric, Output, Sample, Scores, pooled, rate


class PublishedVerdict:
    """Groundedness of a published answer, with inconsistent (the published verdict) and agrees (whether ours is the same)."""

    def __init__(self, judge: Judge) -> None:
        self._groundedness = Groundedness(judge)

    def __call__(self, sample: Sample, output: Output) -> Scores:
        """As in Scorer."""
        scores, verdict = self._groundedness(sample, output), float(sample.target["inconsistent"])
        ours = scores["written_unsupported_answer"]
        return {**scores, "inconsistent": verdict, "agrees": None if ours is None else float(ours == verdict)}


def answer_rate(sample: Sample, output: Output) -> Scores:
    """answered: 1 where something was shown that does not say that the passages hold no answer."""
    return {"answered": float(answered(output) and not says_not_covered(output["answer"]))}


def kappa(rows: Sequence[Scores]) -> float | None:
    """Cohen's kappa (1960) of the judge's verdicts and the published ones: 0 is what chance gives, 1 is full agreement."""
    ours, theirs = _verdicts(rows)
    chance = ours.mean() * theirs.mean() + (1 - ours.mean()) * (1 - theirs.mean()) if len(ours) else 1.0
    return float(((ours == theirs).mean() - chance) / (1 - chance)) if chance < 1 else None


def ranks_published(rows: Sequence[Scores]) -> float | None:
    """AUROC of the judge's weakest sentence for the published verdict."""
    kept = [row for row in rows if row["written_least_support"] is not None]
    truth = np.array([row["inconsistent"] for row in kept], dtype=float)
    return auroc(truth, -np.array([row["written_least_support"] for row in kept], dtype=float))


def _verdicts(rows: Sequence[Scores]) -> tuple[Floats, Floats]:
    kept = [row for row in rows if row["written_unsupported_answer"] is not None]
    pairs = [(row["written_unsupported_answer"], row["inconsistent"]) for row in kept]
    ours, theirs = np.array(pairs, dtype=float).reshape(-1, 2).T
    return ours, theirs


METRICS: tuple[Metric, ...] = (
    rate("inconsistent", "answers that the published verdict calls inconsistent", higher_is_better=None),
    rate("agrees", "answers about which our judge and the published verdict say the same", "agreement"),
    pooled("kappa", kappa, "Cohen's kappa of our judge and the published verdicts"),
    pooled("auroc_published", ranks_published, "AUROC of our judge for the published verdicts"),
)
ANSWER_RATE = rate(
    "answered", "questions that got an answer; a hallucination rate says little without it", higher_is_better=None
)
