"""What `lectern calibrate` has found out about a course: calibration.json beside the index.

It moves the relevance of every question by one number, so that 0.5 stays the threshold, whatever the course.
"""

import logging
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from knowledge.settings import StrictModel

FILE = "calibration.json"
_KEPT_IDS = 1000  # of passages
_ID_LENGTH = 12


class Point(StrictModel):
    """What one threshold of relevance costs: of made questions, the covered ones refused, and others let through, 0 to 1."""

    threshold: float
    false_refusals: float
    let_through: float


class Calibration(StrictModel):
    """One course's calibration.

    Attributes:
        weights: relevance weights that `shift` is meant for; with others it says nothing.
        embedder: identity of the index's embedder.
        passages: how many there were.
        sample: the beginnings of up to 1,000 of their ids, the smallest; ids are hashes, so that is a random sample.
        generation: of the catalogue.
        made: date and time, UTC.
        questions: how many were made.
        target: share of covered questions that may be refused.
        shift: added to the logit of relevance.
        chosen: the threshold 0.5 after the shift.
        before: the threshold 0.5 without it.
        curve: other thresholds after the shift, rising.
    """

    weights: tuple[float, ...]
    embedder: str
    passages: int
    sample: tuple[str, ...]
    generation: int
    made: str
    questions: int
    target: float = Field(gt=0, lt=1)
    shift: float
    chosen: Point
    before: Point
    curve: tuple[Point, ...]

    def changed(self, passage_ids: Sequence[str]) -> float:
        """Share of passages, 0 to 1, that were added or removed since: one minus the Jaccard similarity, from the samples."""
        now, then = set(sample_of(passage_ids)), set(self.sample)
        either = sorted(now | then)[:_KEPT_IDS]
        return 1.0 - sum(id_ in now and id_ in then for id_ in either) / len(either) if either else 0.0


def sample_of(passage_ids: Sequence[str]) -> tuple[str, ...]:
    """The bottom-k sketch of ids (Broder, 1997)."""
    return tuple(sorted(id_[:_ID_LENGTH] for id_ in passage_ids)[:_KEPT_IDS])


def read(folder: Path, embedder: str, weights: Sequence[float]) -> Calibration | None:
    """The calibration of the index in a folder; None if there is none, or none for this embedder and these weights."""
    path = folder / FILE
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    found = _parsed(path, status.st_mtime_ns, status.st_size)
    return found if found and (found.embedder, found.weights) == (embedder, tuple(weights)) else None


@lru_cache(maxsize=8)
def _parsed(path: Path, modified: int, size: int) -> Calibration | None:
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        logging.getLogger(__name__).warning("%s is not used: %s. Mend it with: lectern calibrate", path, error)
        return None


def write(folder: Path, calibration: Calibration) -> None:
    """Replace the calibration of the index in a folder, in one step."""
    part = folder / f"{FILE}.{os.getpid()}"
    part.write_text(calibration.model_dump_json(indent=1), encoding="utf-8")
    part.replace(folder / FILE)
