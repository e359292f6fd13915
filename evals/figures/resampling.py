"""Drawing groups with replacement and swapping them, by scipy.stats; seeded, so that the same rows give the same numbers."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES, LEAST_RESAMPLES = 2000, 500
PERMUTATIONS, LEAST_PERMUTATIONS = 9999, 1999
_POOLED_ROWS = 2_000_000  # rows that a pooled metric is computed from in one bootstrap: some ten seconds
_SWAPS = 10_000_000  # groups that a permutation test swaps in all: about three seconds
_BATCH = 1_000_000  # array elements that scipy holds at a time
_DEFINED = 0.9  # share of the resamples that must give a figure; an interval of fewer would be that of the lucky ones

Floats = NDArray[np.float64]
Index = NDArray[np.intp]


def drawn(statistic: Callable[[Index, int], Floats], count: int, seed: int, resamples: int = RESAMPLES) -> Floats:
    """The statistic of groups drawn with replacement (scipy.stats.bootstrap).

    Args:
        statistic: takes numbers of groups, shape [any, count], and the axis to reduce.
        count: how many groups there are.
        seed: of the draw.
        resamples: how often they are drawn.

    Returns:
        Shape [resamples], NaN where a resample has no figure; empty for a single group, which shows no spread.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap

    if count < 2:
        return np.empty(0)
    # A resample may hold no sample that the figure applies to; percentiles() sees to that.
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap(
            (np.arange(count),),
            statistic,
            vectorized=True,
            method="percentile",
            n_resamples=resamples,
            batch=max(1, _BATCH // count),
            rng=np.random.default_rng(seed),
        )
    return np.asarray(found.bootstrap_distribution, dtype=float)


def drawn_rows(figure: Callable[[Sequence[int]], float], members: Sequence[Sequence[int]], seed: int) -> Floats:
    """The same for a figure that needs all rows together.

    Args:
        figure: computes it from places of rows.
        members: the places of the rows of each group.
        seed: of the draw.
    """
    rows = sum(len(places) for places in members)
    resamples = min(RESAMPLES, max(LEAST_RESAMPLES, _POOLED_ROWS // max(rows, 1)))

    def of_groups(index: Index) -> float:
        return figure([place for group in index for place in members[group]])

    return drawn(lambda index, axis: np.apply_along_axis(of_groups, axis, index), len(members), seed, resamples)


def percentiles(of: Floats) -> tuple[float | None, float | None]:
    """The bounds of the middle 95% (percentile bootstrap: Efron, 1979); None where resamples too seldom had a figure."""
    defined = of[np.isfinite(of)]
    if not len(defined) or len(defined) < _DEFINED * len(of):
        return None, None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def swapped(change: Callable[[Index, Index, int], Floats], count: int, seed: int) -> float | None:
    """Two-sided p of swapping before and after within groups (scipy.stats.permutation_test); exact below 14 groups.

    Args:
        change: takes the places of what came before and of what came after, and the axis to reduce; 0 to count - 1 are before.
        count: how many groups there are.
        seed: of the swaps.
    """
    from scipy.stats import permutation_test

    with np.errstate(invalid="ignore", divide="ignore"):
        found = permutation_test(
            (np.arange(count), np.arange(count) + count),
            change,
            permutation_type="samples",
            vectorized=True,
            n_resamples=min(PERMUTATIONS, max(LEAST_PERMUTATIONS, _SWAPS // count)),
            batch=max(1, _BATCH // count),
            rng=np.random.default_rng(seed),
        )
    return float(found.pvalue) if np.isfinite(found.pvalue) else None
