"""How sure is a figure, and how sure a difference? Intervals of 95% and tests.

Samples of one group (a source document, a conversation) are not independent, so groups are what is drawn and swapped.
From scipy.stats: binomtest (Wilson interval, exact McNemar test), and bootstrap and permutation_test in resampling.py. Of our
own, because scipy has neither: the interval of a difference of paired rates (Bonett and Price, 2012) and Holm's adjustment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from evals.figures.resampling import LEVEL, Floats, Index, drawn, drawn_rows, percentiles, swapped
from evals.task import Metric, Scores

_Z = 1.959963984540054  # 97.5% quantile of the normal distribution


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure of one run.

    Attributes:
        low, high: 95% interval; None where it cannot be had, as with a single group.
        n: samples that the figure rests on.
        groups: independent groups among them.
        method: how the interval was made.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    groups: int
    method: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure after, less the same figure before, on the same samples.

    Attributes:
        before, after: the figures on these samples.
        low, high: 95% interval of after - before; None where it cannot be had.
        n: samples that it rests on; where the score applies to other samples after than before, the smaller number.
        p: two-sided; None for pooled metrics, which have only the interval.
        test: the name of the test, or empty.
    """

    before: float
    after: float
    low: float | None
    high: float | None
    n: int
    groups: int
    method: str
    p: float | None
    test: str

    @property
    def value(self) -> float:
        """After - before."""
        return self.after - self.before

    @property
    def sure(self) -> bool:
        """Whether it is more than chance: the interval excludes 0 and the test, where there is one, agrees (p <= 0.05).

        Both, because a percentile bootstrap over few changed groups is too narrow: four out of four that fell exclude 0.
        """
        if self.low is None or self.high is None:
            return False
        return (self.low > 0 or self.high < 0) and (self.p is None or self.p <= 1 - LEVEL)


def estimate(metric: Metric, rows: Sequence[Scores], groups: Sequence[str], seed: int = 0) -> Estimate | None:
    """A figure with its 95% interval, from the scores of samples and the group of each.

    Rates whose samples are independent get Wilson's interval (1927), everything else a percentile bootstrap over groups
    (Efron, 1979): 2,000 resamples; fewer, but at least 500, where a pooled metric has more than 1,000 rows. Where every group
    agrees on 0 or on 1, no bootstrap can show any doubt, so that is Wilson's interval too, of one vote for each group.

    Returns:
        None where no sample gives the figure.
    """
    if not metric.key:
        return _pooled_estimate(metric, rows, groups, seed)
    values = _values(rows, metric.key)
    kept = ~np.isnan(values)
    if not kept.any():
        return None
    values, ids = values[kept], _ids(groups, kept)
    n, count, value = len(values), int(ids.max()) + 1, float(values.mean())
    if metric.binary and n == count:
        return Estimate(value, *wilson(round(values.sum()), n), n, count, "Wilson")
    if metric.unit == "" and value in (0.0, 1.0):
        return Estimate(value, *wilson(round(value * count), count), n, count, "Wilson over groups")
    sums, counts = _sums(values, ids), _sums(np.ones(n), ids)
    bounds = percentiles(drawn(lambda index, axis: sums[index].sum(axis) / counts[index].sum(axis), count, seed))
    return Estimate(value, *bounds, n, count, "bootstrap over groups")


