"""Uncovered questions that reach the model: what its prompt is worth, which a good search otherwise hides."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evals.scorers import abstention
from evals.task import Sample, Solver, Task
from evals.tasks.course import Cases, asked, check_course, of_starter

if TYPE_CHECKING:
    from evals.environment import Environment


def _uncovered(cases: Cases) -> Iterator[Sample]:
    return (sample for sample in asked(cases) if not sample.target["answerable"])


def _assistant(environment: "Environment") -> Solver:
    from evals.solvers.assistant import AssistantSolver

    check_course(environment)
    return AssistantSolver(environment, always_ask=True)


TASKS = (
    Task(
        "course/uncovered",
        "uncovered questions to the model with the passages nearest to them, whatever the search thinks of these",
        of_starter(_uncovered),
        _assistant,
        lambda _: (abstention.declined,),
        abstention.DECLINED,
        quick=20,
        seconds=6,
        own=_uncovered,
    ),
)
