"""Runs tasks: draws samples, solves and scores them one by one, and writes each down before the next begins."""

import json
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from evals.environment import Environment
from evals.running.cache import Cache, digest
from evals.running.registry import missing_data
from evals.running.request import Drawing
from evals.running.runs import Run
from evals.running.sampling import draw
from evals.task import Output, Row, Sample, Scorer, Scores, Solver, Task
from knowledge.errors import CourseError

GIVE_UP = 5  # failures in a row, from the first sample on, after which a task cannot be expected to work


@dataclass(frozen=True, slots=True)
class Planned:
    """A task and the samples that it gets."""

    task: Task
    samples: tuple[Sample, ...]

    def as_json(self) -> dict[str, Any]:
        """What the manifest says of it."""
        content = [[sample.id, dict(sample.input), dict(sample.target)] for sample in self.samples]
        return {"samples": len(self.samples), "content": digest(content)[:12], "judged": self.task.judged}


@dataclass(slots=True)
class Outcome:
    """What did not work.

    Attributes:
        failed: how many samples of a task have an error, by task.
        stopped: why a task was given up, by task.
    """

    failed: dict[str, int] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For people; none where everything worked."""
        stopped = [f"{name} was given up: {why}" for name, why in self.stopped.items()]
        by_task = ", ".join(f"{name} {number}" for name, number in self.failed.items())
        return stopped + [f"Failed samples: {sum(self.failed.values())} ({by_task})."] * bool(self.failed)


class Watch(Protocol):
    """Hears how a run goes."""

    def begin(self, planned: Planned, done: int) -> None:
        """A task begins; `done` of its samples were done before."""

    def row(self, row: Row, seconds: float) -> None:
        """A sample is done, after this many seconds with its scores."""

    def end(self, problem: str) -> None:
        """The task is over; `problem` says why it was given up, or is empty."""


def plan(tasks: Sequence[Task], data: Path | None, drawing: Drawing) -> tuple[list[Planned], dict[str, str]]:
    """The samples of each task, and by name why a task is left out.

    Raises:
        CourseError: a task's file is damaged, two of its samples have the same id, or none is about the lessons asked for.
    """
    planned, skipped, about = [], {}, set()
    for task in tasks:
        if why := missing_data(task, data):
            skipped[task.name] = why
            continue
        samples = list(task.samples(data))
        if len({sample.id for sample in samples}) < len(samples):
            raise CourseError(f"Two samples of {task.name} have the same id.", "Make its ids unique.")
        if drawing.lessons is not None and all("lesson" not in sample.target for sample in samples):
            skipped[task.name] = "has samples that name no lesson"
            continue
        halves = [sample for sample in samples if drawing.split in ("all", sample.split) and _is_about(sample, drawing)]
        about |= {sample.target.get("lesson") for sample in halves}
        limits = [limit for limit in (drawing.limit, task.quick if drawing.quick else None) if limit is not None]
        if drawn := draw(halves, min(limits, default=None), drawing.seed, task.whole_groups):
            planned.append(Planned(task, tuple(drawn)))
        else:
            which = "" if drawing.lessons is None else " about the given lessons"
            skipped[task.name] = f"has no samples in the half {drawing.split}{which}" if samples else "has no samples"
    if drawing.lessons is not None and planned and not about & drawing.lessons:
        some = sorted(drawing.lessons)[0]
        raise CourseError(f"No sample is about {some}, or another of the given lessons.", "See: lectern sources list")
    return planned, skipped


def _is_about(sample: Sample, drawing: Drawing) -> bool:
    """Whether a sample is about one of the lessons asked for, or about none."""
    lesson = sample.target.get("lesson")
    return drawing.lessons is None or not lesson or lesson in drawing.lessons


def run_tasks(run: Run, tasks: Sequence[Planned], environment: Environment, watch: Watch) -> Outcome:
    """Do what is not done yet; every sample is on disk before the next begins, so this may be killed at any moment.

    A task that cannot begin, or whose first samples all fail, is given up; the others go on.
    """
    outcome = Outcome()
    for planned in tasks:
        name = planned.task.name
        done = {row.sample.id for row in run.mend(name)}
        watch.begin(planned, len(done))
        todo = [sample for sample in planned.samples if sample.id not in done]
        failed, problem = _run_task(run, planned.task, todo, environment, watch) if todo else (0, "")
        if failed:
            outcome.failed[name] = failed
        if problem:
            outcome.stopped[name] = problem
        watch.end(problem)
    return outcome


def _run_task(run: Run, task: Task, samples: Sequence[Sample], environment: Environment, watch: Watch) -> tuple[int, str]:
    """How many samples failed, and why the task was given up."""
    failed = 0
    try:
        scorers, solver = task.scorers(environment), task.solver(environment)
    except (CourseError, ImportError) as error:
        return 0, str(error)
    try:
        identity = _identity(solver)
        for number, sample in enumerate(samples, start=1):
            started = perf_counter()
            row = _attempt(sample, solver, identity, scorers, environment.cache)
            run.append(task.name, row)
            watch.row(row, perf_counter() - started)
            failed += bool(row.error)
            if failed == number == GIVE_UP:
                return failed, f"its first {GIVE_UP} samples failed, the last with {row.error}"
        return failed, ""
    except CourseError as error:  # of the identity: the errors of samples are in their rows
        return failed, str(error)
    finally:
        solver.close()


def _identity(solver: Solver) -> dict[str, Any]:
    """The solver's own, and its class, because two solvers may depend on the same things."""
    kind = type(solver)
    return {"solver": f"{kind.__module__}.{kind.__qualname__}", **solver.identity}


def _attempt(sample: Sample, solver: Solver, identity: Mapping[str, Any], scorers: Sequence[Scorer], cache: Cache) -> Row:
    key = {"solver": identity, "input": sample.input}
    output: Output = {}
    seconds, cached = 0.0, False
    try:
        if known := cache.get(key):
            output, seconds, cached = known["output"], known["seconds"], True
        else:
            started = perf_counter()
            blind = replace(sample, target={})
            output = json.loads(json.dumps(solver.solve(blind), allow_nan=False))  # scorers see what the cache would give
            seconds = perf_counter() - started
            cache.set(key, {"output": output, "seconds": seconds})
        return Row(sample, output, _scores(sample, output, scorers), seconds, cached)
    except Exception as error:  # what breaks one sample must not take the others with it; it is written down and counted
        return Row(sample, output, {}, seconds, cached, _told(error))


def _scores(sample: Sample, output: Output, scorers: Sequence[Scorer]) -> Scores:
    scores: Scores = {}
    for scorer in scorers:
        for name, value in scorer(sample, output).items():
            if name in scores:
                raise ValueError(f"two scorers give {name}")
            if value is not None and not math.isfinite(value):
                raise ValueError(f"score {name} is {value}")
            scores[name] = None if value is None else float(value)
    return scores


def _told(error: Exception) -> str:
    if isinstance(error, CourseError):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
