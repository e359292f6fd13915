"""Sound in and out: whole recordings and the page's chunks become Samples, voices become what the page plays."""

import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from assistant.voice.decoding import HEARD, PLAYED, decoded, length_s, mono, pyav, said
from assistant.voice.recognise import Samples
from assistant.voice.speech import SPOKEN_RATE
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from av import AudioFrame


def read_audio(path: Path, longest_s: float) -> Samples:
    """Read the whole of a short recording; `decoded` reads long ones.

    Args:
        path: wav, mp3, m4a, ogg, flac, webm and their kin; what it is, its bytes say, not its name.
        longest_s: seconds that it may last.

    Returns:
        Shape (samples,).

    Raises:
        UnreadableFile: not audio, damaged, without sound, or too long; the text says which.
        CourseError: PyAV is not installed.
    """
    length_s(path, longest_s)
    return np.concatenate(list(decoded(path, longest_s)))


class HeardStream:
    """The page's sound on its way in: chunks of pcm16, resampled across their borders without clicks.

    Args:
        rate: samples a second of what comes in; the page records at 24,000 whatever it is told.
    """

    def __init__(self, rate: int = SPOKEN_RATE) -> None:
        self._rate = rate
        self._renew()

    def _renew(self) -> None:
        self._resampler = pyav().AudioResampler(**HEARD)
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
    resampler = pyav().AudioResampler(**PLAYED)
    frames = resampler.resample(_frame(to_pcm(samples), rate)) + resampler.resample(None) if len(samples) else []
    return np.concatenate([np.zeros(0, np.int16), *map(mono, frames)])


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
        raise CourseError(f"{path} cannot be written: {said(error)}.", "Choose another place.") from error


def _frame(samples: NDArray[np.int16], rate: int) -> "AudioFrame":
    av = pyav()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, dtype=np.int16)[None], format="s16", layout="mono")
    frame.sample_rate = rate
    return frame


def _joined(frames: list["AudioFrame"]) -> Samples:
    joined = np.concatenate([np.zeros(0, np.int16), *map(mono, frames)])
    return joined.astype(np.float32) / np.float32(32768)
