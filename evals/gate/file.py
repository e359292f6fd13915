"""gate.toml: which figures must not fall, and by how much they may.

    [[figure]]
    task = "course/answers"
    metric = "gold_fact"
    margin = 0.05    # largest worsening that is tolerated, in the unit of the figure; the metric knows which way is worse
    floor = 0.7      # may not be lower, whatever the baseline is; `ceiling` likewise for figures that should be low
    least_n = 120    # fewer samples decide nothing

    rises = true     # in place of a margin: must get better, more than chance

A figure needs a margin, a floor or a ceiling, or it must rise. Times have no margin, only a ceiling: the baseline's machine was
another one.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evals.task import Metric
from knowledge.errors import CourseError

CONFIG = Path(__file__).parent / "gate.toml"


class Gated(BaseModel):
    """One [[figure]] of gate.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    metric: str
    least_n: int = Field(gt=0)
    margin: float | None = Field(None, gt=0)
    floor: float | None = None
    ceiling: float | None = None
    rises: bool = False

    @model_validator(mode="after")
    def _has_a_limit(self) -> "Gated":
        if self.margin is None and self.floor is None and self.ceiling is None and not self.rises:
            raise ValueError("needs a margin, a floor or a ceiling, or rises = true")
        if self.rises and self.margin is not None:
            raise ValueError("must rise, so it has no margin for a fall")
        return self

    @property
    def is_paired(self) -> bool:
        """Whether it is held against the baseline, and not only against fixed limits."""
        return self.margin is not None or self.rises


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    figure: tuple[Gated, ...] = Field(min_length=1)


def read_gate(path: Path, metrics: Mapping[str, Sequence[Metric]]) -> tuple[Gated, ...]:
    """The figures of gate.toml.

    Args:
        path: of the file.
        metrics: of each task, by its name.

    Raises:
        CourseError: it cannot be read, says something that it may not, or names a figure that there is not.
    """
    try:
        figures = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).figure
    except ValidationError as error:
        faults = "; ".join(f"{_place(fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise CourseError(f"{path} is wrong: {faults}.", "evals/gate/file.py says what it may hold.") from error
    except (OSError, ValueError) as error:
        raise CourseError(f"{path} cannot be read: {error}.", "evals/gate/file.py says what it may hold.") from error
    for gated in figures:
        known = {metric.name: metric for metric in metrics.get(gated.task, ())}
        if gated.metric not in known:
            there = f"{gated.task} has {', '.join(known)}" if known else "`lectern eval list` shows the tasks"
            raise CourseError(f"{path} names {gated.metric} of {gated.task}, which there is not.", f"Correct it: {there}.")
        if gated.is_paired and known[gated.metric].higher_is_better is None:
            raise CourseError(
                f"{path}: neither direction of {gated.metric} is better.", "Give it a floor or a ceiling instead."
            )
    return figures


def _place(location: tuple[int | str, ...]) -> str:
    """Such as "figure 2, margin"."""
    named = [f"figure {part + 1}" if isinstance(part, int) else part for part in location]
    return ", ".join(named[1:] if len(named) > 1 and named[0] == "figure" else named)
