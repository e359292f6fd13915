"""Two runs side by side: what was changed, what that did to each figure, and which samples it changed most."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.figures.pairs import ChangedSample, Pairs, most_changed, pair
from evals.figures.stats import Difference, difference, holm
from evals.figures.summary import JUDGES, metrics_of
from evals.running.runs import Run
from evals.task import Metric, Task
from knowledge.errors import CourseError

MOST = 10
# What differs between any two runs, or follows from what else differs.
_OWN = {"name", "command", "started", "finished", "tasks", "skipped", "failed", "stopped"}


@dataclass(frozen=True, slots=True)
class Change:
    """One figure before and after.

    Attributes:
        p_holm: p adjusted for the number of figures of the task.
    """

    metric: Metric
    difference: Difference
    p_holm: float | None

    @property
    def verdict(self) -> str:
        """What it means; anything but "no clear change" is more than chance (see Difference.sure)."""
        if not self.difference.sure:
            return "no clear change"
        if self.metric.higher_is_better is None:
            return "changed"
        return "better" if (self.difference.value > 0) == self.metric.higher_is_better else "worse"

    def as_json(self) -> dict[str, Any]:
        """All of it, by the names of the tables."""
        found, metric = self.difference, self.metric
        keys = ("before", "after", "low", "high", "n", "groups", "method", "p", "test")
        told = {"unit": metric.unit, "higher_is_better": metric.higher_is_better, "about": metric.about}
        values = {"difference": found.value, **{key: getattr(found, key) for key in keys}, "p_holm": self.p_holm}
        return {"metric": metric.name, **values, "verdict": self.verdict, **told}


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """One task in both runs.

    Attributes:
        other_judge: whether its figures come from another judge after than before, so that they cannot be compared.
        changed: the ten samples that changed most.
    """

    task: str
    pairs: Pairs
    other_judge: bool
    changes: tuple[Change, ...]
    changed: tuple[ChangedSample, ...]

    def as_json(self) -> dict[str, Any]:
        """All of it; a changed sample is {id, change, scores: {name: [before, after]}, question, before, after}."""
        shown = ("id", "change", "question", "before", "after")
        return {
            "task": self.task,
            "pairs": len(self.pairs.both),
            "unpaired": {reason: list(ids) for reason, ids in self.pairs.unpaired.items()},
            "other_judge": self.other_judge,
            "figures": [change.as_json() for change in self.changes],
            "changed": [
                {**{key: getattr(one, key) for key in shown}, "scores": {key: list(two) for key, two in one.scores.items()}}
                for one in self.changed
            ],
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs.

    Attributes:
        before, after: their names.
        differing: what the manifests do not agree in: key, before, after.
        left_out: tasks that could not be compared, and why.
    """

    before: str
    after: str
    differing: tuple[tuple[str, Any, Any], ...]
    tasks: tuple[TaskComparison, ...]
    left_out: Mapping[str, str]

    @property
    def changed(self) -> list[ChangedSample]:
        """The ten samples of all tasks that changed most."""
        every = [sample for task in self.tasks for sample in task.changed]
        return sorted(every, key=lambda sample: (-sample.change, sample.task, sample.id))[:MOST]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "before": self.before,
            "after": self.after,
            "differing": [{"key": key, "before": old, "after": new} for key, old, new in self.differing],
            "tasks": [task.as_json() for task in self.tasks],
            "left_out": dict(self.left_out),
        }


def compare_runs(before: Path, after: Path, tasks: Sequence[Task] | None = None) -> Comparison:
    """Compare two runs, given by their folders, sample by sample; differences are after - before.

    `tasks` are those that there are, None takes the registry's.

    Raises:
        CourseError: a run is damaged, or they have no task, or in no task a sample, in common.
    """
    old, new = Run(before), Run(after)
    manifests = old.manifest(), new.manifest()
    names = dict.fromkeys([*old.tasks(), *new.tasks()])
    metrics = metrics_of(tasks)
    left_out: dict[str, str] = {}
    compared = []
    for name in names:
        if name not in old.tasks() or name not in new.tasks():
            left_out[name] = f"only {new.name if name in new.tasks() else old.name} has it"
        elif name not in metrics:
            left_out[name] = "there is no such task any more"
        elif not (pairs := pair(old.rows(name), new.rows(name))).both:
            left_out[name] = "not one sample could be paired: " + ", ".join(
                f"{len(x)} {why}" for why, x in pairs.unpaired.items()
            )
        else:
            compared.append(_compare(name, pairs, metrics[name], other_judge(*manifests, name)))
    if not compared:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "neither has samples"
        remedy = "Compare runs of the same tasks, with the same --split, --limit and --seed."
        raise CourseError(f"{old.name} and {new.name} have nothing in common ({why}).", remedy)
    return Comparison(old.name, new.name, tuple(differing(*manifests)), tuple(compared), left_out)


def change_of(metric: Metric, pairs: Pairs) -> Difference | None:
    """The paired difference of one figure."""
    before, after = ([row.scores for row in rows] for rows in zip(*pairs.both, strict=True))
    return difference(metric, before, after, [row.sample.group for _, row in pairs.both])


def other_judge(before: Mapping[str, Any], after: Mapping[str, Any], task: str) -> bool:
    """Whether a task was judged by another judge after than before, by the manifests; not where judges are what it measures."""
    if task.startswith(JUDGES):
        return False
    judged = any(manifest["tasks"].get(task, {}).get("judged") for manifest in (before, after))
    return bool(judged) and before.get("judge") != after.get("judge")


def _compare(name: str, pairs: Pairs, metrics: Sequence[Metric], another: bool) -> TaskComparison:
    found = [(metric, change) for metric in metrics if (change := change_of(metric, pairs))]
    adjusted = holm([change.p for _, change in found])
    changes = tuple(Change(metric, change, p) for (metric, change), p in zip(found, adjusted, strict=True))
    return TaskComparison(name, pairs, another, changes, tuple(most_changed(name, pairs, metrics, MOST)))


def differing(before: Mapping[str, Any], after: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any, Any]]:
    """What two manifests do not agree in, as key, before and after; left out is what differs between any two runs."""
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if old == new or (not within and key in _OWN):
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differing(old, new, f"{within}{key}.")
        else:
            yield f"{within}{key}", old, new
