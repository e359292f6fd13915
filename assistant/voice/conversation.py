"""A spoken conversation: an utterance becomes words, the words a question, its checked sentences speech.

Knows neither page nor terminal: a Scene shows, answers and plays. Every step can be interrupted.
"""

import asyncio
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.events import Done, TurnEvent
from assistant.settings import Settings, VoiceSettings
from assistant.voice.ahead import Ahead
from assistant.voice.kept import keep, sounds
from assistant.voice.mouth import Mouth
from assistant.voice.recognise import HEARD_RATE, Heard, Recogniser, Samples
from assistant.voice.scene import Latency, Scene
from assistant.voice.speech import Speech, Voice
from assistant.voice.turns import (
    Detector,
    Interjection,
    Listener,
    Pause,
    SpeechDetector,
    Started,
    Turns,
    Utterance,
    interrupts,
    is_stop,
)
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from knowledge.index import CourseIndex

NOTHING_HEARD = "I did not hear anything."
SAY_AGAIN = "Please say it again."
_YES = re.compile(r"\W*(?:yes|yeah|yep|right|correct|exactly|that's right|yes,? it is|yes,? please)\W*", re.IGNORECASE)
_NO = re.compile(r"\W*(?:no|nope|wrong|no,? it is not|no,? it isn't|that's wrong)\W*", re.IGNORECASE)


def open_conversation(scene: Scene, settings: Settings, index: "CourseIndex") -> "Conversation":
    """A conversation with the engines of the settings; loading them takes seconds the first time, so call it in a thread.

    Raises:
        CourseError: packages or weights are missing.
    """
    from assistant.voice.listening import course_recogniser
    from assistant.voice.speaking import voice

    speaker = voice(settings.voice)
    speaker.warm()  # it loads in its process, while this one loads what hears
    parts = course_recogniser(settings.voice, index), speaker, settings.voice, SpeechDetector()
    folder = sounds(settings.data_dir) if settings.voice.keep_audio else None
    return Conversation(scene, *parts, keep_in=folder)


