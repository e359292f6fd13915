"""The microphone of the page: Chainlit's audio events in, a Conversation, its sound out.

What Chainlit 2.12 does not say: its page records and plays 24,000 samples a second whatever is asked; chunks come in tasks of
their own, and the last ones after `audio_end`; an interrupted track is dropped for good; a press must be answered with True, or
the button spins for ever. public/lectern.js mends what can only be mended in the browser, and draws the state.
"""
# mypy: disable-error-code="untyped-decorator"

import asyncio
import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import chainlit as cl
from chainlit.config import config
from chainlit.context import init_ws_context
from chainlit.input_widget import Switch
from chainlit.server import sio
from chainlit.session import WebsocketSession

from assistant.events import TurnEvent
from assistant.web.ready import opened
from assistant.web.show import LiveMessage
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from assistant.voice.conversation import Conversation
    from assistant.voice.scene import Latency, State
    from assistant.voice.speech import Speech

HUSH_REQUEST = "lectern:hush"  # what public/lectern.js posts when "Stop" is pressed beside the state
INSTALLED = all(find_spec(package) for package in ("faster_whisper", "pyttsx3"))  # the extra `voice`

_KEY = "microphone"
_LATE_S = 0.05  # the last chunks may come after the end
_PIECE = 24_000  # samples: the player copies a whole chunk at once, in the thread that plays
_log = logging.getLogger(__name__)

config.features.audio.enabled = INSTALLED  # without the extra there is no button


class PageScene:
    """The page of one reader, as a conversation sees it."""

    real_time = True

    def __init__(self) -> None:
        self.message: cl.Message | None = None
        self.take: Callable[[TurnEvent], None] | None = None

    async def show(self, state: "State", latency: "Latency | None") -> None:
        """Draw the line above the input."""
        hands_free = bool(cl.user_session.get("hands_free"))
        await tell(state=state, handsFree=hands_free, latency=latency.as_json() if latency else None)

    async def transcribed(self, text: str) -> None:
        """The words appear as if they had been typed, so they can be corrected and sent again as typed ones can."""
        session = cl.context.session
        if not session.has_first_interaction:
            session.has_first_interaction = True
            await cl.context.emitter.init_thread(text)
        self.message = cl.Message(content=text, type="user_message", author="User")
        await self.message.send()

    async def answer(self, text: str, take: Callable[[TurnEvent], None]) -> None:
        """Pass the message on as Chainlit passes a typed one on."""
        self.take = take
        await cl.context.emitter.task_start()
        try:
            await config.code.on_message(self.message)
        finally:
            self.take = None
            await cl.context.emitter.task_end()

    async def remark(self, text: str) -> None:
        """A plain message."""
        await cl.Message(content=text, metadata={"phase": "remark"}).send()

    async def fail(self, error: CourseError) -> None:
        """A message that looks like every error."""
        message = LiveMessage("Evidence")
        await message.send()
        await message.fail(error.problem, error.remedy)

    async def play(self, speech: "Speech", track: str) -> None:
        """Hand a sentence to the page's player."""
        for start in range(0, len(speech.samples), _PIECE):
            data = speech.samples[start : start + _PIECE].astype("<i2").tobytes()
            await cl.context.emitter.send_audio_chunk(cl.OutputAudioChunk(mimeType="pcm16", data=data, track=track))

    async def silence(self) -> None:
        """Chainlit's player stops and forgets the track."""
        await cl.context.emitter.send_audio_interrupt()

    def stop(self) -> None:
        """Stop the answer to a spoken question."""
        if self.take and (stop := cl.user_session.get("stop")):
            stop.set()


