"""Does the model keep to its passages, whatever it is asked? What decides whether a tuned model takes the place of its base.

Every question goes to the model with the passages nearest to it, whatever the search thinks of these: where the search refuses,
base and tuned model do so alike, and the difference between them is not seen.
"""

from typing import TYPE_CHECKING

from evals.scorers import citation, groundedness
from evals.task import Solver, Task
from evals.tasks.course import asked, check_course, questions

if TYPE_CHECKING:
    from evals.environment import Environment


def _assistant(environment: "Environment") -> Solver:
    from evals.solvers.assistant import AssistantSolver

    check_course(environment)
    return AssistantSolver(environment, always_ask=True)


TASKS = (
    Task(
        "course/grounded",
        "single questions to the model in any case: does it keep to its passages, and decline where they have no answer",
        questions,
        _assistant,
        lambda environment: (
            groundedness.Grounded(environment.judge),
            citation.Citations(environment.judge, citation.course_documents(environment)),
        ),
        (groundedness.GROUNDED, *groundedness.DECLINES, *groundedness.METRICS[2:], *citation.METRICS[:2]),
        seconds=7,
        judged=True,
        own=asked,
    ),
)
