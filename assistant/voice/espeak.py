"""The voice that is always there: espeak-ng, or what macOS and Windows speak with, through pyttsx3."""

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from assistant.voice.audio import to_spoken
from assistant.voice.engine_process import EngineProcess
from assistant.voice.speech import Speech
from knowledge.errors import CourseError

_WORKER = Path(__file__).with_name("espeak_worker.py")
_REMEDY = (
    "Choose a voice of `lectern say --list`; if there is none, install espeak-ng "
    "(Debian: apt-get install libespeak-ng1) or set voice.speaker to piper."
)


@dataclass(frozen=True, slots=True)
class KnownVoice:
    """A voice to choose. `name` is what voice.voice takes; the language is a tag, or empty."""

    name: str
    title: str
    language: str


class EspeakVoice:
    """Speaks through pyttsx3 in a process of its own (espeak_worker.py says why).

    Args:
        voice: id or name of a voice of `voices()`; empty takes the engine's default.
        rate: words a minute.

    Raises:
        CourseError: pyttsx3 is not installed.
    """

    def __init__(self, voice: str = "", rate: int = 170) -> None:
        self.name = "espeak"
        self._process = EngineProcess(self.name, _command("{folder}", voice, rate), _REMEDY)

    def say(self, text: str) -> Speech:
        samples, rate = self._process.say(text)
        return Speech(to_spoken(samples, rate), text)

    def warm(self) -> None:
        self._process.warm()

    def close(self) -> None:
        self._process.close()


def voices() -> list[KnownVoice]:
    """The voices of this machine.

    Raises:
        CourseError: pyttsx3 or the engine is missing.
    """
    done = subprocess.run(_command("-", "", 170), capture_output=True, text=True, encoding="utf-8", timeout=90)
    last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
    if done.returncode:
        raise CourseError(f"The voices of espeak cannot be listed: {last}.", _REMEDY)
    return [KnownVoice(*row) for row in json.loads(last)]


def _command(folder: str, voice: str, rate: int) -> list[str]:
    if find_spec("pyttsx3") is None:
        raise CourseError("The voice espeak needs the package pyttsx3, which is not installed.", "Run: make voice")
    return [sys.executable, "-P", str(_WORKER), folder, voice, str(rate)]
