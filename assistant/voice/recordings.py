"""Recordings as files: a lecture becomes course material, a short one may be a spoken question."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.settings import VoiceSettings
from assistant.voice.recognise import HEARD_RATE, Heard, Recogniser, Samples, Segment
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
        from assistant.voice.listening import course_recogniser

        for segment in heard(path, course_recogniser(settings, index), settings, on_progress, stopped):
            yield Spoken(segment.text, segment.start_s, segment.end_s, segment.confidence >= settings.sure)

    return transcribe


def heard(
    path: Path,
    listener: Recogniser,
    settings: VoiceSettings,
    on_progress: Callable[[float, float], None],
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Segment]:
    """Transcribe a recording of hours, decoding it as it is heard, so that it takes no more memory than one of minutes.

    Args:
        path: a recording, or a video.
        listener: hears it.
        settings: say how long it may be.
        on_progress: called with the seconds heard so far, rounded to the block that is being heard, and with those in all.
        stopped: ends it early once it says so.

    Raises:
        UnreadableFile: no recording, damaged, without sound, or longer than settings.longest_recording_min.
    """
    from assistant.voice.decoding import decoded, length_s
    from assistant.voice.windows import BLOCK_S

    longest_s = settings.longest_recording_min * 60
    total, reached = length_s(path, longest_s), 0.0

    def tell(seconds: float) -> None:
        nonlocal reached
        reached = max(reached, min(seconds, total))
        on_progress(reached, total)

    def sound() -> Iterator[Samples]:
        read = 0
        for piece in decoded(path, longest_s):
            yield piece
            read += len(piece)
            tell(read / HEARD_RATE - BLOCK_S)  # what came before the block that is being filled

    tell(0.0)
    for segment in listener.follow(sound(), stopped=stopped):
        yield segment
        tell(segment.end_s)
    if not stopped():
        tell(total)


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
    from assistant.voice.listening import course_recogniser

    return course_recogniser(settings, index).hear(samples)
