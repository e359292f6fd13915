"""Speaks one answer: checked sentences in, sound out, in order and while the next sentences are being written."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from assistant.events import Evidence, TurnEvent
from assistant.voice.scene import Latency
from assistant.voice.speakable import SpokenAnswer
from assistant.voice.speech import Speech, Voice

_FEWEST_WORDS = 4  # of the first part of an answer that is synthesised: more than a second of sound
_MARK = re.compile(r"(?<=[,;:.!?…])\s+")
_ECHO_LAG_S = 1.5  # an echo comes late: the page's buffer, the room, the way back


class Mouth:
    """One answer on its way to the ear. Needs a running event loop.

    Args:
        voice: synthesises, in a thread.
        play: hands a sentence to whatever plays; the name of the answer's track goes with it.
        latency: where the first sentence and the first sounds are noted.
    """

    def __init__(self, voice: Voice, play: Callable[[Speech, str], Awaitable[None]], latency: Latency) -> None:
        self.track = uuid4().hex  # Chainlit's player drops an interrupted track for good
        self.hushed = asyncio.Event()
        self._voice, self._play, self._latency = voice, play, latency
        self._answer = SpokenAnswer()
        self._queue: asyncio.Queue[tuple[str, bool] | None] = asyncio.Queue()  # words, and whether they belong to the answer
        self._played: list[tuple[float, float, str]] = []
        self._work = asyncio.create_task(self._speak())

    def take(self, event: TurnEvent) -> None:
        """Speak what of an event is for the ear, after what came before; returns at once."""
        self.say(self._answer.words(event), not isinstance(event, Evidence))

    def say(self, words: str, answers: bool = True) -> None:
        """Speak words that are no event's.

        Args:
            words: what to say.
            answers: whether it is what the listener waits for, and no lead-in.
        """
        if words.strip() and not self.hushed.is_set():
            if answers:
                self._latency.mark("first_sentence_ms")
            self._queue.put_nowait((words, answers))

    def hush(self) -> None:
        """Say nothing more; what has been handed to the player, its owner silences."""
        self.hushed.set()
        self._queue.put_nowait(None)

    async def finish(self, until_heard: bool) -> None:
        """Wait until all has been handed over, or was hushed; raises what the voice raised.

        Args:
            until_heard: wait for the player's end too.
        """
        self._queue.put_nowait(None)
        await self._work
        left = self._until - time.perf_counter()
        if until_heard and left > 0 and not self.hushed.is_set():
            await asyncio.wait({asyncio.create_task(self.hushed.wait())}, timeout=left)

    @property
    def speaking(self) -> bool:
        """Whether it is audible, or its echo may be."""
        return bool(self._played) and not self.hushed.is_set() and time.perf_counter() < self._until + _ECHO_LAG_S

    def audible(self, seconds: float) -> str:
        """What could be heard during the last `seconds`, echo included."""
        since, now = time.perf_counter() - seconds - _ECHO_LAG_S, time.perf_counter()
        return " ".join(words for begin, end, words in self._played if end >= since and begin <= now)

    @property
    def _until(self) -> float:
        return self._played[-1][1] if self._played else 0.0

    async def _speak(self) -> None:
        begun = False
        while (waiting := await self._queue.get()) is not None:
            words, answers = waiting
            first, begun = answers and not begun, begun or answers
            for part in parts(words) if first else [words]:
                speech = await asyncio.to_thread(self._voice.say, part)
                if self.hushed.is_set():
                    return
                begin = max(time.perf_counter(), self._until)
                self._played.append((begin, begin + speech.seconds, speech.text))
                await self._play(speech, self.track)
                self._latency.mark("first_sound_ms")
                if answers:
                    self._latency.mark("answer_sound_ms", begin)


def parts(words: str) -> list[str]:
    """Cut the first sentence of an answer at its marks, so that its beginning sounds while the rest is synthesised.

    Each part is to have twice as many words as the one before: a voice that speaks twice as fast as it is heard keeps up.
    """
    found, waiting, fewest = list[str](), list[str](), _FEWEST_WORDS
    for clause in _MARK.split(words.strip()):
        waiting.append(clause)
        if len(" ".join(waiting).split()) >= fewest:
            found.append(" ".join(waiting))
            waiting, fewest = [], 2 * fewest
    if not waiting:
        return found
    rest = " ".join(waiting)
    return [*found, rest] if len(rest.split()) >= _FEWEST_WORDS or not found else [*found[:-1], f"{found[-1]} {rest}"]
