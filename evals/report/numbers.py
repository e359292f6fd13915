"""What the pictures show, computed from the rows of a task (pure; no drawing)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.figures.stats import wilson
from evals.task import Scores

Pairs = Sequence[tuple[float, float]]
_BINS = 10
_PER_BIN = 5  # fewer samples than this say nothing about a share
_TABLE = [i / 10 for i in range(11)]
TIMES = ("evidence_ms", "first_token_ms", "first_sentence_ms", "total_ms")


def values(scores: Sequence[Scores], key: str) -> list[float]:
    """Score `key` of the samples that have it."""
    return [value for row in scores if (value := row.get(key)) is not None]


def pairs(scores: Sequence[Scores], first: str, second: str) -> list[tuple[float, float]]:
    """Two scores of the samples that have both."""
    return [(a, b) for row in scores if (a := row.get(first)) is not None and (b := row.get(second)) is not None]


def quantiles(of: Sequence[float], at: Sequence[float] = (0.5, 0.9, 0.95, 0.99)) -> list[float]:
    """Quantiles, linear between neighbours (method 7 of Hyndman and Fan, 1996; NumPy's own).

    Args:
        of: one value at least.
        at: shares of 1.
    """
    return [float(value) for value in np.quantile(np.asarray(of, dtype=float), at)]


@dataclass(frozen=True, slots=True)
class Bin:
    """Samples of about the same foretold probability.

    Attributes:
        first, last: lowest and highest probability in it.
        mean: of the probabilities.
        share: of the outcomes that are 1.
        low, high: 95% Wilson interval of the share.
    """

    n: int
    first: float
    last: float
    mean: float
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Bins of equal count, and the expected calibration error over them."""

    bins: tuple[Bin, ...]
    error: float


def reliability(foretold: Pairs) -> Reliability | None:
    """Calibration over bins of equal count (adaptive ECE: Nguyen and O'Connor, 2015; Nixon et al., 2019).

    Equal probabilities share a bin, for any order among them would be arbitrary; so counts may differ.

    Args:
        foretold: probability and outcome, 0 or 1.

    Returns:
        None where there are fewer than two bins' worth of them.
    """
    count = min(_BINS, len(foretold) // _PER_BIN)
    if count < 2:
        return None
    probability, outcome = np.array(foretold).T
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, count + 1)))
    places = np.searchsorted(edges[1:-1], probability, side="right")
    bins = []
    for place in np.unique(places):
        inside = probability[places == place]
        n, hits = len(inside), round(outcome[places == place].sum())
        first, last, mean = float(inside.min()), float(inside.max()), float(inside.mean())
        bins.append(Bin(n, first, last, mean, hits / n, *wilson(hits, n)))
    error = sum(b.n * abs(b.mean - b.share) for b in bins) / len(foretold)
    return Reliability(tuple(bins), error)


@dataclass(frozen=True, slots=True)
class Confusion:
    """Questions by whether the material covers them and whether they were answered."""

    covered_answered: int
    covered_refused: int
    uncovered_answered: int
    uncovered_refused: int

    @property
    def table(self) -> tuple[tuple[str, int, tuple[int, int]], ...]:
        """Rows: name, total, (answered, refused)."""
        return (
            ("covered", self.covered, (self.covered_answered, self.covered_refused)),
            ("not covered", self.uncovered, (self.uncovered_answered, self.uncovered_refused)),
        )

    @property
    def covered(self) -> int:
        """Questions that the material covers."""
        return self.covered_answered + self.covered_refused

    @property
    def uncovered(self) -> int:
        """Questions that it does not cover."""
        return self.uncovered_answered + self.uncovered_refused


def confusion(scores: Sequence[Scores]) -> Confusion | None:
    """From the scores `answerable` and `answered`, None where no sample has both."""
    both = pairs(scores, "answerable", "answered")
    if not both:
        return None
    count = {(a, b): sum((x >= 0.5, y >= 0.5) == (a, b) for x, y in both) for a in (True, False) for b in (True, False)}
    return Confusion(count[True, True], count[True, False], count[False, True], count[False, False])


@dataclass(frozen=True, slots=True)
class TradeOff:
    """What every refusal threshold would do to the same questions. Points are (wrongly answered, false refusals), shares of 1.

    Attributes:
        wrongly_answered, false_refusals: the line, from threshold 0 up to one that refuses everything.
        threshold: in force.
        present: the point of the threshold in force.
        whole: the point of what was answered in the end, None where that is not known.
        table: threshold, false refusals, wrongly answered.
    """

    wrongly_answered: tuple[float, ...]
    false_refusals: tuple[float, ...]
    covered: int
    uncovered: int
    threshold: float
    present: tuple[float, float]
    whole: tuple[float, float] | None
    table: tuple[tuple[float, float, float], ...]


def trade_off(scores: Sequence[Scores], threshold: float) -> TradeOff | None:
    """From the scores `relevance` and `answerable`; None unless there are questions of both kinds.

    Args:
        scores: of samples.
        threshold: in force; a question is refused where its relevance is below it.
    """
    judged = pairs(scores, "relevance", "answerable")
    covered = np.sort([relevance for relevance, answerable in judged if answerable >= 0.5])
    uncovered = np.sort([relevance for relevance, answerable in judged if answerable < 0.5])
    if not len(covered) or not len(uncovered):
        return None

    def at(level: float) -> tuple[float, float]:
        wrongly = 1 - np.searchsorted(uncovered, level) / len(uncovered)
        return float(wrongly), float(np.searchsorted(covered, level) / len(covered))

    levels = np.unique(np.concatenate([[0.0], covered, uncovered, [np.inf]]))
    line = [at(level) for level in levels]
    after = confusion([row for row in scores if row.get("relevance") is not None])
    whole = (
        (after.uncovered_answered / after.uncovered, after.covered_refused / after.covered)
        if after and after.covered and after.uncovered
        else None
    )
    points = [(level, at(level)) for level in sorted({*_TABLE, threshold})]
    table = tuple((level, false, wrong) for level, (wrong, false) in points)
    x, y = zip(*line, strict=True)
    return TradeOff(x, y, len(covered), len(uncovered), threshold, at(threshold), whole, table)
