"""Sound in and out: files and the page's chunks become Samples, voices become what the page plays. All of it is PyAV.

A file is decoded piece by piece and never beyond what may be heard, so neither a day of music nor a few bytes that claim to be
one cost more than the limit. The container formats are named, because FFmpeg also knows playlists, which open other files.
"""

import wave
from collections.abc import Iterator
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

_CONTAINERS = "wav,w64,mp3,mov,aac,ogg,flac,matroska,aiff,caf"  # of `av.formats_available`; mov is m4a, matroska is webm
_ESTIMATING = frozenset({"mp3", "aac"})  # containers that do not say how long they are: FFmpeg guesses from the bit rate
_RATES = range(4_000, 384_001)  # a frame of one sample a second would become 16,000 times as long
_MOST_STREAMS = 32
_BROKEN_SHARE = 0.1  # of the packets may be unreadable: players skip them too, and a tag in an MP3 may look like one
_PLAYED = {"format": "s16", "layout": "mono", "rate": SPOKEN_RATE}
_HEARD = {"format": "s16", "layout": "mono", "rate": HEARD_RATE}  # for floats, FFmpeg adds channels up until they are too loud
_MEND = "Give a wav, mp3, m4a, ogg, flac or webm file that a player can play."


def read_audio(path: Path, longest_s: float) -> Samples:
    """Read a recording, or the first sound track of a video.

    Args:
        path: wav, mp3, m4a, ogg, flac, webm and their kin; what it is, its bytes say, not its name.
        longest_s: seconds that it may last. Memory never exceeds what these take, 64 kB a second.

    Returns:
        Shape (samples,).

    Raises:
        UnreadableFile: not audio, damaged, without sound, or too long; the text says which.
        CourseError: PyAV is not installed.
    """
    joined = bytearray()  # grows in place, where joining a list of arrays would need twice the memory
    for piece in _decoded(path, longest_s):
        joined += piece.tobytes()
        if len(joined) > longest_s * HEARD_RATE * 4:
            raise _too_long(path, None, longest_s)
    if not joined:
        raise UnreadableFile(f"{path.name} has no sound in it.", _MEND)
    return np.frombuffer(joined, dtype=np.float32)


def _decoded(path: Path, longest_s: float) -> Iterator[Samples]:
    av = _pyav()
    if not path.is_file():
        raise UnreadableFile(f"There is no file {path}.", "Correct the path.")
    try:
        with (
            path.open("rb") as file,
            av.open(file, metadata_errors="replace", container_options={"format_whitelist": _CONTAINERS}) as container,
        ):
            _check(path, container, longest_s)
            yield from _frames(path, container)
    except (av.FFmpegError, OSError) as error:  # FFmpeg's errors are of many built-in classes too
        raise UnreadableFile(f"{path.name} is no recording, or it is damaged: {_said(error)}.", _MEND) from error


def _check(path: Path, container: "InputContainer", longest_s: float) -> None:
    if len(container.streams) > _MOST_STREAMS:
        raise UnreadableFile(f"{path.name} has {len(container.streams)} tracks, more than {_MOST_STREAMS}.", _MEND)
    if not container.streams.audio:
        raise UnreadableFile(f"{path.name} has no sound track.", _MEND)
    seconds = (container.duration or 0) / 1e6
    if seconds > longest_s and container.format.name not in _ESTIMATING:
        raise _too_long(path, seconds, longest_s)


def _frames(path: Path, container: "InputContainer") -> Iterator[Samples]:
    """The first sound track, resampled; packets that cannot be decoded are left out while they are few."""
    av = _pyav()
    resampler: Any = None
    shape, good, broken = None, 0, 0
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
                    yield from map(_samples, resampler.resample(None))
                resampler = av.AudioResampler(**_HEARD)
            frame.pts = None
            yield from map(_samples, resampler.resample(frame))
    if resampler is not None:
        yield from map(_samples, resampler.resample(None))
    if broken > _BROKEN_SHARE * (good + broken):
        raise UnreadableFile(f"{path.name} is damaged: {broken} of its {good + broken} parts cannot be read.", _MEND)


