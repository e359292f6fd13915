"""What hears: samples in, words out. Whisper engines speak this interface; everything else asks for nothing more."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

HEARD_RATE = 16_000  # samples a second of everything that is listened to: what Whisper and Silero were trained on

Samples = NDArray[np.float32]  # mono, HEARD_RATE, -1 to 1


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of speech in a recording.

    Attributes:
        text: what was said, without white space around it.
        start_s, end_s: seconds from the beginning of the recording.
        confidence: 0 to 1, the mean probability of its tokens.
    """

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What was understood of one utterance; no segments if there was no speech in it.

    Attributes:
        language: ISO 639-1 code.
        speech_s: seconds of speech that the voice detector found.
    """

    segments: tuple[Segment, ...]
    language: str
    speech_s: float

    @property
    def text(self) -> str:
        """All of it; empty where nothing was said."""
        return " ".join(segment.text for segment in self.segments)

    @property
    def confidence(self) -> float:
        """Of the whole, weighted by duration; 0 if nothing was said."""
        seconds = [max(0.1, segment.end_s - segment.start_s) for segment in self.segments]
        weighted = sum(s.confidence * length for s, length in zip(self.segments, seconds, strict=True))
        return weighted / sum(seconds) if seconds else 0.0


class Recogniser(Protocol):
    """An engine of speech recognition. Safe to call from several threads: calls wait for each other."""

    name: str

    def hear(self, samples: Samples, hints: str | None = None) -> Heard:
        """Transcribe one utterance; silence, noise and music give no segments.

        Args:
            samples: at most a few minutes.
            hints: terms that recognition leans towards; None leaves it to the recogniser, which may know the course.
        """
        ...

    def follow(self, sound: Iterable[Samples], stopped: Callable[[], bool] = lambda: False) -> Iterator[Segment]:
        """Transcribe a recording of any length, segment by segment as they come.

        Args:
            sound: the recording in pieces, for instance `decoded(path)`; read as it is heard.
            stopped: ends it early once it says so.
        """
        ...
