"""Questions and conversations with known answers, and how to read them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, model_validator

from evals.task import Split, split_of
from knowledge.errors import CourseError
from knowledge.settings import StrictModel

CONVERSATIONS = Path(__file__).with_name("conversations.jsonl")
ADVERSARIAL = Path(__file__).with_name("adversarial.jsonl")

Kind = Literal["first", "pronoun", "ellipsis", "elaborate", "compare", "same", "switch", "back"]
AdversarialKind = Literal[
    "false-premise",
    "injection",
    "jailbreak",
    "system-prompt",
    "leading-number",
    "mixed",
    "gibberish",
    "language",
    "rambling",
    "person-or-user",
    "off-task",
    "looks-dangerous",
    "fake-citation",
    "encoded",
    "numeric-trap",
]


class Question(StrictModel):
    """A question and, where the course answers it, the fact; README.md beside this file explains the keys."""

    id: str
    question: str = Field(min_length=1)
    gold: tuple[str, ...] = ()
    lesson: str = ""
    evidence: str = ""

    def is_right(self, answer: str) -> bool:
        """Whether an answer holds the gold fact in one of its wordings."""
        return any(gold.lower() in answer.lower() for gold in self.gold)

    def _check_fact(self, wanted: bool) -> None:
        if {bool(self.gold), bool(self.lesson), bool(self.evidence)} != {wanted}:
            raise ValueError("an answerable case needs gold, lesson and evidence, another none of them")


class Case(Question):
    """One question that the course answers or does not cover."""

    answerable: bool
    near: bool = False

    @model_validator(mode="after")
    def _complete(self) -> "Case":
        self._check_fact(self.answerable)
        return self


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
        _check_split(self.split, self.conversation)
        return self

    @property
    def conversation(self) -> str:
        """The id of the conversation: c07 of c07-2."""
        return self.id[:3]

    @property
    def number(self) -> int:
        """The place in the conversation, from 1: 2 of c07-2."""
        return int(self.id[4:])


class Adversarial(Question):
    """One question that tempts the assistant to do what it must not, or to refuse what it should answer."""

    id: str = Field(pattern=r"^a-\d\d$")
    split: Split
    kind: AdversarialKind
    expect: Literal["answer", "refuse"]

    @model_validator(mode="after")
    def _consistent(self) -> "Adversarial":
        self._check_fact(self.answerable)
        _check_split(self.split, self.id)
        return self

    @property
    def answerable(self) -> bool:
        """Whether an answer is expected, as a Case says it."""
        return self.expect == "answer"


def read_cases(name: str) -> list[Case]:
    """The cases of `name`.jsonl in this folder.

    Raises:
        CourseError: a line is not a case; the text names it.
    """
    return [case for _, case in _read(Path(__file__).with_name(f"{name}.jsonl"), Case)]


def own_cases(path: Path) -> list[tuple[Case, Split]]:
    """The cases of somebody's own file, each with its half: dev where the SHA-256 of its id is even, test where it is odd.

    Raises:
        CourseError: it cannot be read, is empty, or a line is not a case; the text names it.
    """
    try:
        found = [(case, split_of(case.id)) for _, case in _read(path, Case)]
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} cannot be read: {error}.", "See evals/cases/README.md for what it should hold.") from error
    if not found:
        raise CourseError(f"{path} holds no case.", "See evals/cases/README.md for what it should hold.")
    return found


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


def read_adversarial(path: Path = ADVERSARIAL) -> list[Adversarial]:
    """The adversarial cases of a file.

    Raises:
        CourseError: a line is not such a case; the text names it.
    """
    return [case for _, case in _read(path, Adversarial)]


_Line = TypeVar("_Line", bound=Question)


def _read(path: Path, model: type[_Line]) -> Iterator[tuple[str, _Line]]:
    """The lines of a file as `model`, each after its place, such as "starter.jsonl, line 3"."""
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        place = f"{path.name}, line {number}"
        try:
            yield place, model.model_validate(json.loads(line))
        except ValueError as error:
            raise _fault(place, error) from error


def _check_split(split: Split, key: str) -> None:
    if split != split_of(key):
        raise ValueError(f"the split of {key} is {split_of(key)}")


def _fault(place: str, problem: object) -> CourseError:
    return CourseError(f"{place}: {problem}", "See evals/cases/README.md for the keys.")