def _samples(frame: "AudioFrame") -> Samples:
    return np.asarray(frame.to_ndarray()[0], dtype=np.float32) / np.float32(32768)


def _too_long(path: Path, seconds: float | None, longest_s: float) -> UnreadableFile:
    long = f"{seconds / 60:.0f} minutes long" if seconds else "too long"
    return UnreadableFile(
        f"{path.name} is {long}; recordings may have {longest_s / 60:g} minutes.",
        "Cut it, or set voice.longest_recording_min higher.",
    )


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")


class HeardStream:
    """The page's sound on its way in: chunks of pcm16, resampled across their borders without clicks.

    Args:
        rate: samples a second of what comes in; the page records at 24,000 whatever it is told.
    """

    def __init__(self, rate: int = SPOKEN_RATE) -> None:
        self._rate = rate
        self._renew()

    def _renew(self) -> None:
        self._resampler = _pyav().AudioResampler(**_HEARD)
        self._odd = b""  # half a sample that waits for its other half

    def feed(self, pcm: bytes) -> Samples:
        """Take a chunk of any length, of little-endian 16 bit mono; return what can be heard by now, maybe nothing."""
        pcm = self._odd + pcm
        whole = len(pcm) // 2 * 2
        self._odd = pcm[whole:]
        if not whole:
            return np.zeros(0, np.float32)
        return _joined(self._resampler.resample(_frame(np.frombuffer(pcm[:whole], dtype="<i2"), self._rate)))

    def end(self) -> Samples:
        """Return the few milliseconds that the resampler still holds, and be ready for another utterance."""
        rest = _joined(self._resampler.resample(None))
        self._renew()
        return rest


def to_heard(pcm: bytes, rate: int = SPOKEN_RATE) -> Samples:
    """Turn the whole of an utterance, as little-endian 16 bit mono, into Samples; an odd byte at the end is left out."""
    stream = HeardStream(rate)
    return np.concatenate([stream.feed(pcm), stream.end()])


def to_spoken(samples: NDArray[np.int16] | NDArray[np.float32], rate: int) -> NDArray[np.int16]:
    """Turn mono samples of a voice into what the page plays: 16 bit at SPOKEN_RATE. Floats run from -1 to 1."""
    resampler = _pyav().AudioResampler(**_PLAYED)
    frames = resampler.resample(_frame(to_pcm(samples), rate)) + resampler.resample(None) if len(samples) else []
    return np.concatenate([np.zeros(0, np.int16), *(frame.to_ndarray()[0] for frame in frames)])


def to_pcm(samples: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.int16]:
    """Make 16 bit of floats from -1 to 1; 16 bit stays as it is."""
    if samples.dtype == np.int16:
        return samples.astype(np.int16, copy=False)
    return np.asarray(np.rint(np.clip(samples, -1, 1) * 32767), dtype=np.int16)


def write_wav(path: Path, samples: NDArray[np.int16] | NDArray[np.float32], rate: int) -> None:
    """Write mono samples as 16 bit WAV.

    Raises:
        CourseError: it cannot be written there.
    """
    try:
        with path.open("wb") as file, wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes(to_pcm(samples).astype("<i2").tobytes())
    except OSError as error:
        raise CourseError(f"{path} cannot be written: {_said(error)}.", "Choose another place.") from error


def _frame(samples: NDArray[np.int16], rate: int) -> "AudioFrame":
    av = _pyav()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, dtype=np.int16)[None], format="s16", layout="mono")
    frame.sample_rate = rate
    return frame


def _joined(frames: list["AudioFrame"]) -> Samples:
    return np.concatenate([np.zeros(0, np.float32), *map(_samples, frames)])


def _pyav() -> Any:
    try:
        import av
    except ModuleNotFoundError as error:
        raise CourseError("Sound needs the package av, which is not installed.", "Run: make voice") from error
    return av
