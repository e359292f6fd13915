"""How often does the assistant say what its passages do not? The 139 questions of RAGTruth-QA, each with three given passages.

ragtruth/answers are the assistant's own answers; ragtruth/published are answers that Qwen2.5-1.5B-Instruct gave to the same
questions, with published verdicts. The same judge scores both. All 139 count as test: of the judges only the threshold of
overlap, one number, was fitted to other models' answers to half of these questions.

A judge that works as the guard's check does (overlap) finds nothing in what the guard has shown: compare what was written, and
use another judge for what was shown.
"""

from collections.abc import Iterable
from pathlib import Path

from evals.scorers import groundedness
from evals.scorers.groundedness import Groundedness
from evals.scorers.published import ANSWER_RATE, METRICS, PublishedVerdict, answer_rate
from evals.sets import data_folder, ragtruth
from evals.solvers.passages import PassagesSolver
from evals.solvers.published import PublishedSolver
from evals.task import Sample, Task

_SOURCE = "RAGTruth-QA (MIT) by way of vectara/FaithJudge: 139 questions of its test split"


def _questions(data: Path | None) -> Iterable[Sample]:
    return ragtruth.questions(data_folder(data, "faithjudge"))


def _published(data: Path | None) -> Iterable[Sample]:
    return ragtruth.published(data_folder(data, "faithjudge"), data_folder(data, "faithjudge_qwen15b"))


TASKS = (
    Task(
        name="ragtruth/answers",
        about="how often the assistant's answers from given passages have a sentence that these do not support",
        samples=_questions,
        solver=PassagesSolver,
        scorers=lambda environment: [Groundedness(environment.judge), answer_rate],
        metrics=(*groundedness.METRICS, ANSWER_RATE),
        data=("faithjudge",),
        source=_SOURCE,
        seconds=25.0,
        judged=True,
    ),
    Task(
        name="ragtruth/published",
        about="the same for published answers of Qwen2.5-1.5B-Instruct, with the published verdicts (56 of 139 inconsistent)",
        samples=_published,
        solver=PublishedSolver,
        scorers=lambda environment: [PublishedVerdict(environment.judge), answer_rate],
        metrics=(*groundedness.METRICS, *METRICS, ANSWER_RATE),
        data=("faithjudge", "faithjudge_qwen15b"),
        source=f"{_SOURCE}; answers and verdicts of FaithJudge (o3-mini-high), no licence stated",
        seconds=0.05,
        judged=True,
    ),
)
