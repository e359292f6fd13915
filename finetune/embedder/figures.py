"""Two embedders on the same questions: differences, intervals, and whether they will do."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_RESAMPLES = 5000


@dataclass(frozen=True, slots=True)
class Criterion:
    """One figure before and after; more is better.

    Attributes:
        n: questions.
        low, high: 95% interval of the mean difference, drawn over groups of questions.
        margin: how much may be lost; 0 means that there must be a gain.
    """

    name: str
    n: int
    before: float
    after: float
    low: float
    high: float
    margin: float

    @property
    def difference(self) -> float:
        """After minus before."""
        return self.after - self.before

    @property
    def passed(self) -> bool:
        """Whether a gain, or with a margin that no more than it is lost, is beyond chance."""
        return self.low > -self.margin

    def as_json(self) -> dict[str, Any]:
        """With the verdict; figures of four decimals."""
        values = {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}
        return values | {"difference": round(self.difference, 4), "passed": self.passed}


def paired(
    name: str, before: Sequence[float], after: Sequence[float], groups: Sequence[str], margin: float, seed: int = 0
) -> Criterion:
    """Compare two values of each question; whole groups are drawn, since questions of one lesson are not independent.

    Args:
        name: of the figure.
        before: value of each question, n at least 1.
        after: likewise.
        groups: of each question.
        margin: see Criterion.
        seed: of the bootstrap (Efron, 1979; percentiles).
    """
    differences = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    names = sorted(set(groups))
    row = {group: number for number, group in enumerate(names)}
    of = np.array([row[group] for group in groups])
    sums, sizes = np.bincount(of, differences, len(names)), np.bincount(of, minlength=len(names))
    picks = np.random.default_rng(seed).integers(len(names), size=(_RESAMPLES, len(names)))
    means = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Criterion(name, len(differences), float(np.mean(before)), float(np.mean(after)), float(low), float(high), margin)


def gain(ranking: Sequence[str], relevant: Sequence[str], depth: int = 10) -> float:
    """Normalised discounted cumulative gain, nDCG, with grades 0 and 1 (Järvelin and Kekäläinen, 2002), 0 to 1.

    Args:
        ranking: ids, best first.
        relevant: ids, at least one.
        depth: ranks that count.
    """
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    wanted = set(relevant)
    found = sum(discounts[rank] for rank, id_ in enumerate(ranking[:depth]) if id_ in wanted)
    return float(found / discounts[: min(depth, len(wanted))].sum())
