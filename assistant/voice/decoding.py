"""Recordings decoded piece by piece, so that a lecture of hours takes no more memory than one of minutes. All of it is PyAV.

Nothing is decoded beyond what may be heard, so neither a day of music nor a few bytes that claim to be one cost more than the
limit. The container formats are named, because FFmpeg also knows playlists, which open other files.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from assistant.voice.recognise import HEARD_RATE, Samples
from assistant.voice.speech import SPOKEN_RATE
from knowledge.errors import CourseError, UnreadableFile

if TYPE_CHECKING:
    from av import AudioFrame
    from av.container import InputContainer

PLAYED = {"format": "s16", "layout": "mono", "rate": SPOKEN_RATE}
HEARD = {"format": "s16", "layout": "mono", "rate": HEARD_RATE}  # for floats, FFmpeg adds channels up until they are too loud

_CONTAINERS = "wav,w64,mp3,mov,aac,ogg,flac,matroska,aiff,caf"  # of `av.formats_available`; mov is m4a, matroska is webm
_ESTIMATING = frozenset({"mp3", "aac"})  # containers that do not say how long they are: FFmpeg guesses from the bit rate
_RATES = range(4_000, 384_001)  # a frame of one sample a second would become 16,000 times as long
_MOST_STREAMS = 32
_BROKEN_SHARE = 0.1  # of the packets may be unreadable: players skip them too, and a tag in an MP3 may look like one
_PIECE_S = 10  # decoded before a piece is handed on; frames alone are too many
_MEND = "Give a wav, mp3, m4a, ogg, flac or webm file that a player can play."


def length_s(path: Path, longest_s: float) -> float:
    """How many seconds a recording lasts, without decoding it; 0 where it does not say.

    Args:
        path: wav, mp3, m4a, ogg, flac, webm and their kin, or a video; what it is, its bytes say, not its name.
        longest_s: seconds that it may last.

    Raises:
        UnreadableFile: not audio, damaged, without sound, or too long; the text says which.
        CourseError: PyAV is not installed.
    """
    with _opened(path) as container:
        if container.duration and container.format.name not in _ESTIMATING:
            seconds = container.duration / 1e6
            if seconds > longest_s:
                raise _too_long(path, seconds, longest_s)
            return seconds
        seconds = 0.0
        for packet in container.demux(container.streams.audio[0]):
            seconds += float((packet.duration or 0) * packet.time_base) if packet.time_base else 0.0
            if seconds > longest_s:
                raise _too_long(path, None, longest_s)
        return seconds


def decoded(path: Path, longest_s: float) -> Iterator[Samples]:
    """Read a recording, or the first sound track of a video, in pieces of about ten seconds, each of shape (samples,).

    Args and errors as of `length_s`. What turns out to be too long, or damaged, raises where that is found.
    """
    parts, waiting, total = list[Samples](), 0, 0
    for frame in _frames(path, HEARD):
        parts.append(np.asarray(frame, dtype=np.float32) / np.float32(32768))
        waiting, total = waiting + len(frame), total + len(frame)
        if total > longest_s * HEARD_RATE:
            raise _too_long(path, None, longest_s)
        if waiting >= _PIECE_S * HEARD_RATE:
            yield np.concatenate(parts)
            parts, waiting = [], 0
    if not total:
        raise UnreadableFile(f"{path.name} has no sound in it.", _MEND)
    if parts:
        yield np.concatenate(parts)


def read_speech(path: Path) -> NDArray[np.int16]:
    """Read a file that a voice has written, whatever its format: mono 16 bit at SPOKEN_RATE; errors as of `length_s`."""
    return np.concatenate([np.zeros(0, np.int16), *_frames(path, PLAYED)])


@contextmanager
def _opened(path: Path) -> Iterator["InputContainer"]:
    av = pyav()
    if not path.is_file():
        raise UnreadableFile(f"There is no file {path}.", "Correct the path.")
    try:
        with (
            path.open("rb") as file,
            av.open(file, metadata_errors="replace", container_options={"format_whitelist": _CONTAINERS}) as container,
        ):
            if len(container.streams) > _MOST_STREAMS:
                raise UnreadableFile(f"{path.name} has {len(container.streams)} tracks, more than {_MOST_STREAMS}.", _MEND)
            if not container.streams.audio:
                raise UnreadableFile(f"{path.name} has no sound track.", _MEND)
            yield container
    except (av.FFmpegError, OSError) as error:  # FFmpeg's errors are of many built-in classes too
        raise UnreadableFile(f"{path.name} is no recording, or it is damaged: {said(error)}.", _MEND) from error


def _frames(path: Path, form: dict[str, Any]) -> Iterator[NDArray[np.int16]]:
    """The first sound track, resampled; packets that cannot be decoded are left out while they are few."""
    av = pyav()
    resampler: Any = None
    shape, good, broken = None, 0, 0
    with _opened(path) as container:
        for packet in container.demux(container.streams.audio[0]):
            try:
                frames = packet.decode()
                good += 1
            except av.InvalidDataError:
                broken += 1
                continue
            for frame in frames:
                if frame.rate not in _RATES:
                    raise UnreadableFile(f"{path.name} has {frame.rate} samples a second.", "Convert it to 44,100.")
                if shape != (shape := (frame.format.name, frame.layout.name, frame.rate)):
                    if resampler is not None:
                        yield from map(mono, resampler.resample(None))
                    resampler = av.AudioResampler(**form)
                frame.pts = None
                yield from map(mono, resampler.resample(frame))
        if resampler is not None:
            yield from map(mono, resampler.resample(None))
        if broken > _BROKEN_SHARE * (good + broken):
            raise UnreadableFile(f"{path.name} is damaged: {broken} of its {good + broken} parts cannot be read.", _MEND)


def mono(frame: "AudioFrame") -> NDArray[np.int16]:
    """The samples of a frame of one channel and 16 bit."""
    return np.asarray(frame.to_ndarray()[0], dtype=np.int16)


def said(error: Exception) -> str:
    """What an error of the system or of FFmpeg says, without a full stop."""
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def pyav() -> Any:
    """PyAV; raises CourseError if it is not installed."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise CourseError("Sound needs the package av, which is not installed.", "Run: make voice") from error
    return av


def _too_long(path: Path, seconds: float | None, longest_s: float) -> UnreadableFile:
    long = f"{seconds / 60:.0f} minutes long" if seconds else "too long"
    return UnreadableFile(
        f"{path.name} is {long}; recordings may have {longest_s / 60:g} minutes.",
        "Cut it, or set voice.longest_recording_min higher.",
    )
