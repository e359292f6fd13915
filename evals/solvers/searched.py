"""What would be searched for a question in a conversation. Needs no course and no model.

The input of a sample is {"question": ..., "earlier": [questions]}; every earlier question counts as answered.
"""

from collections.abc import Mapping
from typing import Any

from assistant.events import Exchange
from assistant.memory import searched_for
from evals.environment import Environment
from evals.running.cache import code_version
from evals.task import Output, Sample


class SearchedSolver:
    """The output is {"searched": text}."""

    def __init__(self, environment: Environment) -> None:
        """Takes the environment as every solver does."""

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"solver": "searched", "code": code_version("assistant", "knowledge")}

    def solve(self, sample: Sample) -> Output:
        earlier = [Exchange(question, "") for question in sample.input["earlier"]]
        return {"searched": searched_for(sample.input["question"], earlier)}

    def close(self) -> None:
        """Nothing to let go of."""
