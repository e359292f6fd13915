"""What both Whisper engines share: windows of speech in, believable segments out. Whisper: Radford et al., 2022.

Each window is heard on its own, without the text before it, because Whisper takes that as the beginning of a loop all too
gladly.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile

from assistant.voice.phantoms import is_believable
from assistant.voice.recognise import Heard, Samples, Segment
from assistant.voice.windows import Window, windows
from knowledge.errors import CourseError

BEAM = 1  # greedy: a quarter of a second sooner than the five hypotheses of the paper
TEMPERATURES = (0.0, 0.2, 0.4)  # tried in turn where a transcript loops or is a guess; hotter ones only invent
LONGEST_TOKENS = 200  # of a window: 28 s of fast speech are about 130; a loop would go on to 448, many seconds of computing
_UNTOLD = "en"  # said of recordings in which nobody speaks, where the model is to tell the language


@dataclass(frozen=True, slots=True)
class Decoded:
    """A segment as Whisper gives it.

    Attributes:
        start_s, end_s: within the window.
        confidence: mean probability of its words. Whisper's own mean over the tokens also has those of times, and of the
            text that was decoded with it; it told speech from guesses less well.
        no_speech: probability that there is no speech, as Whisper sees it.
        compression: bytes of text for each byte of it deflated; loops are above 2.4.
    """

    text: str
    start_s: float
    end_s: float
    confidence: float
    no_speech: float
    compression: float


class Whisper(ABC):
    """A Recogniser, but for the decoding itself.

    Args:
        name: of the engine and its weights.
        language: ISO 639-1 code; empty lets the model tell.
        languages: that the model knows.

    Raises:
        CourseError: the model does not know the language.
    """

    def __init__(self, name: str, language: str, languages: list[str]) -> None:
        if language and language not in languages:
            known = "only English" if languages == ["en"] else f"one of {', '.join(sorted(languages))}"
            raise CourseError(
                f"{name} does not understand the language {language!r}; it knows {known}.",
                "Set voice.language, or choose voice.model = faster-whisper-base, which knows a hundred.",
            )
        self.name = name
        self._language = language
        self._lock = threading.Lock()

    @abstractmethod
    def _decode(self, window: Samples, language: str, hints: str) -> tuple[list[Decoded], str]:
        """Transcribe at most 30 s of speech; returns the segments and the language, which is told if it is empty."""

    def hear(self, samples: Samples, hints: str | None = None) -> Heard:
        """Transcribe one utterance; see Recogniser."""
        segments: list[Segment] = []
        language, speech_s = self._language, 0.0
        for window in windows([samples]):
            found, language = self._hear_window(window, language, hints or "")
            segments += found
            speech_s += window.speech_s
        return Heard(tuple(segments), language or _UNTOLD, speech_s)

    def follow(self, sound: Iterable[Samples], stopped: Callable[[], bool] = lambda: False) -> Iterator[Segment]:
        """Transcribe a long recording; see Recogniser. Other calls get their turn between its windows."""
        language = self._language
        for window in windows(takewhile(lambda _: not stopped(), sound)):
            if stopped():
                return
            found, language = self._hear_window(window, language, "")
            yield from found

    def _hear_window(self, window: Window, language: str, hints: str) -> tuple[list[Segment], str]:
        with self._lock:
            decoded, told = self._decode(window.samples, language, hints)
        believed = [
            one for one in decoded if is_believable(one.text, window.speech_s, one.confidence, one.no_speech, one.compression)
        ]
        return [_segment(one, window) for one in believed], told if believed else language


def _segment(decoded: Decoded, window: Window) -> Segment:
    start_s, end_s = window.seconds(decoded.start_s), window.seconds(decoded.end_s)
    return Segment(decoded.text.strip(), start_s, end_s, decoded.confidence)
