"""What `lectern eval run | quick | full` is asked for; light, because the command line imports it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from knowledge.errors import CourseError

Half = Literal["dev", "test", "all"]
OUT = Path("runs")


@dataclass(frozen=True, slots=True)
class Drawing:
    """Which samples of a task a run takes.

    Attributes:
        split: "all" takes both halves.
        limit: most samples of a task; None takes all.
        quick: take no more than each task's own number for a quick run, either.
        lessons: take only samples about these lessons, and those about none, such as questions that the course does not cover;
            None takes all.
    """

    split: Half = "test"
    limit: int | None = None
    quick: bool = False
    seed: int = 0
    lessons: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for on the command line.

    Attributes:
        tasks: names or patterns.
        drawing: which of their samples; with `quick`, tasks that have no number for it are left out.
        changes: of settings, as key=value.
        resume: the run to go on with, or None to begin one.
        out: folder of the runs.
        cases: a file of one's own to ask, in the place of the starter course's cases.
    """

    tasks: Sequence[str]
    drawing: Drawing
    model: str | None = None
    changes: Sequence[str] = ()
    data: Path | None = None
    name: str = ""
    judge: str = "overlap"
    resume: str | None = None
    out: Path = OUT
    no_cache: bool = False
    cases: Path | None = None


def read_lessons(path: Path | None) -> frozenset[str] | None:
    """The lessons of a file, one a line; None without a file.

    Raises:
        CourseError: it cannot be read, or is empty.
    """
    if path is None:
        return None
    remedy = "Write one a line, as `lectern sources list` names them."
    try:
        found = frozenset(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} cannot be read: {error}.", remedy) from error
    if not found:
        raise CourseError(f"{path} names no lesson.", remedy)
    return found