def difference(
    metric: Metric, before: Sequence[Scores], after: Sequence[Scores], groups: Sequence[str], seed: int = 0
) -> Difference | None:
    """A figure's change on the same samples, in the same order, with its 95% interval and a test.

    - Yes/no scores of independent samples: the interval of Bonett and Price (2012) for paired proportions, which Fagerland,
      Lydersen and Laake (2014) recommend; unlike a bootstrap it is not empty where nothing changed. Exact McNemar test.
    - Other averages, and scores that apply to other samples after than before (such as refusal precision): both figures are
      computed again from groups drawn with replacement, and the test swaps before and after within groups (for one score a
      sample, that is the sign-flip test).
    - Pooled metrics: the bootstrap alone.

    Returns:
        None where one of the two gives no figure.
    """
    if not metric.key:
        return _pooled_difference(metric, before, after, groups, seed)
    x, y = _values(before, metric.key), _values(after, metric.key)
    has_x, has_y = ~np.isnan(x), ~np.isnan(y)
    if not has_x.any() or not has_y.any():
        return None
    kept = has_x | has_y
    n, ids, first, last = int(min(has_x.sum(), has_y.sum())), _ids(groups, kept), float(np.nanmean(x)), float(np.nanmean(y))
    count = int(ids.max()) + 1
    if metric.binary and count == kept.sum() and bool((has_x == has_y).all()):
        worse, better = int((x[kept] > y[kept]).sum()), int((x[kept] < y[kept]).sum())
        low, high = paired_rates(worse, better, n)
        return Difference(first, last, low, high, n, count, "Bonett-Price", mcnemar(worse, better), "McNemar, exact")
    sums = np.concatenate([_sums(np.nan_to_num(v[kept]), ids) for v in (x, y)])
    counts = np.concatenate([_sums(has[kept].astype(float), ids) for has in (has_x, has_y)])

    def change(old: Index, new: Index, axis: int) -> Floats:
        return np.asarray(sums[new].sum(axis) / counts[new].sum(axis) - sums[old].sum(axis) / counts[old].sum(axis))

    bounds = percentiles(drawn(lambda index, axis: change(index, index + count, axis), count, seed))
    p = swapped(change, count, seed)
    return Difference(first, last, *bounds, n, count, "paired bootstrap over groups", p, "permutation over groups")


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of successes / n, n > 0."""
    from scipy.stats import binomtest

    found = binomtest(successes, n).proportion_ci(LEVEL, "wilson")
    share = successes / n  # rounding puts the bound of 0 of n a hair above 0
    return min(float(found.low), share), max(float(found.high), share)


def paired_rates(worse: int, better: int, n: int) -> tuple[float, float]:
    """Interval of the change of a rate over n pairs, of which `worse` went from 1 to 0 and `better` from 0 to 1.

    Bonett and Price, Adjusted Wald confidence interval for a difference of binomial proportions based on paired data (2012):
    Wald's interval after one pair more has changed in each direction.
    """
    down, up = (worse + 1) / (n + 2), (better + 1) / (n + 2)
    half = _Z * sqrt((down + up - (up - down) ** 2) / (n + 2))
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def mcnemar(worse: int, better: int) -> float:
    """Two-sided p of the exact test of McNemar (1947): are changes in both directions equally likely?"""
    from scipy.stats import binomtest

    return float(binomtest(worse, worse + better).pvalue) if worse + better else 1.0


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Values of p adjusted for their number (Holm, A simple sequentially rejective test procedure, 1979); None stays None."""
    known = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = highest
    return adjusted


def _pooled_estimate(metric: Metric, rows: Sequence[Scores], groups: Sequence[str], seed: int) -> Estimate | None:
    kept = [place for place, row in enumerate(rows) if _has(row, metric)]
    value = _figure(metric, [rows[place] for place in kept])
    if np.isnan(value):
        return None
    members = _members(groups, kept)
    bounds = percentiles(drawn_rows(lambda chosen: _figure(metric, [rows[place] for place in chosen]), members, seed))
    return Estimate(value, *bounds, len(kept), len(members), "bootstrap over groups")


def _pooled_difference(
    metric: Metric, before: Sequence[Scores], after: Sequence[Scores], groups: Sequence[str], seed: int
) -> Difference | None:
    first, last = (_figure(metric, [row for row in rows if _has(row, metric)]) for rows in (before, after))
    if np.isnan(first) or np.isnan(last):
        return None

    def change(chosen: Sequence[int]) -> float:
        old, new = ([row for place in chosen if _has(row := rows[place], metric)] for rows in (before, after))
        return _figure(metric, new) - _figure(metric, old)

    kept = [place for place, two in enumerate(zip(before, after, strict=True)) if any(_has(row, metric) for row in two)]
    members = _members(groups, kept)
    bounds = percentiles(drawn_rows(change, members, seed))
    n = min(sum(_has(row, metric) for row in rows) for rows in (before, after))
    return Difference(first, last, *bounds, n, len(members), "paired bootstrap over groups", None, "")


def _has(row: Scores, metric: Metric) -> bool:
    return all(row.get(key) is not None for key in metric.needs)


def _figure(metric: Metric, rows: Sequence[Scores]) -> float:
    value = metric.compute(rows) if rows else None
    return float(value) if value is not None and np.isfinite(value) else float("nan")


def _values(rows: Sequence[Scores], key: str) -> Floats:
    return np.array([np.nan if (value := row.get(key)) is None else value for row in rows], dtype=float)


def _ids(groups: Sequence[str], kept: NDArray[np.bool_]) -> Index:
    return np.unique(np.asarray(groups)[kept], return_inverse=True)[1]


def _sums(values: Floats, ids: Index) -> Floats:
    return np.bincount(ids, weights=values).astype(float)


def _members(groups: Sequence[str], kept: Sequence[int]) -> list[list[int]]:
    found: dict[str, list[int]] = {}
    for place in kept:
        found.setdefault(groups[place], []).append(place)
    return list(found.values())
