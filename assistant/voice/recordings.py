"""Recordings as files: a lecture becomes course material, a short one may be a spoken question."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.settings import VoiceSettings
from assistant.voice.recognise import HEARD_RATE, Heard, Samples
from knowledge.errors import CourseError
from knowledge.loaders.recording import Spoken, Transcriber

if TYPE_CHECKING:
    from knowledge.index import CourseIndex


def transcriber(settings: VoiceSettings, index: "CourseIndex") -> Transcriber:
    """Make what listens to lectures for an ingest; nothing is loaded before the first recording.

    Args:
        settings: say what hears, the longest recording, and how sure it must be of what may be quoted.
        index: the course, whose terms recognition leans towards.
    """

    def transcribe(path: Path, on_progress: Callable[[float, float], None], stopped: Callable[[], bool]) -> Iterator[Spoken]:
        from assistant.voice.audio import read_audio
        from assistant.voice.hints import hints
        from assistant.voice.listening import recogniser

        listener = recogniser(settings)
        samples = read_audio(path, settings.longest_recording_min * 60)
        total = len(samples) / HEARD_RATE
        on_progress(0.0, total)
        for segment in listener.follow(samples, hints(index), stopped):
            yield Spoken(segment.text, segment.start_s, segment.end_s, segment.confidence >= settings.sure)
            on_progress(min(segment.end_s, total), total)

    return transcribe


def short_recording(path: Path, settings: VoiceSettings) -> Samples | None:
    """Read a recording that is short enough for a spoken question; None if it is longer, or cannot be read at all."""
    from assistant.voice.audio import read_audio

    try:
        return read_audio(path, settings.longest_s)
    except CourseError:  # an ingest of it will say what is wrong
        return None


def hear_question(samples: Samples, settings: VoiceSettings, index: "CourseIndex") -> Heard:
    """Transcribe a spoken question.

    Raises:
        CourseError: what hears is not installed, or its weights are not here.
    """
    from assistant.voice.hints import hints
    from assistant.voice.listening import recogniser

    return recogniser(settings).hear(samples, hints(index))
