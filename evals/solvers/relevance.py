"""How likely the course covers a question: the score of the topic rail. The model is not asked."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from evals.solvers.retrieval import RetrievalSolver
from evals.task import Output, Sample


class RelevanceSolver(RetrievalSolver):
    """The output is {"relevance": 0 to 1, "covered": bool}, the decision before any passage is read."""

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        return {**super().identity, "solver": "relevance"}

    def solve(self, sample: Sample) -> Output:
        found = self.retriever.retrieve(sample.input["question"])
        return {"relevance": round(found.relevance, 4), "covered": found.covered}
