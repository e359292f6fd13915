"""What is found and what is chosen from it, without a chat model.

The input of a sample is {"question": ...} and may have "earlier", the questions before it.
"""

import ctypes
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any

from assistant.answer import ranked_json
from assistant.events import Exchange
from assistant.llm.backend import make_model
from assistant.memory import searched_for
from assistant.models import HF, OPENAI, model_path
from assistant.settings import Settings
from evals.environment import Environment
from evals.running.cache import code_version
from evals.solvers.identity import of_index
from evals.task import Output, Sample
from knowledge.evidence import EvidencePlanner, Excerpt, Plan, TokenCounter
from knowledge.retrieval import CourseRetriever


class RetrievalSolver:
    """The output has standalone (what was searched for), relevance, covered, passages (best first) and plan.

    A plan has section, extras and pruned, each a list of {passage, source, text}, where text is what the model would read;
    None if nothing was found. It is made whether the question counts as covered or not. For a follow-up, every earlier
    question counts as answered.

    Args:
        environment: of the run; its chat model lends its tokenizer only.
    """

    def __init__(self, environment: Environment) -> None:
        self._settings, self._index = environment.settings, environment.runtime.index

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        settings = self._settings.model_dump(mode="json", include={"retrieval", "evidence"})
        code = code_version("knowledge", "assistant", "evals.solvers")
        tokenizer = self._settings.model.name
        return {
            "solver": "retrieval",
            "code": code,
            "settings": settings,
            "tokenizer": tokenizer,
            "index": of_index(self._index),
        }

    @cached_property
    def retriever(self) -> CourseRetriever:
        """The one of the chain."""
        return CourseRetriever(index=self._index, settings=self._settings.retrieval, k=self._settings.evidence.candidates)

    @cached_property
    def _planner(self) -> EvidencePlanner:
        return EvidencePlanner(self._index, self._settings.evidence, _counter(self._settings))

    def solve(self, sample: Sample) -> Output:
        earlier = [Exchange(question, "") for question in sample.input.get("earlier", ())]
        searched = searched_for(sample.input["question"], earlier)
        found = self.retriever.retrieve(searched)
        plan = self._planner.plan(searched, found)
        return {
            "standalone": searched,
            "relevance": round(found.relevance, 4),
            "covered": found.covered,
            "passages": [ranked_json(ranked) for ranked in found.passages],
            "plan": _plan_json(plan) if plan else None,
        }

    def close(self) -> None:
        """Nothing: the index is the runtime's."""


def _counter(settings: Settings) -> TokenCounter:
    name = settings.model.name
    return make_model(settings).count_tokens if name.startswith((HF, OPENAI)) else token_counter(name)


@cache  # llama.cpp keeps a bare pointer to the callback
def token_counter(model: str) -> TokenCounter:
    """Counts as a chat model does, without its weights.

    Raises:
        MissingModel: its file is not here.
    """
    from llama_cpp import Llama, llama_log_callback, llama_log_set

    quiet = llama_log_callback(lambda level, text, data: None)  # it warns that a vocabulary alone has no context
    llama_log_set(quiet, ctypes.c_void_p())
    vocabulary = Llama(str(model_path(model)), vocab_only=True, verbose=False)

    def count(text: str, _quiet: object = quiet) -> int:
        return len(vocabulary.tokenize(text.encode(), add_bos=False))

    return count


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "section": [{"passage": p.id, "source": p.source, "text": p.text} for p in plan.section],
        "extras": [_excerpt_json(excerpt) for excerpt in plan.extras],
        "pruned": [_excerpt_json(excerpt) for excerpt in plan.pruned],
    }


def _excerpt_json(excerpt: Excerpt) -> dict[str, Any]:
    return {"passage": excerpt.passage.id, "source": excerpt.passage.source, "text": excerpt.text}
