"""Time from the end of speech to the first sound, by stage: `python -m evals.bench.spoken [--questions N] [--hands-free]`.

Questions of evals/cases are spoken by the voice of the settings, and go through recogniser, chain and voice as a student's
would. The first sound says where the answer is looked for; when the answer sounds, it is stopped. With --hands-free the sound
comes in at its own pace, and the pause that ends a question counts; without it, the end of speech is the moment at which the
student presses. Weights are loaded and sections read before (`lectern warm`); questions about sections that have not been read
are left out. Nothing comes into the history.
"""

import asyncio
import time
from collections.abc import Callable
from itertools import islice
from typing import Annotated

import numpy as np
import typer

from assistant.events import Refusal, Sentence, Turn, TurnEvent
from assistant.runtime import Runtime, build, warm
from assistant.settings import go_offline, load_settings
from assistant.voice.audio import to_heard
from assistant.voice.conversation import Conversation, open_conversation
from assistant.voice.recognise import HEARD_RATE, Samples
from assistant.voice.scene import Latency, State
from assistant.voice.speaking import voice
from assistant.voice.speech import SPOKEN_RATE, Speech
from evals.bench.machine import machine, quantile, spread
from evals.bench.ttft import Asker, shuffled_questions
from knowledge.errors import CourseError

_CHUNK = HEARD_RATE // 10
_FIRST = "What is dropout?"  # loads what is loaded once, and does not count
_STAGES = ("end_of_turn_ms", "transcript_ms", "first_sound_ms", "first_sentence_ms", "answer_sound_ms")


class BenchScene:
    """Answers with the course, plays nothing, and ends each answer when its first sentence sounds."""

    real_time = False

    def __init__(self, ready: Runtime) -> None:
        self._chain = ready.chain.without_history()
        self._turn: Turn | None = None
        self.heard = ""
        self.refused = self._answered = False

    async def show(self, state: State, latency: Latency | None) -> None:
        pass

    async def transcribed(self, text: str) -> None:
        self.heard = text

    async def answer(self, text: str, take: Callable[[TurnEvent], None]) -> None:
        turn = self._turn = Turn(text)
        async for event in self._chain.astream(turn):
            self.refused = self.refused or isinstance(event, Refusal)
            self._answered = self._answered or isinstance(event, (Refusal, Sentence))
            take(event)

    async def remark(self, text: str) -> None:
        self.refused = True

    async def fail(self, error: CourseError) -> None:
        raise error

    async def play(self, speech: Speech, track: str) -> None:
        if self._answered:
            self.stop()

    async def silence(self) -> None:
        pass

    def stop(self) -> None:
        if self._turn:
            self._turn.stop.set()


def main(
    questions: Annotated[int, typer.Option(min=1, help="How many.")] = 30,
    hands_free: Annotated[bool, typer.Option(help="End each question by its pause instead of a press.")] = False,
    seed: Annotated[int, typer.Option(help="For the choice.")] = 0,
) -> None:
    """Measure with the settings in force."""
    go_offline()
    settings = load_settings()
    print(machine())
    ready = build(settings)
    warm(ready)
    asker, speaker = Asker(ready), voice(settings.voice)
    chosen = list(islice((question for question in shuffled_questions(seed) if asker.group(Turn(question))), questions))
    rows: dict[bool, list[Latency]] = {False: [], True: []}  # by whether there was no answer
    for question in [_FIRST, *chosen]:
        said = to_heard(speaker.say(question).samples.tobytes(), SPOKEN_RATE)
        scene = BenchScene(ready)
        latency = asyncio.run(_ask(open_conversation(scene, settings, ready.index), said, hands_free))
        print(f"{question}\n  heard: {scene.heard}  {latency.as_json()}", flush=True)
        if question != _FIRST:
            rows[scene.refused].append(latency)
    print(f"\n{settings.voice.model}, {settings.voice.speaker}")
    for refused, timed in rows.items():
        print(f"{len(timed)} questions {'without' if refused else 'with'} an answer")
        for stage in _STAGES:
            if values := [value / 1000 for row in timed if (value := getattr(row, stage)) is not None]:
                print(f"{stage[:-3]:>16}: {spread(values)} s, slowest tenth from {quantile(values, 0.9):.2f} s")
    speaker.close()


async def _ask(conversation: Conversation, said: Samples, hands_free: bool) -> Latency:
    if not hands_free:
        await conversation.say(said)
    else:
        await conversation.press(True)
        sound = np.concatenate([np.zeros(HEARD_RATE // 2, np.float32), said, np.zeros(2 * HEARD_RATE, np.float32)])
        began = time.perf_counter()
        for start in range(0, len(sound), _CHUNK):
            await asyncio.sleep(max(0.0, began + start / HEARD_RATE - time.perf_counter()))
            await conversation.hear(sound[start : start + _CHUNK])
        await conversation.finished()
    await conversation.close()
    if conversation.latency is None:
        raise CourseError("The end of a question was not noticed.", "Set voice.pause_ms lower.")
    return conversation.latency


if __name__ == "__main__":
    typer.run(main)
