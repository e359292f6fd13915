"""Uncovered questions that reach the model: what its prompt is worth, which a good search otherwise hides."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from evals.scorers import abstention
from evals.task import Sample, Solver, Task
from evals.tasks.course import check_course, questions

if TYPE_CHECKING:
    from evals.environment import Environment


def _uncovered(data: Path | None) -> Iterator[Sample]:
    return (sample for sample in questions() if not sample.target["answerable"])


def _assistant(environment: "Environment") -> Solver:
    from evals.solvers.assistant import AssistantSolver

    check_course(environment)
    return AssistantSolver(environment, always_ask=True)


TASKS = (
    Task(
        "course/uncovered",
        "uncovered questions to the model with the passages nearest to them, whatever the search thinks of these",
        _uncovered,
        _assistant,
        lambda _: (abstention.declined,),
        abstention.DECLINED,
        quick=20,
        seconds=6,
    ),
)
