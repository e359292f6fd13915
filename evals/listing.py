"""What `lectern eval` prints: the list of tasks, and the figures of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.running.progress import count, duration
from evals.running.registry import all_tasks, missing_data
from knowledge.errors import CourseError


def listed(data: Path | None) -> list[dict[str, Any]]:
    """The objects of `lectern eval list --json`.

    Args:
        data: the folder of public data sets, or None.

    Returns:
        For each task: name, about, source, data (folders that it reads), samples {dev, test, all}, quick (how many a quick run
        takes), minutes and quick_minutes (of the half test, on two cores), judged, and skipped: why it would not run, or None.
        Of a skipped task, samples and minutes are None.
    """
    found = []
    for task in all_tasks():
        skipped = missing_data(task, data)
        splits: list[str] = []
        if not skipped:
            try:
                splits = [sample.split for sample in task.samples(data)]
            except CourseError as error:  # the list is also for finding out what is wrong
                skipped = f"cannot read its samples: {error}"
        sizes = {"dev": splits.count("dev"), "test": splits.count("test"), "all": len(splits)}
        found.append(
            {
                "name": task.name,
                "about": task.about,
                "source": task.source,
                "data": list(task.data),
                "samples": None if skipped else sizes,
                "quick": task.quick,
                "minutes": None if skipped else round(sizes["test"] * task.seconds / 60, 1),
                "quick_minutes": None if skipped else round(min(task.quick, sizes["test"]) * task.seconds / 60, 1),
                "judged": task.judged,
                "skipped": skipped or None,
            }
        )
    return found


def print_list(tasks: Sequence[Mapping[str, Any]], console: Console) -> None:
    """The list for people: what can run, what cannot and why, and how long everything takes."""
    ready = [task for task in tasks if not task["skipped"]]
    if ready:
        table = _table("task", "samples", "test", "quick", "minutes", "what it measures", right=(1, 2, 3, 4))
        for task in ready:
            sizes, minutes = task["samples"], task["minutes"]
            figures = (
                str(sizes["all"]),
                str(sizes["test"]),
                str(task["quick"] or "-"),
                f"{minutes:.0f}" if minutes >= 1 else "< 1",
            )
            table.add_row(escape(task["name"]), *figures, escape(task["about"]))
        console.print(table)
        quick, full = (duration(60 * sum(task[key] for task in ready)) for key in ("quick_minutes", "minutes"))
        note = (
            f"\nMinutes are for the half test on two cores. lectern eval quick: about {quick}; lectern eval full: about {full}."
        )
        console.print(note, highlight=False, soft_wrap=True)
    left_out = [task for task in tasks if task["skipped"]]
    if left_out:
        console.print(f"{chr(10) if ready else ''}Skipped, {count(len(left_out), 'task')}:", style="yellow")
        table = _table("task", "why", "what it measures")
        for task in left_out:
            table.add_row(escape(task["name"]), escape(task["skipped"]), escape(task["about"]))
        console.print(table)


def print_figures(summary: Mapping[str, Any], manifest: Mapping[str, Any], console: Console) -> None:
    """The figures of a run with their intervals, and how good the judge is that some of them rest on."""
    table = _table("figure", "value", "95% interval", "n", right=(1, 2, 3))
    for task in manifest["tasks"]:
        table.add_row(f"[bold]{escape(task)}[/]")
        for name, figure in summary.get(task, {}).items():
            table.add_row(f"  {escape(name)}", shown(figure["value"], figure["unit"]), _interval(figure), str(figure["n"]))
    console.print(table)
    if judge := manifest["judge"]:
        from evals.judges.quality import quality_line

        text = f"\nFigures of groundedness and citations rest on the {quality_line(judge['identity'])}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def shown(value: float | None, unit: str) -> str:
    """A figure for people: three decimals of a share, three digits of anything else, with its unit."""
    if value is None:
        return "-"
    if not unit:
        return f"{value:.3f}"
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"


def _interval(figure: Mapping[str, Any]) -> str:
    if figure["low"] is None or figure["high"] is None:
        return "-"
    return f"{shown(figure['low'], '' if not figure['unit'] else ' ').strip()} to {shown(figure['high'], figure['unit'])}"


def _table(*heads: str, right: Sequence[int] = ()) -> Table:
    table = Table(*heads, box=None, padding=(0, 1, 0, 0))
    table.columns[0].no_wrap = True
    for number in right:
        table.columns[number].justify = "right"
    return table
