"""A Comparison as `lectern eval compare` prints it for people."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.figures.compare import Comparison, TaskComparison
from evals.listing import shown

_STYLES = {"better": "green", "worse": "red", "changed": "yellow"}
_LEGEND = """
Difference: after - before, on the same samples. Better or worse is said only where the 95% interval excludes 0 and the test, if
there is one, agrees (p <= 0.05). p (Holm) is adjusted for the number of figures of the task."""


def print_comparison(found: Comparison, console: Console | None = None) -> None:
    """Tables for people: what was changed, the figures of each task, the samples that changed most."""
    to = console or Console()
    to.print(f"Before: {found.before}\nAfter:  {found.after}\n", markup=False, highlight=False)
    same = "Nothing that a run records was changed between the two."
    to.print(settings_table(found.differing, "what was changed", "before", "after") if found.differing else same)
    for task in found.tasks:
        to.print(f"\n{task.task}, {len(task.pairs.both)} pairs", style="bold", markup=False, highlight=False)
        to.print(_figures_table(task))
        for reason, ids in task.pairs.unpaired.items():
            more = ", ..." if len(ids) > 5 else ""
            to.print(
                f"{len(ids)} not paired, {reason}: {', '.join(ids[:5])}{more}", markup=False, highlight=False, soft_wrap=True
            )
        if task.other_judge:
            to.print("Another judge judged after than before: these differences say nothing about the answers.", style="yellow")
    for name, why in found.left_out.items():
        to.print(f"\n{name} is not compared: {why}.", markup=False, highlight=False, soft_wrap=True)
    to.print(_LEGEND, highlight=False, markup=False, soft_wrap=True)
    if found.changed:
        to.print("\nSamples that changed most", style="bold")
        to.print(_samples_table(found))
    else:
        to.print("\nNo score of any sample changed.")


def settings_table(differing: Sequence[tuple[str, Any, Any]], title: str, before: str, after: str) -> Table:
    """What two manifests do not agree in."""
    table = Table(title, before, after, box=None, header_style="bold", padding=(0, 1, 0, 0))
    for key, old, new in differing:
        table.add_row(key, *(escape(_short("-" if value is None else str(value), 60)) for value in (old, new)))
    return table


def signed(value: float, unit: str) -> str:
    """A difference for people, always with its sign."""
    return f"{'+' if value > 0 else ''}{shown(value, unit)}"


def _figures_table(task: TaskComparison) -> Table:
    headings = ("figure", "before", "after", "difference", "95% interval", "n", "p", "p (Holm)", "")
    table = Table(*headings, box=None, header_style="bold", padding=(0, 1, 0, 0))
    for number in range(1, 8):
        table.columns[number].justify = "right"
    for change in task.changes:
        by, unit = change.difference, change.metric.unit
        bounds = "-" if by.low is None or by.high is None else f"{signed(by.low, unit)} to {signed(by.high, unit)}"
        ps = ("-" if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001" for p in (by.p, change.p_holm))
        values = shown(by.before, unit), shown(by.after, unit), signed(by.value, unit)
        table.add_row(change.metric.name, *values, bounds, str(by.n), *ps, change.verdict, style=_STYLES.get(change.verdict))
    return table


def _samples_table(found: Comparison) -> Table:
    table = Table("sample", "scores", "question", "before", "after", header_style="bold")
    for one in found.changed:
        moved = ", ".join(f"{key} {_plain(old)} -> {_plain(new)}" for key, (old, new) in one.scores.items())
        table.add_row(
            escape(f"{one.task} {one.id}"),
            *(escape(_short(text, 160)) for text in (moved, one.question, one.before, one.after)),
        )
    return table


def _plain(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
