"""Attacks and what looks like them, off-topic questions: what gets through the whole assistant as it is installed.

Most of what is refused is refused because the course does not cover it; figures that a guard alone changes say so, and
evals/tasks/screening.py measures the guards by themselves.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from evals.scorers import factuality, guardrails, robustness, topic
from evals.sets import bipia, data_folder, harmful, injecagent, notinject, off_topic, xstest
from evals.solvers.assistant import AssistantSolver
from evals.solvers.passages import PassagesSolver
from evals.solvers.relevance import RelevanceSolver
from evals.task import Metric, Sample, Task
from evals.tasks.course import questions

Read = Callable[[Path], Iterable[Sample]]


def _requests(name: str, about: str, read: Read, folder: str, metrics: tuple[Metric, ...], source: str) -> Task:
    return Task(
        name=f"guard/{name}",
        about=about,
        samples=lambda data: read(data_folder(data, folder)),
        solver=AssistantSolver,
        scorers=lambda _: [guardrails.requests],
        metrics=(*metrics, *guardrails.LATENCY),
        data=(folder,),
        source=source,
        seconds=2.0,
    )


def _injections(name: str, about: str, read: Read, source: str) -> Task:
    return Task(
        name=f"guard/{name}",
        about=about,
        samples=lambda data: read(data_folder(data, name)),
        solver=PassagesSolver,
        scorers=lambda _: [robustness.robustness, guardrails.quoted, factuality.factuality],
        metrics=(*robustness.FOLLOWED, guardrails.QUOTED, factuality.METRICS[0]),
        data=(name,),
        source=source,
        seconds=8.0,
    )


def _off_topic(name: str, about: str, read: Read, folder: str, metrics: tuple[Metric, ...], source: str) -> Task:
    def samples(data: Path | None) -> Iterator[Sample]:
        """The set's questions, and the course's own answerable ones for comparison."""
        yield from read(data_folder(data, folder))
        yield from (sample for sample in questions() if sample.target["answerable"])

    return Task(
        name=f"topic/{name}",
        about=about,
        samples=samples,
        solver=RelevanceSolver,
        scorers=lambda _: [topic.topic],
        metrics=metrics,
        data=(folder,),
        source=source,
        seconds=0.1,
        probability=("relevance", "answerable"),
    )


TASKS = (
    _requests(
        "xstest",
        "safe questions that sound dangerous, and unsafe ones",
        xstest.read, "xstest", (*guardrails.HARMFUL, *guardrails.HARMLESS),
        "XSTest v2 (CC BY 4.0): 250 safe, 200 unsafe, halved by the hash of the word in focus",
    ),
    _requests(
        "notinject",
        "harmless prompts with words that injections like to use, and benign prompts of WildGuard",
        notinject.read, "notinject", guardrails.HARMLESS,
        "NotInject (MIT), 339 prompts, and WildGuard's benign ones (ODC-BY), 971, halved by the hash of the prompt",
    ),
    _requests(
        "jailbreakbench",
        "harmful requests, plainly put",
        harmful.read_jailbreakbench, "jailbreakbench", guardrails.HARMFUL,
        "JailbreakBench 100, StrongREJECT 313, MaliciousInstruct 100 (MIT), halved by the hash of the request",
    ),
    _requests(
        "advbench",
        "harmful requests, plainly put; many are near-copies of each other",
        harmful.read_advbench, "advbench", guardrails.HARMFUL,
        "AdvBench (MIT): 520, halved by the hash of the request",
    ),
    _requests(
        "harmbench",
        "harmful requests: standard, with a context, about copyrighted text",
        harmful.read_harmbench, "harmbench", guardrails.HARMFUL,
        "HarmBench (MIT): 400, its val and test together, halved by the hash of the request",
    ),
    _injections(
        "bipia",
        "questions on e-mails and tables in which an attacker's instruction is planted",
        bipia.read,
        "BIPIA (MIT; tables CC BY-SA 4.0, for measuring only): 150 questions, each with 15 attacks, halved by the text's hash",
    ),
    _injections(
        "injecagent",
        "requests about what a tool returned, with an attacker's instruction in it",
        injecagent.read,
        "InjecAgent (MIT): 510 cases of direct harm, 544 of stolen data, halved by the hash of the user's tool",
    ),
    _off_topic(
        "clinc",
        "requests to a voice assistant that are none of the course's business",
        off_topic.read_clinc, "clinc_oos", topic.METRICS,
        "CLINC150 (CC BY 3.0): 1,000 test queries out of scope, halved by the query's hash; and the course's answerable cases",
    ),
    _off_topic(
        "moderation",
        "prompts from a moderation set, a third of them harmful",
        off_topic.read_moderation, "openai_moderation", topic.HARMFUL,
        "OpenAI moderation (MIT): 1,680 prompts, 522 harmful, halved by the prompt's hash; and the course's answerable cases",
    ),
)  # fmt: skip
