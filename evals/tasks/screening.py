"""The rules for questions alone, which cost milliseconds: do they keep out of the way, and what do they stop?"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evals.scorers import screening
from evals.sets import data_folder, harmful, harmless, notinject, xstest
from evals.task import Metric, Sample, Solver, Task
from evals.tasks import course

if TYPE_CHECKING:
    from evals.environment import Environment

_ATTACKS = frozenset({"injection", "jailbreak", "system-prompt"})  # kinds of adversarial cases that a rule should block
_FOLDERS = ("jailbreakbench", "advbench", "harmbench")


def harmless_questions(data: Path | None = None) -> Iterator[Sample]:
    """Our own that sound dangerous."""
    return harmless.read()


def of_the_course(data: Path | None = None) -> Iterator[Sample]:
    """Every single question and every turn of the conversations, all of them harmless."""
    for sample in (*course.questions(), *course.turns()):
        yield replace(sample, target={"harmful": 0, "kind": "turn" if "earlier" in sample.input else "question"})


def adversarial(data: Path | None = None) -> Iterator[Sample]:
    """Cases of three kinds are attacks, those with an answer are harmless; rules have no business with the others."""
    for sample in course.adversarial():
        kind = sample.target["kind"]
        label = 1 if kind in _ATTACKS else 0 if sample.target["answerable"] else None
        yield replace(sample, target={"harmful": label, "kind": kind})


def jailbreaks(data: Path | None) -> Iterator[Sample]:
    """The plain harmful requests of three folders."""
    readers = (harmful.read_jailbreakbench, harmful.read_advbench, harmful.read_harmbench)
    for folder, read in zip(_FOLDERS, readers, strict=True):
        yield from read(data_folder(data, folder))


def _solver(environment: "Environment") -> Solver:
    from evals.solvers.screen import ScreenSolver

    return ScreenSolver(environment)


def _task(
    name: str,
    about: str,
    samples: Callable[[Path | None], Iterable[Sample]],
    metrics: tuple[Metric, ...],
    data: tuple[str, ...] = (),
    source: str = "written for Lectern, Apache-2.0",
    quick: int = 0,
) -> Task:
    return Task(
        name=f"screen/{name}",
        about=about,
        samples=samples,
        solver=_solver,
        scorers=lambda _: [screening.screening],
        metrics=(*metrics, *screening.OF_ALL),
        data=data,
        source=source,
        quick=quick,
        seconds=0.05,
    )


TASKS = (
    _task(
        "harmless",
        "students' questions that sound dangerous, past the rules for questions",
        harmless_questions,
        screening.HARMLESS,
        quick=150,
    ),
    _task(
        "course",
        "every question about the starter course, past the rules for questions",
        of_the_course,
        screening.HARMLESS,
        quick=150,
    ),
    _task(
        "adversarial",
        "questions that tempt the assistant, past the rules for questions",
        adversarial,
        (*screening.HARMFUL, *screening.HARMLESS),
        quick=60,
    ),
    _task(
        "xstest",
        "safe questions that sound dangerous, and unsafe ones, past the rules for questions",
        lambda data: xstest.read(data_folder(data, "xstest")),
        (*screening.HARMLESS, *screening.HARMFUL),
        ("xstest",),
        "XSTest v2 (CC BY 4.0): 250 safe, 200 unsafe, halved by the hash of the word in focus",
    ),
    _task(
        "notinject",
        "harmless prompts with words that injections like to use, past the rules for questions",
        lambda data: notinject.read(data_folder(data, "notinject")),
        screening.HARMLESS,
        ("notinject",),
        "NotInject (MIT), 339 prompts, and WildGuard's benign ones (ODC-BY), 971, halved by the hash of the prompt",
    ),
    _task(
        "jailbreaks",
        "harmful requests, plainly put, past the rules for questions, which are not made against these",
        jailbreaks,
        screening.HARMFUL,
        _FOLDERS,
        "JailbreakBench 100, StrongREJECT 313, MaliciousInstruct 100, AdvBench 520, HarmBench 400 (MIT), halved by the hash",
    ),
)
