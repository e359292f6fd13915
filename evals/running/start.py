"""One run from its command line to its report."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from evals.cases import Case, own_cases
from evals.environment import Environment
from evals.running.cache import FOLDER, Cache
from evals.running.manifest import check_same, describe, pinned, portable
from evals.running.overrides import changed_settings
from evals.running.progress import Bar, Estimate, count, duration
from evals.running.registry import all_tasks, choose
from evals.running.request import Request
from evals.running.runner import Outcome, Planned, plan, run_tasks
from evals.running.runs import Run, find_run, new_run
from evals.task import Split, Task
from knowledge.errors import CourseError


def carry_out(request: Request, console: Console) -> tuple[Run, Outcome]:
    """Do a run, or what is left of one.

    Args:
        request: what was asked for.
        console: for standard error.

    Raises:
        CourseError: the request cannot be met; nothing has been computed.
        KeyboardInterrupt: it was stopped; `console` has been told how to go on.
    """
    settings = pinned(changed_settings(request.changes, request.model))
    cases = None if request.cases is None else own_cases(request.cases)
    chosen, asks_own = _chosen(request, cases)
    tasks, skipped = plan(chosen, request.data, request.drawing)
    skipped |= asks_own
    for name, why in skipped.items():
        console.print(f"{name} is skipped: it {why}.", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if not tasks:
        raise CourseError("There is nothing to run.", "`lectern eval list` says what each task needs.")
    cache = Cache(None if request.no_cache else request.out / FOLDER)
    try:
        environment = Environment(settings, cache, request.data, request.drawing.seed, request.judge, cases)
        with redirect_stdout(sys.stderr):  # whatever a library prints, standard output is for our figures
            manifest = _manifest(request, environment, tasks, skipped)
            run = _begin(request, manifest)
            with _alone(run):
                outcome = _watched(run, tasks, environment, console)
        return run, outcome
    finally:
        cache.close()


def _chosen(request: Request, cases: Sequence[tuple[Case, Split]] | None) -> tuple[list[Task], dict[str, str]]:
    """The tasks that were asked for, and by name why one of them does not ask cases of one's own."""
    tasks = all_tasks()
    if not tasks:
        raise CourseError("There are no tasks.", "Add one in evals/tasks/; evals/task.py says what it is made of.")
    chosen = [task for task in choose(request.tasks, tasks) if task.quick > 0 or not request.drawing.quick]
    if cases is None:
        return chosen, {}
    fixed = {task.name: "takes no cases of one's own" for task in chosen if task.own is None}
    return [task.asking(cases) for task in chosen if task.own is not None], fixed


def _manifest(request: Request, environment: Environment, tasks: Sequence[Planned], skipped: dict[str, str]) -> dict[str, Any]:
    drawing = request.drawing
    return {
        "command": shlex.join(["lectern", *portable(sys.argv[1:])]),
        "started": _now(),
        "finished": None,
        "skipped": skipped,
        "split": drawing.split,
        "limit": drawing.limit,
        "quick": drawing.quick,
        "seed": drawing.seed,
        "lessons": None if drawing.lessons is None else sorted(drawing.lessons),
        "cases": request.cases and request.cases.name,
        "data": sorted({folder for planned in tasks for folder in planned.task.data}),
        **describe(environment, {p.task.name: p.as_json() for p in tasks}, any(p.task.judged for p in tasks)),
    }


def _begin(request: Request, manifest: dict[str, Any]) -> Run:
    if request.resume is not None:
        run = find_run(request.resume, request.out)
        before = run.manifest()
        check_same(before, manifest)
        run.write_manifest({**before, "finished": None})
        return run
    run = new_run(request.out, datetime.now(), request.name)
    run.write_manifest({"name": run.name, **manifest})
    return run


def _watched(run: Run, tasks: Sequence[Planned], environment: Environment, console: Console) -> Outcome:
    say = console.print
    total = sum(len(planned.samples) for planned in tasks)
    before = f"{count(total, 'sample')} of {count(len(tasks), 'task')}, about {duration(Estimate(tasks).seconds)}"
    say(f"{before}, into {run.folder}", markup=False, highlight=False, soft_wrap=True)
    try:
        with Bar(tasks, console) as bar:
            outcome = run_tasks(run, tasks, environment, bar)
    except KeyboardInterrupt:
        done = sum(len(run.rows(planned.task.name)) for planned in tasks)
        command = shlex.join(["lectern", *_without_resume(sys.argv[1:]), "--resume", run.name])
        say(f"Stopped after {done} of {total}; nothing is lost. Go on with: {command}", markup=False, soft_wrap=True)
        raise
    ended = {"finished": _now(), "failed": outcome.failed, "stopped": outcome.stopped}
    run.write_manifest({**run.manifest(), **ended})
    return outcome


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    lock = FileLock(run.folder / "running.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise CourseError(f"{run.name} is being run by another process.", "Wait for it, or stop it.") from error
    try:
        yield
    finally:
        lock.release()


def _without_resume(arguments: Sequence[str]) -> list[str]:
    kept = [part for part in arguments if not part.startswith("--resume=")]
    if "--resume" in kept:
        place = kept.index("--resume")
        del kept[place : place + 2]
    return kept


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
