"""Two runs side by side, as the template wants them."""

from collections.abc import Mapping
from dataclasses import dataclass

from evals.figures.compare import Change, Comparison, TaskComparison
from evals.report.samples import Passages, SampleView, view
from evals.report.tables import Bar, around_zero, bar, interval, label, number
from evals.task import Row, Task

_KINDS = {"better": "better", "worse": "worse"}


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """One figure before and after; `kind` is better, worse or empty."""

    name: str
    before: str
    after: str
    difference: str
    interval: str
    bar: Bar
    p: str
    n: str
    says: str
    kind: str


@dataclass(frozen=True, slots=True)
class Group:
    """The figures of a task."""

    name: str
    notices: tuple[str, ...]
    rows: tuple[DifferenceRow, ...]


@dataclass(frozen=True, slots=True)
class ChangedPair:
    """A sample with both answers; `what` lists the scores that moved."""

    what: str
    before: SampleView
    after: SampleView


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """The whole comparison.

    Attributes:
        before, after: names of the runs.
        differing: what was changed between the runs: key, before, after.
    """

    before: str
    after: str
    differing: tuple[tuple[str, str, str], ...]
    groups: tuple[Group, ...]
    notices: tuple[str, ...]
    changed: tuple[ChangedPair, ...]


def comparison_view(found: Comparison, tasks: Mapping[str, Task]) -> ComparisonView:
    """Prepare a comparison.

    Args:
        found: made by compare_runs.
        tasks: by name.
    """
    pairs = {(task.task, after.sample.id): (before, after) for task in found.tasks for before, after in task.pairs.both}
    changed = []
    for sample in found.changed:
        before, after = pairs[sample.task, sample.id]
        moved = ", ".join(f"{label(key)} {number(old)} → {number(new)}" for key, (old, new) in sample.scores.items())
        changed.append(ChangedPair(moved, *(_plain(sample.task, row, tasks) for row in (before, after))))
    return ComparisonView(
        before=found.before,
        after=found.after,
        differing=tuple((key, _short(old), _short(new)) for key, old, new in found.differing),
        groups=tuple(_group(task) for task in found.tasks),
        notices=tuple(f"{name} is not compared: {why}." for name, why in found.left_out.items()),
        changed=tuple(changed),
    )


def _group(task: TaskComparison) -> Group:
    notices = [f"{len(ids)} not paired, {reason}." for reason, ids in task.pairs.unpaired.items()]
    if task.other_judge:
        notices.insert(0, "Another judge judged after than before, so differences of judged figures say nothing.")
    return Group(f"{task.task}, {len(task.pairs.both):,} pairs", tuple(notices), tuple(_row(change) for change in task.changes))


def _row(change: Change) -> DifferenceRow:
    found, unit = change.difference, change.metric.unit
    bounds = [found.value, found.low, found.high]
    return DifferenceRow(
        name=label(change.metric.name),
        before=number(found.before, unit),
        after=number(found.after, unit),
        difference=number(found.value, unit, sign=True),
        interval=interval(found.low, found.high, sign=True),
        bar=bar(found.value, found.low, found.high, around_zero(bounds)),
        p=_p(change.p_holm),
        n=f"{found.n:,}",
        says=change.verdict,
        kind=_KINDS.get(change.verdict, ""),
    )


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _plain(task: str, row: Row, tasks: Mapping[str, Task]) -> SampleView:
    return view(task, row, tasks[task], Passages())


def _short(value: object, most: int = 80) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