class Microphone:
    """What one reader says, in order: presses, sound, releases. Chainlit's handlers only append; one task works it off."""

    def __init__(self) -> None:
        self.scene = PageScene()
        self.conversation: Conversation | None = None
        self._inbox: asyncio.Queue[tuple[Literal["press", "release"], bool] | bytes] = asyncio.Queue()
        self._listening = self._heard = False
        self._work = asyncio.create_task(self._run())

    def press(self, hands_free: bool) -> None:
        """Begin to listen."""
        self._listening, self._heard = True, False
        self._inbox.put_nowait(("press", hands_free))

    def take(self, pcm: bytes) -> None:
        """What was heard: 16 bit mono at 24,000 samples a second."""
        if self._listening:
            self._heard = True
            self._inbox.put_nowait(pcm)

    def release(self) -> None:
        """The button was let go, or the browser gave no microphone: then there is no sound, and lectern.js says why."""
        self._listening = False
        self._inbox.put_nowait(("release", self._heard))

    async def hush(self) -> None:
        """Silence, at once."""
        if self.conversation:
            await self.conversation.stop()

    async def close(self) -> None:
        """Drop what was said and end what is under way."""
        self._work.cancel()
        if self.conversation:
            await self.conversation.close()

    async def _run(self) -> None:
        try:
            await self._converse()
        except CourseError as error:
            await self._give_up(error)
        except Exception:
            await self._give_up(CourseError("Something went wrong. This is a fault in Lectern.", "The terminal shows it."))
            _log.exception("the microphone failed")
            raise

    async def _give_up(self, error: CourseError) -> None:
        cl.user_session.set(_KEY, None)  # the next press tries anew: the cause may be mended
        await cl.context.emitter.update_audio_connection("off")
        await tell(state="idle")
        await self.scene.fail(error)

    async def _converse(self) -> None:
        await tell(state="loading")
        runtime = await opened()
        from assistant.voice.audio import HeardStream
        from assistant.voice.conversation import open_conversation

        conversation = await asyncio.to_thread(open_conversation, self.scene, runtime.settings, runtime.index)
        self.conversation = conversation

        stream = HeardStream()
        while True:
            match await self._inbox.get():
                case ("press", hands_free):
                    stream = HeardStream()
                    await conversation.press(hands_free)
                case ("release", heard):
                    if heard:
                        await conversation.hear(stream.end())
                        await conversation.release()
                    else:
                        await tell(state="idle")
                case bytes(pcm):
                    if await conversation.hear(stream.feed(pcm)) and self._listening:
                        await self._time_is_up(runtime.settings.voice.longest_s)

    async def _time_is_up(self, longest_s: int) -> None:
        await cl.context.emitter.send_toast(f"That was {longest_s} seconds, the longest question that is listened to.", "info")
        if not cl.user_session.get("hands_free"):
            self._listening = False
            await cl.context.emitter.update_audio_connection("off")


async def tell(**facts: Any) -> None:
    """Tell public/lectern.js what there is to draw."""
    await cl.context.emitter.send_window_message({"lectern": "voice", **facts})


def hands_free_switch(hands_free: bool) -> list[Switch]:
    """The reader's own choice, where there is a microphone to choose for."""
    cl.user_session.set("hands_free", hands_free)
    label = "Hands-free: press the microphone once, then a pause ends each question"
    return [Switch(id="hands_free", label=label, initial=hands_free)] if INSTALLED else []


def aloud(message: cl.Message) -> Callable[[TurnEvent], None]:
    """What speaks the answer to a message, if that was spoken too."""
    microphone: Microphone | None = cl.user_session.get(_KEY)
    scene = microphone.scene if microphone else None
    return scene.take if scene and scene.take and scene.message is message else lambda event: None


async def hush() -> None:
    """Silence what is being spoken to this reader."""
    if microphone := cl.user_session.get(_KEY):
        await microphone.hush()


async def hang_up() -> None:
    """The connection is lost or the reader has left: what was said is dropped."""
    if microphone := cl.user_session.get(_KEY):
        cl.user_session.set(_KEY, None)
        await microphone.close()


@cl.on_audio_start
async def start() -> bool:
    """The microphone was pressed."""
    microphone: Microphone | None = cl.user_session.get(_KEY)
    if microphone is None:
        microphone = Microphone()
        cl.user_session.set(_KEY, microphone)
    await microphone.hush()
    microphone.press(bool(cl.user_session.get("hands_free")))
    return True


@cl.on_audio_chunk
async def hear(chunk: cl.InputAudioChunk) -> None:
    """Sound, in a task of its own."""
    if microphone := cl.user_session.get(_KEY):
        microphone.take(chunk.data)
    else:  # the connection was lost meanwhile, and the page's microphone is still open
        await cl.context.emitter.update_audio_connection("off")
        await tell(state="idle", problem="lost")


@sio.on("audio_end")
async def end(sid: str) -> None:
    """The microphone was pressed again.

    Takes the place of Chainlit's handler, which would draw a step of its own and end the task of our answer.
    """
    if session := WebsocketSession.get(sid):
        init_ws_context(session)
        await asyncio.sleep(_LATE_S)
        if microphone := cl.user_session.get(_KEY):
            microphone.release()
