"""Recordings of lectures: what was said, in paragraphs under the times at which they begin.

The time is a heading, so that the place of a passage reads "Lecture 5, 12:34" wherever places are shown. Nothing here can
listen: a `Transcriber` is handed in, because speech recognition is an extra.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path
from typing import Protocol

from knowledge.errors import CourseError, UnreadableFile
from knowledge.loaders.builder import TextBuilder, pretty
from knowledge.passage import Document

SOUND = frozenset({".wav", ".mp3", ".m4a", ".aac", ".ogg", ".oga", ".opus", ".flac", ".webm", ".mka", ".aiff", ".aif"})
RECORDINGS = SOUND | {".mp4", ".m4v", ".mov", ".mkv"}  # of a video, its sound
MAX_BYTES = 4 * 2**30  # three hours of uncompressed stereo

UNCLEAR = "hardly understood"

# Seconds. At the usual 130 to 150 words a minute a paragraph then makes one passage of 110 to 170 tokens.
_ENOUGH = 40  # a paragraph ends with the first sentence after this,
_LONGEST = 75  # without such an end before it would be longer than this,
_SHORT = 15  # or as early as this
_PAUSE = 2  # where the speaker pauses so long
_SENTENCE_ENDS = tuple(".!?…。！？")
_CLOSING = "\"'”’)]"


@dataclass(frozen=True, slots=True)
class Spoken:
    """A run of speech in a recording.

    Attributes:
        text: what was said.
        start_s, end_s: seconds from the beginning of the recording.
        clear: whether it was understood well enough to be quoted.
    """

    text: str
    start_s: float
    end_s: float
    clear: bool = True


class Transcriber(Protocol):
    """What listens to recordings."""

    def __call__(
        self, path: Path, on_progress: Callable[[float, float], None], stopped: Callable[[], bool]
    ) -> Iterable[Spoken]:
        """Give what is said in a recording, in its order; nothing if nobody speaks.

        Args:
            path: a recording, or a video.
            on_progress: to be called with the seconds heard so far, and the seconds in all.
            stopped: ends it early, with what was heard by then, once it says so.

        Raises:
            UnreadableFile: damaged, without sound, or too long.
            CourseError: what listens is not installed; the text says what to do.
        """
        ...


def is_recording(path: Path) -> bool:
    """Whether the file's ending says so."""
    return path.suffix.lower() in RECORDINGS


Hear = Callable[[Path], Iterable[Spoken]]
"""A transcriber that somebody has told whom to report to."""


def load_recording(hear: Hear | None, path: Path, _: bytes, source: str) -> Document:
    """Make a document of what is said in a recording; what was hardly understood is left out and reported.

    Args:
        hear: listens to the file; None where nothing can.
        path: an existing file; its bytes are too many to be handed over.
        source: identifies the document across versions.

    Raises:
        UnreadableFile: damaged, too long, without (intelligible) speech, or nothing here can listen.
    """
    if hear is None:
        raise UnreadableFile(f"{path.name} is a recording, which nothing listens to here.", "Use: lectern ingest")
    with path.open("rb") as file:
        content_hash = file_digest(file, "sha256").hexdigest()
    builder = TextBuilder()
    builder.add("heading", pretty(path.stem), level=1)
    clear = []
    try:
        for spoken in hear(path):
            if not spoken.clear:
                builder.hide(spoken.text, f"{UNCLEAR}, at {clock(spoken.start_s)}")
            elif any(char.isalnum() for char in spoken.text):
                clear.append(spoken)
    except UnreadableFile:
        raise
    except CourseError as error:
        raise UnreadableFile(f"{path.name} cannot be listened to: {error.problem}", error.remedy) from error
    for paragraph in paragraphs(clear):
        builder.add("heading", clock(paragraph[0].start_s), level=2)
        builder.add("text", " ".join(spoken.text.strip() for spoken in paragraph))
    document = builder.document(path, b"", source)
    if not clear:
        problem = "can hardly be understood" if document.hidden else "has no speech in it"
        raise UnreadableFile(f"{path.name} {problem}.", "Leave it out, or give a better recording.")
    return replace(document, content_hash=content_hash)


def paragraphs(segments: Iterable[Spoken]) -> Iterator[list[Spoken]]:
    """Gather segments into paragraphs of about a minute, ended at a sentence or a pause where there is one."""
    paragraph: list[Spoken] = []
    for spoken in segments:
        if paragraph and _ends(paragraph, spoken):
            yield paragraph
            paragraph = []
        paragraph.append(spoken)
    if paragraph:
        yield paragraph


def _ends(paragraph: list[Spoken], following: Spoken) -> bool:
    begin, last = paragraph[0].start_s, paragraph[-1]
    if following.end_s - begin > _LONGEST:
        return True
    enough = _SHORT if following.start_s - last.end_s >= _PAUSE else _ENOUGH
    return last.end_s - begin >= enough and last.text.rstrip().rstrip(_CLOSING).endswith(_SENTENCE_ENDS)


def clock(seconds: float) -> str:
    """Time in a recording as players show it: 0:07, 12:34, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
