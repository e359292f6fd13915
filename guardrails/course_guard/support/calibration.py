"""From features to a probability: logistic regression, its weights in calibration.json, where anybody can read them."""

from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, ValidationError, model_validator

from course_guard.support.features import Floats, row
from knowledge.errors import CourseError
from knowledge.settings import StrictModel

FILE = Path(__file__).with_name("calibration.json")


class Calibrator(StrictModel):
    """Probability of support = 1 / (1 + exp(-(bias + sum of weight * (value - mean) / scale))).

    Attributes:
        names: the features, in the order of the numbers.
        threshold: from this probability on, a sentence counts as supported; fitted on dev halves only.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[Annotated[float, Field(gt=0)], ...]
    weights: tuple[float, ...]
    bias: float
    threshold: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _complete(self) -> "Calibrator":
        if {len(self.mean), len(self.scale), len(self.weights)} != {len(self.names)}:
            raise ValueError("names, mean, scale and weights differ in length")
        return self

    def probability(self, values: dict[str, float]) -> float:
        """Probability that a claim with these features is supported."""
        mean, scale, weights = self._numbers
        score = self.bias + float(weights @ ((row(values, self.names) - mean) / scale))
        return float(1 / (1 + np.exp(-np.clip(score, -30, 30))))

    @cached_property
    def _numbers(self) -> tuple[Floats, Floats, Floats]:
        return np.array(self.mean), np.array(self.scale), np.array(self.weights)


class Calibration(StrictModel):
    """Two calibrators: for use with the encoder, and without it.

    Attributes:
        encoder: identity of the encoder that the first one was fitted with, or empty if there was none.
        made: what it was fitted on and how well that went; for people.
    """

    encoder: str = ""
    with_encoder: Calibrator | None = None
    without_encoder: Calibrator
    made: dict[str, object] = {}


def read_calibration(path: Path = FILE) -> Calibration:
    """The calibration in a file.

    Raises:
        CourseError: there is none, or it is broken.
    """
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CourseError(f"{path} holds no calibration: {error}", "Reinstall Lectern, or run calibrate.py anew.") from error
