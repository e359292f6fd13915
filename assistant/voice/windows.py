"""A recording as windows that Whisper can hear at once: where there is speech, its long silences cut short.

Silero's voice detector (Silero Team, 2021; MIT), in the copy that faster-whisper carries, finds the speech. Where it finds
none, Whisper is never asked, because it was trained on subtitles and makes them up for anything.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from assistant.voice.recognise import HEARD_RATE, Samples
from knowledge.errors import CourseError

LONGEST_S = 28.0  # Whisper hears 30 s at a time; the rest is padding, and room for what Silero leaves uncertain
_PAUSE_MS = 600  # silence that separates two stretches; the same as ends a turn
_SHORTEST_MS = 250  # "yes" takes 300; a cough or a key less (Silero's own default)
_PADDING_S = 0.4  # kept around a stretch, since soft beginnings and ends of words look like silence (faster-whisper's default)
_BLOCK_S = 600  # searched for speech at a time: what the detector needs is some times its input


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where somebody speaks: half-open range of samples, without padding."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Window:
    """What Whisper hears at once: at most LONGEST_S of speech, without the long silences between.

    Attributes:
        samples: the pieces, one behind the other.
        speech_s: seconds of speech in it, without padding.
        pieces: half-open ranges of the recording's samples that it consists of, in order.
    """

    samples: Samples
    speech_s: float
    pieces: tuple[tuple[int, int], ...]

    def seconds(self, within: float) -> float:
        """Turn seconds within the window into seconds of the recording."""
        lengths = np.cumsum([0, *(end - start for start, end in self.pieces)])
        at = min(max(0.0, within) * HEARD_RATE, float(lengths[-1]))
        piece = min(int(np.searchsorted(lengths, at, side="right")) - 1, len(self.pieces) - 1)
        return float(self.pieces[piece][0] + at - lengths[piece]) / HEARD_RATE


def windows(samples: Samples) -> Iterator[Window]:
    """Cut a recording of any length into windows, from the front, as they are asked for; none if nobody speaks.

    Raises:
        CourseError: faster-whisper is not installed.
    """
    group: list[_Piece] = []
    for piece in _pieces(stretches(samples), len(samples)):
        if group and sum(one.end - one.start for one in [*group, piece]) > LONGEST_S * HEARD_RATE:
            yield _window(samples, group)
            group = []
        group.append(piece)
    if group:
        yield _window(samples, group)


def stretches(samples: Samples) -> Iterator[Stretch]:
    """Find where somebody speaks, front to back, none longer than fits into a window; see `windows` for errors."""
    try:
        from faster_whisper.vad import VadOptions, get_speech_timestamps
    except ModuleNotFoundError as error:
        raise CourseError("Listening needs the package faster-whisper, which is not installed.", "Run: make voice") from error

    options = VadOptions(
        min_silence_duration_ms=_PAUSE_MS,
        min_speech_duration_ms=_SHORTEST_MS,
        max_speech_duration_s=LONGEST_S - 2 * _PADDING_S,
        speech_pad_ms=0,
    )
    start, block = 0, _BLOCK_S * HEARD_RATE
    while start < len(samples):
        end = min(start + block, len(samples))
        found = get_speech_timestamps(samples[start:end], options)
        last = found[-1] if found and end < len(samples) else None
        goes_on = last and last["start"] and start + last["end"] > end - _PAUSE_MS * HEARD_RATE // 1000
        yield from (Stretch(start + one["start"], start + one["end"]) for one in found if not (goes_on and one is last))
        start = start + last["start"] if last and goes_on else end  # the next block hears it from its beginning


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch with its padding; `speech` are the samples without it."""

    start: int
    end: int
    speech: int


def _pieces(found: Iterable[Stretch], length: int) -> Iterator[_Piece]:
    """Pad each stretch, but into its neighbour never: words on the border would be heard twice."""
    padding, before = int(_PADDING_S * HEARD_RATE), 0
    for one, following in pairwise(chain(found, [None])):
        assert one is not None  # only the last one is, and it is never first of a pair
        border = (one.end + following.start) // 2 if following else length
        start, end = max(before, one.start - padding), min(border, one.end + padding)
        yield _Piece(start, end, one.end - one.start)
        before = end


def _window(samples: Samples, group: list[_Piece]) -> Window:
    heard = np.concatenate([samples[one.start : one.end] for one in group])
    speech_s = sum(one.speech for one in group) / HEARD_RATE
    return Window(heard, speech_s, tuple((one.start, one.end) for one in group))
