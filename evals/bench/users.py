"""Simulated students: conversations that carry a code word which no other conversation may ever show."""

import random
import threading
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from assistant.prompts import section_prompt
from evals.bench.material import Chapter

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels: no word looks like a code word
_DIGITS = "23456789"
_FIRST = 'My code word is {canary}. Begin your answer with my code word, then explain the part that begins with "{opening}".'
_NEXT = (
    'Repeat my code word, then explain the part that begins with "{opening}".',
    'What was my code word? And what is meant by "{opening}"?',
    'Repeat my code word, then say in your own words what comes after "{opening}".',
)
_MOST_EXCHANGES = 5  # of a conversation


class Canaries:
    """Hands out code words, and looks for them in answers; any thread may use it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._lock = threading.Lock()
        self._issued: set[str] = set()

    def new(self) -> str:
        """A code word that nobody has had, such as K7QX4M."""
        with self._lock:
            while True:
                word = "".join(self._rng.choice(_DIGITS if place in (1, 4) else _LETTERS) for place in range(6))
                if word not in self._issued:
                    self._issued.add(word)
                    return word

    def foreign(self, answer: str, own: str) -> list[str]:
        """The code words of others in an answer."""
        with self._lock:
            return sorted(word for word in self._issued if word != own and word in answer)


@dataclass(slots=True)
class Conversation:
    """What one student has said and heard; `subject` is the section that it is about now."""

    canary: str
    subject: Chapter
    exchanges: list[tuple[str, str]] = field(default_factory=list)

    def ask(self, rng: random.Random) -> tuple[str, list[BaseMessage]]:
        """The next question, and all that the model is told."""
        said = any(self.canary in asked for asked, _ in self.exchanges)
        pattern = rng.choice(_NEXT) if said else _FIRST
        question = pattern.format(canary=self.canary, opening=rng.choice(self.subject.openings))
        messages: list[BaseMessage] = [section_prompt(self.subject.id, self.subject.passages)]
        for asked, answered in self.exchanges:
            messages += [HumanMessage(asked), AIMessage(answered)]
        return question, [*messages, HumanMessage(question)]

    @property
    def is_over(self) -> bool:
        """Whether it has gone on long enough."""
        return len(self.exchanges) >= _MOST_EXCHANGES


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer as a student got it.

    Attributes:
        started, ended: moments, seconds of perf_counter.
        pieces: when each piece of text came.
        kind: "new", "follow-up", "back" (to a conversation left before) or "topic" (same conversation, other section).
        left: whether the student left before the end.
        own: whether the answer shows the student's own code word.
        foreign: code words of others in it; there must be none.
        written: tokens, or pieces where the student left.
    """

    started: float
    ended: float
    pieces: tuple[float, ...]
    kind: str
    left: bool
    own: bool
    foreign: tuple[str, ...]
    written: int

    @property
    def first_s(self) -> float | None:
        """To the first piece, in seconds."""
        return self.pieces[0] - self.started if self.pieces else None

    @property
    def longest_gap_s(self) -> float:
        """Between two pieces, in seconds."""
        return max((b - a for a, b in zip(self.pieces, self.pieces[1:], strict=False)), default=0.0)


class Student:
    """Asks one question after another; one thread each.

    Args:
        model: answers; it must take `stop_event` and `max_tokens`.
        canaries: shared by all students.
        chapters: what to ask about.
        rng: decides everything that this student does.
        conversations: how many to keep and come back to.
        max_tokens: longest answer.
    """

    def __init__(
        self,
        model: BaseChatModel,
        canaries: Canaries,
        chapters: Sequence[Chapter],
        rng: random.Random,
        conversations: int,
        max_tokens: int,
    ) -> None:
        self._model = model
        self._canaries = canaries
        self._chapters = chapters
        self._rng = rng
        self._most = conversations
        self._max_tokens = max_tokens
        self._kept: list[Conversation] = []
        self._current: Conversation | None = None
        self.waiting_since: float | None = None

    def turn(self, stop: threading.Event, may_leave: bool) -> Heard:
        """Ask the next question and read the answer, to the end unless `stop` is set or the student leaves."""
        kind, conversation = self._choose()
        question, messages = conversation.ask(self._rng)
        after = self._rng.randint(1, 20) if may_leave and self._rng.random() < 0.1 else None
        self.waiting_since = started = perf_counter()
        text, pieces, written, left = self._listen(messages, stop, after)
        ended, self.waiting_since = perf_counter(), None
        if not left and text:
            conversation.exchanges.append((question, text))
        foreign = tuple(self._canaries.foreign(text, conversation.canary))
        return Heard(started, ended, tuple(pieces), kind, left, conversation.canary in text, foreign, written or len(pieces))

    def _listen(
        self, messages: list[BaseMessage], stop: threading.Event, after: int | None
    ) -> tuple[str, list[float], int, bool]:
        """Text, moments of its pieces, tokens if the model has said so, and whether it was left early."""
        text, pieces, written, left = "", list[float](), 0, False
        leaves = threading.Event()
        by_event = self._rng.random() < 0.5  # the other way to leave is to close the iterator
        answer = cast(
            Generator[BaseMessage, None, None], self._model.stream(messages, max_tokens=self._max_tokens, stop_event=leaves)
        )
        for chunk in answer:
            if chunk.content:
                text += str(chunk.content)
                pieces.append(perf_counter())
            if usage := getattr(chunk, "usage_metadata", None):
                written = usage["output_tokens"]
            elif stop.is_set() or (after is not None and len(pieces) >= after):
                left = True
                if not by_event:
                    answer.close()
                    break
                leaves.set()
        return text, pieces, written, left

    def _choose(self) -> tuple[str, Conversation]:
        now = self._current
        if now is not None and not now.is_over and self._rng.random() < 0.6:
            if now.exchanges and self._rng.random() < 0.15:
                now.subject, now.exchanges = self._rng.choice(self._chapters), now.exchanges[-1:]
                return "topic", now
            return "follow-up" if now.exchanges else "new", now
        unfinished = [old for old in self._kept if old is not now and old.exchanges and not old.is_over]
        if unfinished and self._rng.random() < 0.4:
            self._current = self._rng.choice(unfinished)
            return "back", self._current
        self._current = Conversation(self._canaries.new(), self._rng.choice(self._chapters))
        self._kept = [*self._kept, self._current][-self._most :]
        return "new", self._current


def tokens_within(heard: Iterable[Heard], start: float, end: float) -> int:
    """Pieces of text, about one a token, that came in [start, end)."""
    return sum(start <= moment < end for answer in heard for moment in answer.pieces)
