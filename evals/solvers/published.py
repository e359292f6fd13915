"""Answers that somebody else's model gave, in the form of the assistant's output, so that the same scorers take both."""

from collections.abc import Mapping
from typing import Any

from assistant.answer import Answer
from assistant.events import Evidence, Sentence, Turn
from assistant.streaming import SentenceBuffer
from evals.environment import Environment
from evals.solvers.passages import given_passages
from evals.task import Output, Sample
from knowledge.passage import RankedPassage


class PublishedSolver:
    """The output is `Answer.as_json()` of the input's "answer" to its "question" from its "passages".

    Nothing is left out of it, nothing is cited, and support is 0, as nobody has checked it.
    """

    def __init__(self, environment: Environment) -> None:
        pass  # an answer that is there needs nothing

    identity: Mapping[str, Any] = {"solver": "published", "form": 1}

    def solve(self, sample: Sample) -> Output:
        question, buffer = sample.input["question"], SentenceBuffer()
        passages = given_passages(sample.input["passages"], lambda text: len(text.split()))
        ranked = tuple(RankedPassage(passage, 1.0 / place, 0.0) for place, passage in enumerate(passages, start=1))
        pieces = [*buffer.feed(sample.input["answer"]), *buffer.finish()]
        sentences = [Sentence(text, lead, (), 0.0) for lead, text in pieces]
        return Answer(Turn(question), Evidence(ranked, question, 0.0), sentences).as_json()

    def close(self) -> None:
        """Nothing is held."""
