"""What speaks: one sentence in, samples out. Voices speak this interface; everything else asks for nothing more."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SPOKEN_RATE = 24_000  # samples a second of everything that is played: the page's player takes no other


@dataclass(frozen=True, slots=True)
class Speech:
    """A spoken sentence.

    Attributes:
        samples: mono 16 bit at SPOKEN_RATE.
        text: what was said, in speakable words.
    """

    samples: NDArray[np.int16]
    text: str

    @property
    def seconds(self) -> float:
        """How long it takes to play."""
        return len(self.samples) / SPOKEN_RATE


class Voice(Protocol):
    """An engine that speaks. Safe to call from several threads: calls wait for each other."""

    name: str

    def say(self, text: str) -> Speech:
        """Speak one sentence of plain words (see speakable.py).

        Raises:
            CourseError: the engine is missing or has died and could not be started again; the text says what to do.
        """
        ...

    def warm(self) -> None:
        """Begin to start the engine, so that the first sentence need not wait for it; returns at once."""
        ...

    def close(self) -> None:
        """Free what the engine holds (a process, a library)."""
        ...
