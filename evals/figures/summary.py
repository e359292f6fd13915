"""The figures of a run, computed again from its rows at any time, and written to summary.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.figures.stats import Estimate, estimate
from evals.running.registry import all_tasks
from evals.running.runs import Run
from evals.task import Metric, Row, Split, Task, rate
from knowledge.errors import CourseError

SUMMARY = "summary.json"
FAILED = rate("failed", "samples that the solver failed on; they are in no other figure", higher_is_better=False)
JUDGES = "judge/"  # the family of tasks that measures judges
_SPLITS: tuple[Split, ...] = ("dev", "test")


def summarise(run: Path, tasks: Sequence[Task] | None = None) -> dict[str, Any]:
    """Compute every figure of a run and write them to its summary.json.

    Args:
        run: its folder.
        tasks: those that there are; None takes the registry's.

    Returns:
        {task: {metric: {value, low, high, n, groups, method, unit, higher_is_better, about, splits}}}. Intervals are 95%, their
        bounds null where none can be had; `splits` holds value, low, high, n, groups and method of dev and test each, where
        the run has samples of both. The metric `failed` is there only where a sample failed. A task whose metrics have nothing
        to be computed from has none. Where the run measures its judge, `judge_quality` holds these figures: {task: {metric:
        ...}} of the tasks of the family "judge", else it is missing.

    Raises:
        CourseError: the run is damaged, or one of its tasks is no longer there.
    """
    found = Run(run)
    metrics = metrics_of(tasks)
    summary: dict[str, Any] = {}
    for name in found.tasks():
        if name not in metrics:
            raise CourseError(f"{found.name} ran {name}, which is no longer there.", "Check out the commit of its manifest.")
        summary[name] = figures(found.rows(name), metrics[name])
    if measured := {name: figures for name, figures in summary.items() if name.startswith(JUDGES)}:
        summary["judge_quality"] = measured
    scratch = run / f"{SUMMARY}.part"
    scratch.write_text(json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    scratch.replace(run / SUMMARY)
    return summary


def metrics_of(tasks: Sequence[Task] | None = None) -> dict[str, Sequence[Metric]]:
    """The metrics of each task by the task's name; None takes the tasks of the registry."""
    return {task.name: task.metrics for task in (all_tasks() if tasks is None else tasks)}


def figures(rows: Sequence[Row], metrics: Sequence[Metric]) -> dict[str, dict[str, Any]]:
    """The figures of one task by metric, as summary.json has them."""
    halves = {split: [row for row in rows if row.sample.split == split] for split in _SPLITS}
    found = {}
    for metric in [*metrics, FAILED] if any(row.error for row in rows) else metrics:
        if (whole := of_rows(metric, rows)) is None:
            continue
        told = {"unit": metric.unit, "higher_is_better": metric.higher_is_better, "about": metric.about}
        splits = {split: of_rows(metric, half) for split, half in halves.items()} if all(halves.values()) else {}
        found[metric.name] = {**_json(whole), **told, "splits": {split: _json(part) for split, part in splits.items() if part}}
    return found


def of_rows(metric: Metric, rows: Sequence[Row]) -> Estimate | None:
    """One figure; a row that failed counts only for FAILED."""
    if metric is FAILED:
        return estimate(metric, [{"failed": float(bool(row.error))} for row in rows], [row.sample.group for row in rows])
    scored = [row for row in rows if not row.error]
    return estimate(metric, [row.scores for row in scored], [row.sample.group for row in scored])


def _json(found: Estimate) -> Mapping[str, Any]:
    return {key: getattr(found, key) for key in ("value", "low", "high", "n", "groups", "method")}