class Conversation:
    """One speaker's conversation with the course.

    All methods belong to one event loop; calls of `press`, `hear` and `release` follow one another.

    Args:
        scene: where it takes place.
        ears, voice: hear and speak, in threads.
        settings: confidence, pause and length.
        detector: a fresh one.
        keep_in: folder for what is said; None keeps nothing.
    """

    def __init__(
        self,
        scene: Scene,
        ears: Recogniser,
        voice: Voice,
        settings: VoiceSettings,
        detector: Detector,
        *,
        keep_in: Path | None = None,
    ) -> None:
        self.latency: Latency | None = None
        """Of the turn under way or the last one."""
        self._scene, self._ears, self._voice, self._settings = scene, ears, voice, settings
        self._detector, self._keep_in = detector, keep_in
        self._ahead = Ahead(ears.hear)
        self._mouth: Mouth | None = None
        self._work: asyncio.Task[None] | None = None
        self._doubtful: tuple[str, Samples] | None = None
        self._listen(hands_free=False)

    @property
    def busy(self) -> bool:
        """Whether a turn is under way, from its transcription to its last sound."""
        return self._work is not None and not self._work.done()

    async def press(self, hands_free: bool) -> None:
        """Begin to listen; whoever presses wants to speak, so all else ends.

        Args:
            hands_free: whether a pause ends an utterance and speech may interrupt; else only `release` ends it.
        """
        self._voice.warm()  # its process may have ended meanwhile
        await self.stop()
        self._listen(hands_free)
        self._open = True
        await self._scene.show("listening", None)

    async def hear(self, samples: Samples) -> bool:
        """Take what the microphone heard.

        Returns:
            Whether the utterance was cut off because it has become too long.
        """
        self._listener.turns.spoken_to = self._mouth is not None and self._mouth.speaking
        cut = False
        for signal in await asyncio.to_thread(self._listener.feed, samples):
            match signal:
                case Started() if not self.busy:
                    await self._scene.show("listening", None)
                case Pause(samples=said):
                    self._ahead.begin(said)
                case Interjection(samples=said):
                    await self._interjected(said)
                case Utterance():
                    cut = signal.cut
                    self._open = self._hands_free
                    await self._ended(signal)
        return cut

    async def release(self) -> None:
        """End listening: answer what was said, if anything; in a hands-free conversation, stop what is under way."""
        if not self._open:
            return
        self._open = False
        utterance = self._listener.turns.release()
        if len(utterance.samples) or not self._hands_free:
            await self._ended(utterance)
        else:
            await self.stop()
            if not self.busy:
                await self._scene.show("idle", None)

    async def say(self, samples: Samples) -> None:
        """Answer a recorded utterance and wait for the end."""
        self._begin(Utterance(samples))
        await self.finished()

    async def finished(self) -> None:
        """Wait for the end of the turn under way."""
        if self._work:
            await asyncio.wait({self._work})

    async def stop(self) -> None:
        """Be silent at once and write no more of the answer; what was shown stays."""
        if self._mouth:
            self._mouth.hush()
        self._scene.stop()
        await self._scene.silence()

    async def close(self) -> None:
        """End the conversation: what was said is dropped, what is under way comes to its end by itself, and silently."""
        self._listen(hands_free=False)
        await self.stop()

    def _listen(self, hands_free: bool) -> None:
        self._hands_free, self._open = hands_free, False
        self._ahead.forget()
        turns = Turns(hands_free, self._settings.pause_ms, self._settings.longest_s)
        self._listener = Listener(self._detector, turns)

    async def _interjected(self, samples: Samples) -> None:
        heard = await asyncio.to_thread(self._ears.hear, samples, "")  # without hints: "stop" is no term, and hints take time
        if self._mouth and self._wants_to_speak(heard, self._mouth.audible(len(samples) / HEARD_RATE)):
            await self.stop()

    async def _ended(self, utterance: Utterance) -> None:
        heard, spoken = None, ""
        if not self._hands_free:
            await self.stop()
            await self.finished()
        elif self._mouth:
            spoken = self._mouth.audible((len(utterance.samples) / HEARD_RATE) + utterance.silence_ms / 1000)
        if self.busy or spoken:
            heard = await self._ahead.heard(utterance.samples)
            if not self._wants_to_speak(heard, spoken):
                return
            await self.stop()
            await self.finished()
        self._begin(utterance, heard)

    def _wants_to_speak(self, heard: Heard, spoken: str) -> bool:
        sure = heard.confidence >= self._settings.sure or is_stop(heard.text)
        return sure and interrupts(heard.text, spoken)

    def _begin(self, utterance: Utterance, heard: Heard | None = None) -> None:
        self.latency = Latency(time.perf_counter() - utterance.silence_ms / 1000)
        self.latency.mark("end_of_turn_ms")
        self._work = asyncio.create_task(self._turn(utterance.samples, heard, self.latency))

    async def _turn(self, samples: Samples, heard: Heard | None, latency: Latency) -> None:
        async def play(speech: Speech, track: str) -> None:
            await self._scene.play(speech, track)
            latency.mark("first_sound_ms")
            await self._scene.show("speaking", latency)

        mouth = self._mouth = Mouth(self._voice, play, latency)
        try:
            await self._scene.show("thinking", latency)
            heard = heard or await self._ahead.heard(samples)
            latency.mark("transcript_ms")
            if not mouth.hushed.is_set():
                await self._respond(heard, samples, mouth)
            await mouth.finish(self._scene.real_time)
        except CourseError as error:
            await self._scene.fail(error)
        except Exception:
            await self._scene.fail(CourseError("Something went wrong. This is a fault in Lectern.", "The terminal shows it."))
            raise
        finally:
            mouth.hush()
            await self._scene.show("listening" if self._hands_free and self._open else "idle", latency)

    async def _respond(self, heard: Heard, samples: Samples, mouth: Mouth) -> None:
        text, doubtful = heard.text.strip(), self._doubtful
        if not text:
            if not self._hands_free:
                await self._remark(mouth, NOTHING_HEARD)
            return
        self._doubtful = None
        if is_stop(text):
            return
        if doubtful and _YES.fullmatch(text):
            await self._answer(*doubtful, mouth)
        elif doubtful and _NO.fullmatch(text):
            await self._remark(mouth, SAY_AGAIN)
        else:
            await self._scene.transcribed(text)
            if mouth.hushed.is_set():
                return
            if heard.confidence < self._settings.sure:
                self._doubtful = text, samples
                await self._remark(mouth, f"I heard: {text.rstrip('.?!')}. Is that right?")
            else:
                await self._answer(text, samples, mouth)

    async def _answer(self, text: str, samples: Samples, mouth: Mouth) -> None:
        turns: list[str] = []

        def take(event: TurnEvent) -> None:
            mouth.take(event)
            if isinstance(event, Done):
                turns.append(event.turn_id)

        await self._scene.answer(text, take)
        if self._keep_in and turns:
            await asyncio.to_thread(keep, self._keep_in, turns[0], samples)

    async def _remark(self, mouth: Mouth, text: str) -> None:
        mouth.say(text)
        await self._scene.remark(text)
