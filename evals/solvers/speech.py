"""Speech to text: recordings, and sentences that a voice speaks, clean and in noise, knowing the course and not."""

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from assistant.voice.audio import read_audio, to_heard
from assistant.voice.hints import hints
from assistant.voice.listening import course_recogniser, recogniser
from assistant.voice.recognise import HEARD_RATE, Recogniser, Samples
from assistant.voice.speaking import voice
from assistant.voice.speech import SPOKEN_RATE, Voice
from evals.environment import Environment
from evals.running.cache import code_version
from evals.sets import data_folder
from evals.sets.speech import make_sound
from evals.task import Output, Sample

NOISE_DB = 10
CONDITIONS = ("clean", "clean, without the course", "noise", "noise, without the course")
_LONGEST_S = 120.0


class HearingSolver:
    """Transcribes {"recording": file of the set "speech"}, {"sound": kind, "seed": number} or {"text": to be spoken}.

    The output is {"heard": {condition: {"text", "confidence", "seconds"}}, "audio_s"}: for recordings and sounds the one
    condition "clean", without the course; for texts all CONDITIONS. Noise is white, NOISE_DB below the speech. Without the
    course means that neither its terms nor its spelling are known.

    Args:
        environment: of the run; the engine and model are those of its settings.
        speaker: what speaks the texts.
    """

    def __init__(self, environment: Environment, speaker: str = "espeak") -> None:
        self._environment = environment
        self._settings = environment.settings.voice.model_copy(update={"speaker": speaker})

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        code = code_version("assistant.voice", "evals.solvers.speech", "evals.sets.speech")
        return {"solver": "hearing", "voice": self._settings.model_dump(mode="json"), "code": code, "hints": self._hints}

    @cached_property
    def _recogniser(self) -> Recogniser:
        return recogniser(self._settings)

    @cached_property
    def _knowing(self) -> Recogniser:
        return course_recogniser(self._settings, self._environment.runtime.index)

    @cached_property
    def _voice(self) -> Voice:
        return voice(self._settings)

    @cached_property
    def _hints(self) -> str:
        return hints(self._environment.runtime.index)

    def solve(self, sample: Sample) -> Output:
        given = sample.input
        if "text" not in given:
            heard = self._read(given)
            return {"heard": {"clean": self._heard(heard, self._recogniser)}, "audio_s": len(heard) / HEARD_RATE}
        said = to_heard(self._voice.say(given["text"]).samples.tobytes(), SPOKEN_RATE)
        level = float(np.sqrt(np.mean(said**2))) * 10 ** (-NOISE_DB / 20)
        noise = np.random.default_rng(len(given["text"])).standard_normal(len(said)) * level
        sounds = {"clean": said, "noise": (said + noise).astype(np.float32)}
        heard_in = {
            condition: self._heard(
                sounds[condition.partition(",")[0]], self._recogniser if "without" in condition else self._knowing
            )
            for condition in CONDITIONS
        }
        return {"heard": heard_in, "audio_s": len(said) / HEARD_RATE}

    def close(self) -> None:
        """End the voice's process."""
        if "_voice" in self.__dict__:
            self._voice.close()

    def _read(self, given: Mapping[str, Any]) -> Samples:
        if "sound" in given:
            return make_sound(given["sound"], given["seed"])
        return read_audio(data_folder(self._environment.data, "speech") / given["recording"], _LONGEST_S)

    def _heard(self, samples: Samples, listener: Recogniser) -> dict[str, Any]:
        started = time.monotonic()
        found = listener.hear(samples)
        seconds = time.monotonic() - started
        return {"text": found.text, "confidence": round(found.confidence, 3), "seconds": round(seconds, 3)}
