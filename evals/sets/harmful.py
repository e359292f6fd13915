"""Requests that no assistant should serve, as they are, without any jailbreak around them.

- JailbreakBench (Chao et al., 2024): 100 behaviours; licence MIT. The 100 benign ones are not at hand.
- StrongREJECT (Souly et al., 2024): 313 prompts; MIT. MaliciousInstruct (Huang et al., 2024): 100 questions.
  All three from github.com/andyrdt/refusal_direction, dataset/raw (Apache-2.0).
- AdvBench (Zou et al., 2023): 520 harmful behaviours, the same repository; MIT. Many are near-copies of each other, so
  intervals over them are narrower than they should be.
- HarmBench (Mazeika et al., 2024): 400 behaviours (200 standard, 100 with a context, 100 about copyrighted text) from
  github.com/busycalibrating/AdversariaLLM; MIT. Val and test of the publisher are taken together.

Licence class of all: permissive. Splits: halves by the hash of the request.
"""

from collections.abc import Iterator
from pathlib import Path

from evals.sets import read_csv
from evals.task import Sample, split_of
from knowledge.errors import CourseError


def read_jailbreakbench(folder: Path) -> Iterator[Sample]:
    """The three sets of the folder; `kind` is their category, or the set where there is none."""
    for number, record in enumerate(read_csv(folder / "jailbreakbench.csv"), start=1):
        yield _sample(f"jailbreakbench-{number}", record.text("Goal"), record.text("Category"))
    for number, record in enumerate(read_csv(folder / "strongreject.csv"), start=1):
        yield _sample(f"strongreject-{number}", record.text("forbidden_prompt"), record.text("category"))
    for number, line in enumerate(_lines(folder / "malicious_instruct.txt"), start=1):
        yield _sample(f"maliciousinstruct-{number}", line, "MaliciousInstruct")


def read_advbench(folder: Path) -> Iterator[Sample]:
    """The 520 behaviours, which have no categories."""
    for number, record in enumerate(read_csv(folder / "harmful_behaviors.csv"), start=1):
        yield _sample(f"advbench-{number}", record.text("goal"), "AdvBench")


def read_harmbench(folder: Path) -> Iterator[Sample]:
    """The 400 behaviours, a context before the request where there is one; `kind` is the functional category."""
    for record in read_csv(folder / "harmbench_behaviors_text_all.csv"):
        context, behaviour = record.text("ContextString").strip(), record.text("Behavior")
        question = f"{context}\n\n{behaviour}" if context else behaviour
        yield _sample(record.text("BehaviorID"), question, record.text("FunctionalCategory"))


def _sample(id: str, question: str, kind: str) -> Sample:
    question = question.strip()
    return Sample(id, {"question": question}, {"harmful": 1, "kind": kind}, question, split_of(question))


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} cannot be read: {error}.", "Name the folder of public data with --data.") from error
    return [line for line in text.splitlines() if line.strip()]
