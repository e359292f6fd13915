"""A recording as windows that Whisper can hear at once: where there is speech, its long silences cut short.

Silero's voice detector (Silero Team, 2021; MIT), in the copy that faster-whisper carries, finds the speech. Where it finds
none, Whisper is never asked, because it was trained on subtitles and makes them up for anything. Of a recording that is decoded
as it is heard, only one block is in memory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from assistant.voice.recognise import HEARD_RATE, Samples
from knowledge.errors import CourseError

LONGEST_S = 28.0  # Whisper hears 30 s at a time; the rest is padding, and room for what Silero leaves uncertain
BLOCK_S = 120  # searched for speech at a time: what the detector needs is some times its input

_PAUSE_MS = 600  # silence that separates two stretches; the same as ends a turn
_SHORTEST_MS = 250  # "yes" takes 300; a cough or a key less (Silero's own default)
_PADDING_S = 0.4  # kept around a stretch, since soft beginnings and ends of words look like silence (faster-whisper's default)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where somebody speaks: half-open range of samples of a block, without padding."""

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


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch with its padding; `speech` are the samples without it."""

    start: int
    samples: Samples
    speech: int


def windows(sound: Iterable[Samples]) -> Iterator[Window]:
    """Cut a recording of any length into windows, from the front, as they are asked for; none if nobody speaks.

    Args:
        sound: the recording in pieces of any length; not read further ahead than BLOCK_S.

    Raises:
        CourseError: faster-whisper is not installed.
    """
    group: list[_Piece] = []
    for piece in _pieces(sound):
        if group and (piece is None or sum(len(one.samples) for one in [*group, piece]) > LONGEST_S * HEARD_RATE):
            yield _window(group)
            group = []
        if piece is not None:
            group.append(piece)
    if group:
        yield _window(group)


def stretches(block: Samples) -> list[Stretch]:
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
    return [Stretch(one["start"], one["end"]) for one in get_speech_timestamps(block, options)]


def _pieces(sound: Iterable[Samples]) -> Iterator[_Piece | None]:
    """Pad each stretch, but into its neighbour never: words on the border would be heard twice. None: a block without speech.

    Who speaks at the end of a block is heard with the next one, from the beginning.
    """
    step, padding, pause = HEARD_RATE, int(_PADDING_S * HEARD_RATE), _PAUSE_MS * HEARD_RATE // 1000
    source = (piece[at : at + step] for piece in sound for at in range(0, len(piece), step))
    rest: Samples = np.zeros(0, np.float32)
    base, more = 0, True  # where the block begins in the recording
    while more:
        block, more = _filled(rest, source)
        found = stretches(block)
        borders = [*((one.end + following.start) // 2 for one, following in pairwise(found)), len(block)]
        before, cut = 0, len(block) - padding
        if more and found and found[-1].end > len(block) - pause and found[-1].start > padding:
            cut = found.pop().start - padding
        for one, border in zip(found, borders, strict=False):
            start, before = max(before, one.start - padding), min(border, one.end + padding)
            yield _Piece(base + start, block[start:before].copy(), one.end - one.start)
        if not found:
            yield None
        cut = max(cut, before)
        rest, base = block[cut:], base + cut


def _filled(rest: Samples, source: Iterator[Samples]) -> tuple[Samples, bool]:
    """The next block, and whether there may be another behind it."""
    parts, length = [rest], len(rest)
    for part in source:
        parts.append(part)
        length += len(part)
        if length >= BLOCK_S * HEARD_RATE:
            return np.concatenate(parts), True
    return np.concatenate(parts), False


def _window(group: list[_Piece]) -> Window:
    heard = np.concatenate([one.samples for one in group])
    speech_s = sum(one.speech for one in group) / HEARD_RATE
    return Window(heard, speech_s, tuple((one.start, one.start + len(one.samples)) for one in group))
