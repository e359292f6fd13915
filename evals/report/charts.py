"""The pictures of a task: each a figure, a caption that says how to read it, and its numbers as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from evals.report import plots
from evals.report.numbers import Reliability, TradeOff, quantiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = Sequence[tuple[str, Sequence[float]]]  # a name for the legend, and values
_STYLES = ((plots.FIRST, "-"), (plots.SECOND, "--"), (plots.TEXT, ":"), (plots.SOFT, "-."))
_BINS = 20


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture.

    Attributes:
        caption: what it shows and how to read it.
        header, rows: the same numbers as text.
        open: whether the numbers are shown without asking, because they matter more than the picture.
    """

    title: str
    svg: Markup
    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    open: bool = False


def distribution(task: str, title: str, series: Series, threshold: float | None, caption: str) -> Chart:
    """Histogram of shares of 1, with a threshold if there is one.

    Args:
        task: its name.
        title: what is distributed.
        series: one or two.
        threshold: marked by a line.
        caption: how to read it.
    """
    edges = [place / _BINS for place in range(_BINS + 1)]
    counts = [np.histogram(np.clip(values, 0, 1), edges)[0] for _, values in series]

    def paint(axes: "Axes") -> None:
        from matplotlib.ticker import MaxNLocator

        for (name, values), (colour, line) in zip(series, _STYLES, strict=False):
            label = f"{name} (n = {len(values)})"
            axes.hist(values, edges, histtype="stepfilled", color=colour, alpha=0.22)
            axes.hist(values, edges, histtype="step", edgecolor=colour, linestyle=line, linewidth=1.6, label=label)
        if threshold is not None:
            axes.axvline(threshold, color=plots.TEXT, linewidth=1.2, linestyle=(0, (2, 2)), label=f"threshold {threshold:g}")
        axes.set(xlim=(0, 1), xlabel=title.lower(), ylabel="count")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=False, axis="x")
        _legend_above(axes)

    rows = [
        (f"{low:.2f} to {high:.2f}", *(str(count[i]) for count in counts))
        for i, (low, high) in enumerate(zip(edges, edges[1:], strict=False))
        if any(count[i] for count in counts)
    ]
    svg = plots.draw(f"{task}: {title}, histogram", paint)
    return Chart(title, svg, caption, (title, *(name for name, _ in series)), rows)


def reliability(task: str, probability: str, outcome: str, curve: Reliability, half: str) -> Chart:
    """What was foretold against what came true."""

    def paint(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=plots.SOFT, linewidth=1, linestyle=(0, (4, 3)))
        below = [bin.share - bin.low for bin in curve.bins]
        above = [bin.high - bin.share for bin in curve.bins]
        x, y = [bin.mean for bin in curve.bins], [bin.share for bin in curve.bins]
        axes.errorbar(x, y, [below, above], color=plots.FIRST, marker="o", markersize=4.5, elinewidth=1, linewidth=1.4)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=f"foretold: {probability}", ylabel=f"observed: {outcome}")

    caption = (
        f"Samples sorted by {probability} and cut into {len(curve.bins)} bins of about equal count. "
        f"On the dashed line the share with {outcome} is what was foretold; below it, the scores are too sure. Bars: 95% "
        f"Wilson intervals. Expected calibration error {curve.error:.3f}, 0 is best ({half})."
    )
    rows = [
        (f"{b.first:.2f} to {b.last:.2f}", str(b.n), f"{b.mean:.3f}", f"{b.share:.3f}", f"{b.low:.3f} to {b.high:.3f}")
        for b in curve.bins
    ]
    header = (probability, "n", "foretold", "observed", "95% interval")
    return Chart("Reliability", plots.draw(f"{task}: reliability diagram", paint), caption, header, rows)


def latency(task: str, series: Series, half: str) -> Chart:
    """Empirical distribution of times in milliseconds, and their percentiles."""

    def paint(axes: "Axes") -> None:
        for (name, values), (colour, line) in zip(series, _STYLES, strict=False):
            axes.ecdf(values, color=colour, linestyle=line, label=name)
        axes.set(xscale="log", ylim=(0, 1.02), xlabel="milliseconds, logarithmic", ylabel="share of samples")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        _legend_above(axes)

    caption = (
        f"The height of a curve is the share of samples that took at most so long; further left is faster ({half}). "
        "Answers whose words came from the cache have no times."
    )
    header = ("ms", "n", "p50", "p90", "p95", "p99")
    rows = [(name, str(len(values)), *(f"{value:,.0f}" for value in quantiles(values))) for name, values in series]
    svg = plots.draw(f"{task}: latency, empirical distribution", paint)
    return Chart("Latency", svg, caption, header, rows, open=True)


def trade_off(task: str, curve: TradeOff, half: str) -> Chart:
    """False refusals against wrongly answered questions, over all thresholds of relevance."""

    def paint(axes: "Axes") -> None:
        axes.plot(curve.wrongly_answered, curve.false_refusals, color=plots.FIRST, label="by the threshold alone")
        x, y = curve.present
        axes.plot([x], [y], "o", color=plots.FIRST, markersize=7, label=f"present threshold {curve.threshold:g}")
        if curve.whole is not None:
            x, y = curve.whole
            axes.plot([x], [y], "D", color=plots.SECOND, markersize=6, label="after all checks")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set(xlabel="share of not covered that is answered", ylabel="share of covered that is refused")
        axes.legend(loc="upper right")

    chain = " The diamond is the whole chain, whose later checks refuse more." if curve.whole is not None else ""
    caption = (
        f"Each point of the line is a threshold: to the right the share of the {curve.uncovered} questions not covered that "
        f"it answers, upwards the share of the {curve.covered} covered ones that it refuses. The lower left corner is "
        f"best.{chain} ({half[0].upper()}{half[1:]}.)"
    )
    header = ("threshold", "covered, refused", "not covered, answered")
    rows = [(f"{t:.2f}", f"{false:.3f}", f"{wrong:.3f}") for t, false, wrong in curve.table]
    return Chart("Refusal threshold", plots.draw(f"{task}: refusal threshold, trade-off", paint), caption, header, rows)


def _legend_above(axes: "Axes") -> None:
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=2, columnspacing=1.4)
