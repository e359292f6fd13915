"""The natural voice: Piper (piper-tts, GPL-3.0), run as the separate program that it is and never imported.

`python -m piper --output-dir FOLDER` keeps its model loaded, reads a sentence a line and says when a file is written. Of its
other modes, --output-raw does not say where a sentence ends, and the HTTP server needs flask, a port and a watch over both.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

from assistant.models import model_path
from assistant.voice.audio import to_spoken
from assistant.voice.engine_process import EngineProcess
from assistant.voice.speech import Speech
from knowledge.errors import CourseError, MissingModel

DEFAULT_MODEL = "piper-en_us-joe-medium"
_WORDS_A_MINUTE = 173  # of the default model at its own pace, measured on 260 words of the course
_PAUSE_S = 0.25  # between the sentences of one call, as between those of two


class PiperVoice:
    """Speaks with a Piper model in a process of its own; the first sentence waits for the model, about 2.5 s.

    Args:
        voice: a text-to-speech model of `lectern models list`, or an .onnx file with its .onnx.json beside it; empty takes
            DEFAULT_MODEL.
        rate: words a minute, exact for DEFAULT_MODEL.

    Raises:
        CourseError: piper-tts is not installed.
        MissingModel: the model is not here.
    """

    def __init__(self, voice: str = "", rate: int = 170) -> None:
        self.name = "piper"
        if find_spec("piper") is None:  # found, not imported
            raise CourseError(
                "The voice piper needs the package piper-tts (GPL-3.0), which is not installed.",
                f"Run: {sys.executable} -m pip install piper-tts, or set voice.speaker to espeak.",
            )
        model = _onnx_file(voice or DEFAULT_MODEL)
        command = [sys.executable, "-P", "-m", "piper", "--model", str(model), "--output-dir", "{folder}"]
        command += ["--length-scale", f"{_WORDS_A_MINUTE / rate:.3f}", "--sentence-silence", str(_PAUSE_S)]
        remedy = "Run `lectern models verify`, or set voice.speaker to espeak."
        self._process = EngineProcess(self.name, command, remedy)

    def say(self, text: str) -> Speech:
        samples, rate = self._process.say(text)
        return Speech(to_spoken(samples, rate), text)

    def warm(self) -> None:
        self._process.warm()

    def close(self) -> None:
        self._process.close()


def _onnx_file(voice: str) -> Path:
    if not voice.endswith(".onnx"):
        return next(path for path in sorted(model_path(voice).iterdir()) if path.suffix == ".onnx")
    file = Path(voice).expanduser().absolute()
    for needed in (file, file.with_name(f"{file.name}.json")):
        if not needed.is_file():
            raise MissingModel(
                f"There is no file {needed}.", "Correct voice.voice; a Piper model is an .onnx and an .onnx.json."
            )
    return file
