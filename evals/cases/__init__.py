"""Questions with known answers, and how to read them."""

import json
from pathlib import Path

from pydantic import model_validator

from knowledge.errors import CourseError
from knowledge.settings import StrictModel


class Case(StrictModel):
    """One question; README.md beside this file explains the keys."""

    id: str
    question: str
    answerable: bool
    gold: tuple[str, ...] = ()
    lesson: str = ""
    evidence: str = ""
    near: bool = False

    @model_validator(mode="after")
    def _complete(self) -> "Case":
        if self.answerable != bool(self.gold and self.lesson and self.evidence):
            raise ValueError("an answerable case needs gold, lesson and evidence, another none of them")
        return self

    def is_right(self, answer: str) -> bool:
        """Whether an answer holds the gold fact in one of its wordings."""
        return any(gold.lower() in answer.lower() for gold in self.gold)


def read_cases(name: str) -> list[Case]:
    """The cases of `name`.jsonl in this folder.

    Raises:
        CourseError: a line is not a case; the text names it.
    """
    path = Path(__file__).with_name(f"{name}.jsonl")
    cases = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            cases.append(Case.model_validate(json.loads(line)))
        except ValueError as error:
            raise CourseError(f"{path.name}, line {number}: {error}", "See evals/cases/README.md for the keys.") from error
    return cases
