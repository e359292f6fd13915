"""The whole chain on the user's course: what somebody who asks would get.

The input of a sample is {"question": ...}. A turn of a conversation also has "earlier", the questions before it: they are
answered first, so the assistant goes on from what it really said. "planted" are texts that the model reads as further passages.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from assistant.answer import collect
from assistant.chain import CourseChain
from assistant.events import Exchange, Turn
from assistant.prompts import SECTION_KEY
from evals.environment import Environment
from evals.solvers import identity
from evals.solvers.model import RememberingModel, eval_model
from evals.solvers.planting import PlantingPlanner
from evals.task import Output, Sample
from knowledge.errors import CourseError
from knowledge.retrieval import CourseRetriever

Questions = tuple[str, ...]


class AssistantSolver:
    """Answers as `lectern ask` does. Saved states of sections are used, none are made, and the history is left alone.

    The output is `Answer.as_json()` with "relevance", the retrieval's 0 to 1 for what was searched for, whatever the threshold.
    Timings of an answer whose words came from the cache are None.

    Args:
        environment: of the run.
        always_ask: ask the model whatever the search says, and so see what it and the check of its sentences refuse alone.

    Raises:
        CourseError: its course is empty.
    """

    def __init__(self, environment: Environment, *, always_ask: bool = False) -> None:
        if not environment.runtime.index.sources():
            raise CourseError("The course is empty.", "Add material: lectern ingest --starter, or lectern ingest PATH...")
        self._runtime, self._cache = environment.runtime, environment.cache
        self._always_ask = always_ask
        self._conversations: dict[Questions, tuple[Exchange, ...]] = {(): ()}

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """Names the sections that have been read, too: of others the model sees only the best sentences."""
        index, settings = self._runtime.index, self._runtime.settings
        store = getattr(eval_model(settings), "saved_states", None)  # only llama.cpp's models have them
        labels = {state.label for state in store.saved()} if store else set()
        read = sorted(section.id for section in index.sections() if f"{SECTION_KEY}{section.id}" in labels)
        return {
            "solver": "assistant",
            **({"always ask": True} if self._always_ask else {}),
            **identity.of_assistant(settings),
            "index": identity.of_index(index),
            "sections read": read,
        }

    @cached_property
    def _model(self) -> RememberingModel:
        settings = self._runtime.settings
        key = identity.of_model_calls(settings)
        return RememberingModel(model=eval_model(settings), remembered=self._cache, key=key)

    def solve(self, sample: Sample) -> Output:
        earlier = tuple(sample.input.get("earlier", ()))
        return self._answer(sample.input["question"], earlier, tuple(sample.input.get("planted", ())))

    def close(self) -> None:
        """Nothing: index and model are the runtime's."""

    def _answer(self, question: str, earlier: Questions, planted: tuple[str, ...] = ()) -> Output:
        for number, before in enumerate(earlier):
            if earlier[: number + 1] not in self._conversations:
                self._answer(before, earlier[:number])
        said = self._conversations[earlier]
        output, exchange = answered(self._chain(planted), self._model, Turn(question, earlier=said))
        if not planted:
            self._conversations[(*earlier, question)] = (*said, exchange) if exchange else said
        return output

    def _chain(self, planted: tuple[str, ...]) -> CourseChain:
        chain, warmer = self._runtime.chain, self._runtime.warmer
        planner = PlantingPlanner(chain.planner, planted, self._runtime.index.embedder.count_tokens) if planted else None
        # The reader's own history is not the place for these.
        asked = chain.without_history().with_model(self._model, self._runtime.name, planner, warmer)
        if self._always_ask:
            lenient = chain.retriever.settings.model_copy(update={"threshold": 0.0})
            asked.retriever = chain.retriever.model_copy(update={"settings": lenient})
        return asked


def answered(chain: CourseChain, model: RememberingModel, turn: Turn) -> tuple[Output, Exchange | None]:
    """One turn as the output of a solver, and what the next turn of its conversation goes on from.

    Args:
        chain: answers with `model`; keeps no history.
        model: says whether it was really asked.
        turn: the question, after what it goes on from.
    """
    model.forget_last()
    answer = collect(turn, chain.stream(turn))
    output = answer.as_json()
    if model.replayed:  # the search was done again, but the words were not
        output["timings"] = dict.fromkeys(output["timings"]) | {"evidence_ms": output["timings"]["evidence_ms"]}
    output["relevance"] = round(relevance_of(chain.retriever, output["standalone"]), 4)
    return output, answer.done.exchange if answer.done else None


def relevance_of(retriever: CourseRetriever, searched: str) -> float:
    """How likely the course covers what was searched for: 0 to 1, which the threshold of refusal is compared with."""
    return retriever.retrieve(searched).relevance
