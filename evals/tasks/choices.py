"""What the bare model knows: multiple choice by log-likelihood, without course, chat template or generated text."""

from evals.scorers import choices
from evals.sets import data_folder, mmlu, truthfulqa
from evals.solvers.likelihood import LikelihoodSolver
from evals.task import Task, mean, rate

TASKS = (
    Task(
        name="truthfulqa",
        about="does the model find true answers likelier than popular errors",
        samples=lambda data: truthfulqa.read(data_folder(data, "truthfulqa")),
        solver=lambda environment: LikelihoodSolver(environment.settings),
        scorers=lambda _: [choices.truthfulqa],
        metrics=(
            rate("mc1", "questions whose one true answer is likelier than all false ones"),
            mean("mc2", "share of the true answers in the probability of all answers"),
            rate("binary", "questions whose best true answer is likelier than the best false one; chance is .5"),
        ),
        data=("truthfulqa",),
        source="TruthfulQA of 2025 (Apache-2.0), 790 questions, halved by the hash of the question",
        seconds=4.0,
    ),
    Task(
        name="mmlu/machine-learning",
        about="exam questions on machine learning with four options",
        samples=lambda data: mmlu.read(data_folder(data, "mmlu"), "machine_learning"),
        solver=lambda environment: LikelihoodSolver(environment.settings),
        scorers=lambda _: [choices.one_of],
        metrics=(
            rate("correct", "questions whose right letter is the likeliest of four; chance is .25", name="accuracy"),
            mean("confidence", "probability of the likeliest letter among the four", higher_is_better=None),
        ),
        data=("mmlu",),
        source="MMLU machine_learning (MIT), 105 test questions, halved by the hash of the question",
        seconds=2.0,
        probability=("confidence", "correct"),
    ),
)
