"""Where a spoken conversation takes place, as the conversation sees it: the page, a terminal, a test."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from assistant.events import TurnEvent
from assistant.voice.speech import Speech
from knowledge.errors import CourseError

State = Literal["idle", "listening", "thinking", "speaking"]


@dataclass(slots=True)
class Latency:
    """How long each stage took, in milliseconds from the end of speech; None for what has not come.

    Attributes:
        speech_ended: when the last word was over, by time.perf_counter().
        end_of_turn_ms: until it was clear that the speaker had finished.
        first_sound_ms: until the first sound had been handed to the player; it may say only where the answer is looked for.
        first_sentence_ms: until the first checked sentence (or refusal, or warning).
        answer_sound_ms: until its sound begins, behind what is sounding still.
    """

    speech_ended: float = field(default_factory=time.perf_counter)
    end_of_turn_ms: float | None = None
    transcript_ms: float | None = None
    first_sound_ms: float | None = None
    first_sentence_ms: float | None = None
    answer_sound_ms: float | None = None

    def mark(self, stage: str, at: float | None = None) -> None:
        """Stop the clock of a stage, the first time: now, or at another time by time.perf_counter()."""
        if getattr(self, stage) is None:
            moment = time.perf_counter() if at is None else at
            setattr(self, stage, round((moment - self.speech_ended) * 1000, 1))

    def as_json(self) -> dict[str, float | None]:
        """The stages without the clock's own time."""
        return {name: getattr(self, name) for name in self.__slots__ if name.endswith("_ms")}


class Scene(Protocol):
    """Where a conversation takes place."""

    real_time: bool
    """Whether what is played takes its time; a file does not."""

    async def show(self, state: State, latency: Latency | None) -> None:
        """Say who is at work."""
        ...

    async def transcribed(self, text: str) -> None:
        """Show what was understood."""
        ...

    async def answer(self, text: str, take: Callable[[TurnEvent], None]) -> None:
        """Answer the question as if it had been typed, and hand each event to `take` as well."""
        ...

    async def remark(self, text: str) -> None:
        """Show words of ours that are no answer."""
        ...

    async def fail(self, error: CourseError) -> None:
        """Show what went wrong."""
        ...

    async def play(self, speech: Speech, track: str) -> None:
        """Play a sentence after those before; returns when it has been handed over."""
        ...

    async def silence(self) -> None:
        """Be silent at once and drop what waits to be played."""
        ...

    def stop(self) -> None:
        """Stop the answer that is being written, if there is one."""
        ...
