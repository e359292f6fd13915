"""What was asked aloud, kept as sound where voice.keep_audio wishes it: a file for each turn, named after it.

So whoever deletes a turn knows its file. What led to no turn is not kept. Light to import: `lectern history` does.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from knowledge.errors import CourseError

if TYPE_CHECKING:
    from assistant.voice.recognise import Samples


def sounds(data_dir: Path) -> Path:
    """The folder of the sounds."""
    return data_dir / "spoken"


def keep(folder: Path, turn_id: str, samples: "Samples") -> None:
    """Write what was asked in a turn; raises CourseError where it cannot be written."""
    from assistant.voice.audio import write_wav
    from assistant.voice.recognise import HEARD_RATE

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_wav(folder / f"{turn_id}.wav", samples, HEARD_RATE)


def forget(folder: Path, turn_ids: Iterable[str] | None = None) -> None:
    """Delete the sounds of turns, or all (None); turns without one do not matter.

    Raises:
        CourseError: a sound is still there.
    """
    paths = folder.glob("*.wav") if turn_ids is None else (folder / f"{turn_id}.wav" for turn_id in turn_ids)
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CourseError(f"{path} cannot be deleted: {error.strerror}.", "Delete it yourself, then try again.") from error
