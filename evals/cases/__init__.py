"""Questions and conversations with known answers, and how to read them."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, model_validator

from knowledge.errors import CourseError
from knowledge.settings import StrictModel

CONVERSATIONS = Path(__file__).with_name("conversations.jsonl")

Kind = Literal["first", "pronoun", "ellipsis", "elaborate", "compare", "same", "switch", "back"]
Split = Literal["dev", "test"]


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


class Turn(Case):
    """One question of a conversation, with the question that it means when it stands alone."""

    id: str = Field(pattern=r"^c\d\d-[1-9]$")
    split: Split
    kind: Kind
    standalone: str

    @model_validator(mode="after")
    def _consistent(self) -> "Turn":
        if (self.kind == "first") != (self.number == 1):
            raise ValueError("turn 1 is of kind first, and no other turn is")
        if self.kind in ("first", "same") and self.standalone != self.question:
            raise ValueError(f"a turn of kind {self.kind} stands alone: standalone must equal the question")
        if self.kind in ("pronoun", "ellipsis", "elaborate", "compare") and self.standalone == self.question:
            raise ValueError(f"a turn of kind {self.kind} needs what was said before: standalone must say it")
        if self.split != split_of(self.conversation):
            raise ValueError(f"the split of {self.conversation} is {split_of(self.conversation)}")
        return self

    @property
    def conversation(self) -> str:
        """The id of the conversation: c07 of c07-2."""
        return self.id[:3]

    @property
    def number(self) -> int:
        """The place in the conversation, from 1: 2 of c07-2."""
        return int(self.id[4:])


def split_of(conversation: str) -> Split:
    """The half that a conversation belongs to: dev where the SHA-256 of its id is even, test where it is odd."""
    return "test" if sha256(conversation.encode()).digest()[-1] % 2 else "dev"


def read_cases(name: str) -> list[Case]:
    """The cases of `name`.jsonl in this folder.

    Raises:
        CourseError: a line is not a case; the text names it.
    """
    return [case for _, case in _read(Path(__file__).with_name(f"{name}.jsonl"), Case)]


def read_conversations(path: Path = CONVERSATIONS) -> list[tuple[Turn, ...]]:
    """The conversations of a file, in its order, each with its turns in order.

    Raises:
        CourseError: a line is not a turn, or does not follow the one before it; the text names it.
    """
    conversations: list[list[Turn]] = []
    seen: set[str] = set()
    for place, turn in _read(path, Turn):
        if turn.number == 1 and turn.conversation not in seen:
            conversations.append([turn])
            seen.add(turn.conversation)
        elif conversations and conversations[-1][-1].id == f"{turn.conversation}-{turn.number - 1}":
            conversations[-1].append(turn)
        else:
            raise _fault(place, f"{turn.id} is out of order: a conversation's turns stand together, from 1 on")
    return [tuple(turns) for turns in conversations]


_Line = TypeVar("_Line", bound=Case)


def _read(path: Path, model: type[_Line]) -> Iterator[tuple[str, _Line]]:
    """The lines of a file as `model`, each after its place, such as "starter.jsonl, line 3"."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        place = f"{path.name}, line {number}"
        try:
            yield place, model.model_validate(json.loads(line))
        except ValueError as error:
            raise _fault(place, error) from error


def _fault(place: str, problem: object) -> CourseError:
    return CourseError(f"{place}: {problem}", "See evals/cases/README.md for the keys.")
