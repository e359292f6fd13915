"""Which tasks there are: everything called TASKS in evals/tasks/*.py, in the order of the files' names."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from evals.task import Task
from knowledge.errors import CourseError

PACKAGE = "evals.tasks"


def all_tasks() -> tuple[Task, ...]:
    """Every task; importing them computes nothing.

    Raises:
        CourseError: two have the same name.
    """
    return _tasks_in(PACKAGE)


@cache
def _tasks_in(package: str) -> tuple[Task, ...]:
    tasks: dict[str, Task] = {}
    for found in sorted(iter_modules(import_module(package).__path__), key=lambda module: module.name):
        for task in getattr(import_module(f"{package}.{found.name}"), "TASKS", ()):
            if task.name in tasks:
                raise CourseError(f"Two tasks are called {task.name}.", f"Rename the one in {found.name}.py.")
            tasks[task.name] = task
    return tuple(tasks.values())


def choose(patterns: Sequence[str], tasks: Sequence[Task]) -> list[Task]:
    """The tasks that names or patterns such as "course/*" stand for, each once.

    Raises:
        CourseError: one stands for none; the text names the nearest.
    """
    chosen: dict[str, Task] = {}
    for pattern in patterns:
        found = [task for task in tasks if fnmatchcase(task.name, pattern)]
        if not found:
            names = [task.name for task in tasks]
            near = get_close_matches(pattern, names, 3, 0.4) or [name for name in names if pattern.strip("*/") in name][:3]
            hint = f"Did you mean {' or '.join(near)}? " if near else ""
            raise CourseError(f"There is no task {pattern}.", f"{hint}`lectern eval list` shows them all.")
        chosen |= {task.name: task for task in found}
    return list(chosen.values())


def missing_data(task: Task, data: Path | None) -> str:
    """Why the task has nothing to read, in words; empty if all is there."""
    if not task.data:
        return ""
    if data is None:
        return f"needs {_folders(task.data)} of public data: give the folder that holds it with --data"
    absent = [name for name in task.data if not (data / name).is_dir()]
    return f"needs {_folders(absent)} below --data, where there is none" if absent else ""


def _folders(names: Sequence[str]) -> str:
    return f"the folder{'s' if len(names) > 1 else ''} {', '.join(names)}"
