"""`lectern voice`: a spoken conversation in the terminal, or one spoken question from a file."""

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer
from rich.console import Console

from assistant.answer import Answer
from assistant.commands.ask import Model, open_course
from assistant.commands.show import show
from assistant.events import Exchange, Turn, TurnEvent
from knowledge.errors import CourseError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from assistant.runtime import Runtime
    from assistant.voice.conversation import Conversation
    from assistant.voice.recognise import Samples
    from assistant.voice.scene import Latency, State
    from assistant.voice.speech import Speech

_CHUNK = 3200  # bytes: a tenth of a second


def voice(
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Ask with this recording.", show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the spoken answer to --file as WAV.", show_default=False)
    ] = None,
    hands_free: Annotated[
        bool | None,
        typer.Option(
            "--hands-free/--press", help="Whether a pause ends a question, or Enter; else the setting voice.hands_free."
        ),
    ] = None,
    model: Model = None,
) -> None:
    """Talk with the course. Needs a microphone, or a recording; nothing leaves this machine.

    Press Enter and ask, press Enter again when you have asked. Enter silences an answer; Ctrl-C or Ctrl-D leaves. With
    --hands-free, a pause ends each question; wear headphones, since a terminal does not remove the loudspeaker's echo.

    Examples:
        lectern voice

        lectern voice --file question.wav --out answer.wav
    """
    if out and not file:
        raise CourseError("--out needs --file.", "For example: lectern voice --file question.wav --out answer.wav")
    from assistant.settings import load_settings
    from assistant.voice.audio import read_audio
    from assistant.voice.devices import player, recorder

    settings = load_settings().voice
    samples = read_audio(file, settings.longest_s) if file else None  # before anything heavy
    record, play = (None if file else recorder()), (None if out else player())
    course = open_course(model)
    course.read_ahead()
    scene = _TerminalScene(course, play)
    if samples is not None:
        asyncio.run(_ask(scene, samples))
    elif record:
        asyncio.run(_talk(scene, record, settings.hands_free if hands_free is None else hands_free))
    if out:
        _write(out, scene.spoken)
    if scene.failed:
        raise scene.failed


class _TerminalScene:
    """A terminal, as a conversation sees it.

    Args:
        course: what answers.
        play: a command; None collects what is spoken instead.
    """

    def __init__(self, course: "Runtime", play: list[str] | None) -> None:
        from assistant.voice.devices import Playing

        self.course, self.real_time = course, play is not None
        self.spoken: list[NDArray[np.int16]] = []
        self.failed: CourseError | None = None
        self._console = Console()
        self._playing = Playing(play) if play else None
        self._earlier: tuple[Exchange, ...] = ()
        self._conversation = uuid4().hex
        self._turn: Turn | None = None

    async def show(self, state: "State", latency: "Latency | None") -> None:
        if state == "listening":
            self._console.print("Listening.", style="dim")

    async def transcribed(self, text: str) -> None:
        self._console.print(f"\n[bold]>[/] {text}\n", highlight=False)

    async def answer(self, text: str, take: Callable[[TurnEvent], None]) -> None:
        turn = self._turn = Turn(text, self._conversation, self._earlier, consent=self.course.settings.finetune.conversations)
        answer, loop = Answer(turn), asyncio.get_running_loop()

        def told() -> None:
            def passed(event: TurnEvent) -> TurnEvent:
                answer.add(event)
                loop.call_soon_threadsafe(take, event)
                return event

            show(map(passed, self.course.stream(turn)), self._console)

        try:
            await asyncio.to_thread(told)
        finally:
            turn.stop.set()
        if answer.done and answer.done.exchange:
            self._earlier = (*self._earlier, answer.done.exchange)

    async def remark(self, text: str) -> None:
        self._console.print(text, style="yellow", markup=False)

    async def fail(self, error: CourseError) -> None:
        if self._playing is None:
            self.failed = error
        else:
            self._console.print(str(error), style="red", markup=False)

    async def play(self, speech: "Speech", track: str) -> None:
        if self._playing is None:
            self.spoken.append(speech.samples)
        else:
            await asyncio.to_thread(self._playing.play, speech.samples.astype("<i2").tobytes())

    async def silence(self) -> None:
        if self._playing:
            await asyncio.to_thread(self._playing.silence)

    def stop(self) -> None:
        if self._turn:
            self._turn.stop.set()


async def _ask(scene: _TerminalScene, samples: "Samples") -> None:
    conversation = await _open(scene)
    try:
        await conversation.say(samples)
    finally:
        await conversation.close()


async def _talk(scene: _TerminalScene, record: list[str], hands_free: bool) -> None:
    conversation, enters = await _open(scene), _enters()
    try:
        print("Press Enter and ask; Enter again when you have asked." if not hands_free else "Ask; Enter leaves.")
        while hands_free or await enters.get():
            await conversation.press(hands_free)
            entered = await _listen(conversation, record, enters)
            if hands_free and entered is None:
                await conversation.finished()
            if hands_free or entered is False:
                return
            await conversation.release()
            pressed = asyncio.create_task(enters.get())
            await asyncio.wait({pressed, asyncio.create_task(conversation.finished())}, return_when=asyncio.FIRST_COMPLETED)
            if pressed.done():
                await conversation.stop()
                await conversation.finished()
                if not pressed.result():
                    return
            pressed.cancel()
            print("\nEnter to ask on, Ctrl-D to leave.")
    finally:
        await conversation.close()


async def _listen(conversation: "Conversation", record: list[str], enters: asyncio.Queue[bool]) -> bool | None:
    """Until Enter (True), Ctrl-D (False), or the time is up or the recorder ends (None)."""
    import numpy as np

    from assistant.voice.devices import Recording

    chunks: asyncio.Queue[bytes] = asyncio.Queue()

    async def pump(recording: Recording) -> None:
        try:
            while pcm := await asyncio.to_thread(recording.read, _CHUNK):
                chunks.put_nowait(pcm)
        finally:
            chunks.put_nowait(b"")

    async def hear() -> None:
        while pcm := await chunks.get():
            if await conversation.hear(np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32) / np.float32(32768)):
                return

    pressed = asyncio.create_task(enters.get())
    with Recording(record) as recording:
        pumping, hearing = asyncio.create_task(pump(recording)), asyncio.create_task(hear())
        await asyncio.wait({pressed, hearing, pumping}, return_when=asyncio.FIRST_COMPLETED)
    await pumping
    await hearing
    if pressed.done():
        return pressed.result()
    pressed.cancel()
    return None


async def _open(scene: _TerminalScene) -> "Conversation":
    from assistant.voice.conversation import open_conversation

    return await asyncio.to_thread(open_conversation, scene, scene.course.settings, scene.course.index)


def _enters() -> asyncio.Queue[bool]:
    """True for each Enter, False for the end; read in a thread that Ctrl-C need not wait for."""
    loop, pressed = asyncio.get_running_loop(), asyncio.Queue[bool]()

    def read() -> None:
        for _ in sys.stdin:
            loop.call_soon_threadsafe(pressed.put_nowait, True)
        loop.call_soon_threadsafe(pressed.put_nowait, False)

    threading.Thread(target=read, name="enter", daemon=True).start()
    return pressed


def _write(out: Path, spoken: "list[NDArray[np.int16]]") -> None:
    import numpy as np

    from assistant.voice.audio import write_wav
    from assistant.voice.speech import SPOKEN_RATE

    samples = np.concatenate([np.zeros(0, np.int16), *spoken])
    write_wav(out, samples, SPOKEN_RATE)
    typer.echo(f"{out}: {len(samples) / SPOKEN_RATE:.1f} s")
