"""Runs the judge of the run over the sentences of samples."""

from collections.abc import Mapping
from typing import Any

from evals.environment import Environment
from evals.task import Output, Sample


class JudgeSolver:
    """The output is {"support": [...], "threshold": ...}: a probability for each sentence, and the judge's threshold."""

    def __init__(self, environment: Environment) -> None:
        self._judge = environment.judge

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"solver": "judge", "judge": self._judge.identity, "threshold": self._judge.threshold}

    def solve(self, sample: Sample) -> Output:
        seen = sample.input
        support = self._judge.support(seen["sentences"], seen["passages"], seen["question"])
        return {"support": support, "threshold": self._judge.threshold}

    def close(self) -> None:
        """Nothing: the judge is the environment's."""
