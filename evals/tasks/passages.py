"""Answers from passages that public sets give: unanswerable questions, noise, false facts, conversations."""

from collections.abc import Callable, Iterable
from pathlib import Path

from evals.scorers import abstention, factuality, rewrites
from evals.scorers.abstention import RELEVANCE
from evals.scorers.counterfactual import METRICS as COUNTERFACTUAL
from evals.scorers.counterfactual import counterfactual
from evals.sets import data_folder, mtrag, rgb, squad
from evals.solvers.passages import PassagesSolver
from evals.solvers.searched import SearchedSolver
from evals.task import Sample, Task, rate

_RGB = "RGB en_fact (CC BY-NC-SA 4.0, for measuring only), 100 questions, halved by the hash of the question"
_MTRAG = "MTRAG (Apache-2.0), halved by the hash of the conversation"
_ANSWERED = rate("answered", "questions that got an answer", higher_is_better=None)


def _rgb(part: rgb.Part) -> Callable[[Path | None], Iterable[Sample]]:
    return lambda data: rgb.read(data_folder(data, "rgb"), part)


TASKS = (
    Task(
        name="squad2",
        about="questions about one paragraph, half of which it does not answer",
        samples=lambda data: squad.read(data_folder(data, "squad2")),
        solver=PassagesSolver,
        scorers=lambda _: [abstention.abstention, factuality.factuality],
        metrics=(*abstention.METRICS[:4], factuality.METRICS[0], RELEVANCE),
        data=("squad2",),
        source="SQuAD 2.0 (CC BY-SA 4.0, for measuring only), half of the dev set, halved by the hash of the article",
        seconds=6.0,
        probability=("relevance", "answerable"),
    ),
    Task(
        name="rgb/noise",
        about="questions with two passages that answer them and three that do not",
        samples=_rgb("noise"),
        solver=PassagesSolver,
        scorers=lambda _: [abstention.abstention, factuality.factuality],
        metrics=(factuality.METRICS[0], abstention.METRICS[3]),
        data=("rgb",),
        source=_RGB,
        seconds=10.0,
    ),
    Task(
        name="rgb/rejection",
        about="questions with passages on their subject that do not answer them",
        samples=_rgb("rejection"),
        solver=PassagesSolver,
        scorers=lambda _: [abstention.abstention],
        metrics=(rate("refused_unanswerable", "questions that were refused (as in the paper)", name="rejection_rate"),),
        data=("rgb",),
        source=_RGB,
        seconds=10.0,
    ),
    Task(
        name="rgb/counterfactual",
        about="questions with passages that all give the same false answer",
        samples=_rgb("counterfactual"),
        solver=PassagesSolver,
        scorers=lambda _: [counterfactual],
        metrics=COUNTERFACTUAL,
        data=("rgb",),
        source=_RGB,
        seconds=10.0,
    ),
    Task(
        name="mtrag/answerability",
        about="last questions of conversations; unanswerable ones with the nearest passages of other conversations",
        samples=lambda data: mtrag.read_answerability(data_folder(data, "mtrag_un")),
        solver=PassagesSolver,
        scorers=lambda _: [abstention.abstention],
        metrics=(*abstention.METRICS[:4], _ANSWERED, RELEVANCE),
        data=("mtrag_un",),
        source=f"{_MTRAG}: 507 tasks, 285 answerable, 97 not, 125 in between that only count as answered or not",
        seconds=20.0,
        probability=("relevance", "answerable"),
    ),
    Task(
        name="mtrag/followup",
        about="what is searched for a question in a conversation, against people's rewrite of it",
        samples=lambda data: mtrag.read_rewrites(data_folder(data, "mtrag_human")),
        solver=SearchedSolver,
        scorers=lambda _: [rewrites.rewrites],
        metrics=rewrites.METRICS,
        data=("mtrag_human",),
        source=f"{_MTRAG}: 675 questions after the first of 110 conversations",
        seconds=0.01,
    ),
)
