"""The assistant on passages that a public set gives: the same prompt, engine, sentence check and events, without an index.

The input of a sample is {"question": ..., "passages": [texts]} and may have "earlier", a list of {"question", "answer"}, the
conversation before it. All passages are read, in their order, as one section of a course; the threshold of refusal is not
applied, but "relevance" is what it would be compared with.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any, cast

from assistant.chain import CourseChain
from assistant.events import Exchange, Turn
from assistant.models import model_path
from assistant.prompts import section_prompt
from assistant.settings import Settings
from course_guard.grounding import Verifier
from course_guard.verifier import make_verifier
from evals.environment import Environment
from evals.solvers import identity
from evals.solvers.assistant import answered
from evals.solvers.model import RememberingModel, eval_model
from evals.task import Output, Sample
from knowledge.embedding import Embedder, SentenceEmbedder
from knowledge.evidence import EvidencePlanner, Plan, TokenCounter
from knowledge.lexical import LexicalIndex
from knowledge.passage import Passage, RankedPassage
from knowledge.retrieval import CourseRetriever, Retrieved, relevance, signals

GIVEN = "given/"  # what the sources of such passages begin with
_TEMPLATE = 64  # tokens, and more than the chat template adds


class PassagesSolver:
    """Answers from the passages of each sample.

    The output is that of AssistantSolver: "sentences" is what was shown, "dropped" what the model wrote besides, "evidence" the
    passages that it read. Passages that do not fit into the context are left out from the end, and so not in the evidence.

    Args:
        environment: of the run; the user's course is not touched.
    """

    def __init__(self, environment: Environment) -> None:
        self._settings, self._cache = environment.settings, environment.cache

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        return {"solver": "passages", **identity.of_assistant(self._settings), "embedder": self._embedder.identity}

    @cached_property
    def _embedder(self) -> Embedder:
        return SentenceEmbedder(model_path(self._settings.embedder))

    @cached_property
    def _verifier(self) -> Verifier:
        model = eval_model(self._settings) if self._settings.grounding.verifier == "reread" else None
        return make_verifier(self._settings.grounding, self._embedder, model=model)

    @cached_property
    def _model(self) -> RememberingModel:
        key = identity.of_model_calls(self._settings)
        return RememberingModel(model=eval_model(self._settings), remembered=self._cache, key=key)

    def solve(self, sample: Sample) -> Output:
        question = sample.input["question"]
        passages = given_passages(sample.input["passages"], self._embedder.count_tokens)
        earlier = [Exchange(turn["question"], turn["answer"]) for turn in sample.input.get("earlier", ())]
        count = eval_model(self._settings).count_tokens
        planner = GivenPlanner(passages, count, _room(self._settings, question, earlier, count))
        retriever = cast(CourseRetriever, GivenRetriever(passages, self._embedder))
        name = self._settings.model.name
        chain = CourseChain(retriever, planner, self._model, self._verifier, None, self._settings.answer, name)
        output, _ = answered(chain, self._model, Turn(question, earlier=tuple(earlier)))
        return output

    def close(self) -> None:
        """Nothing: the model is shared with the other solvers of the process."""


class GivenRetriever:
    """Speaks CourseRetriever's `retrieve`: finds every passage, in the order given, whatever the question."""

    def __init__(self, passages: Sequence[Passage], embedder: Embedder) -> None:
        self._passages, self._embedder = passages, embedder

    def retrieve(self, question: str, k: int | None = None) -> Retrieved:
        """All passages; relevance as the course's retriever computes it, with rarities from these passages alone."""
        texts = [passage.searchable for passage in self._passages]
        vector, *vectors = self._embedder.embed([question, *texts])
        scored = zip(self._passages, vectors, strict=True)
        ranked = tuple(RankedPassage(p, 1.0 / place, float(v @ vector)) for place, (p, v) in enumerate(scored, start=1))
        seen = signals(question, ranked, LexicalIndex([p.id for p in self._passages], texts))
        return Retrieved(ranked, relevance(*seen), True, seen, vector)


class GivenPlanner(EvidencePlanner):
    """All passages as one section, as far as they fit.

    Args:
        passages: best first.
        count_tokens: of the model that reads them.
        room: tokens for them.
    """

    def __init__(self, passages: Sequence[Passage], count_tokens: TokenCounter, room: int) -> None:
        fitting = list(passages)
        while len(fitting) > 1 and _prompt_tokens(fitting, count_tokens) > room:
            fitting.pop()
        self._section = tuple(fitting)

    def plan(self, question: str, found: Retrieved) -> Plan | None:
        """None if there are no passages, which is refused as not covered."""
        return Plan(self._section[0].section_id, self._section, (), ()) if self._section else None


def given_passages(texts: Sequence[str], count_tokens: TokenCounter) -> tuple[Passage, ...]:
    """Texts as passages of one section, called Passage 1 and so on; each is a document of its own, so spans count in it."""
    section = sha256("\0".join(texts).encode()).hexdigest()[:20]
    return tuple(
        Passage(
            id=f"{section}-{number}",
            document_id=f"{section}-{number}",
            section_id=section,
            source=f"{GIVEN}{number}",
            title=f"Passage {number}",
            heading=(),
            page=None,
            cell=None,
            start=0,
            end=len(text),
            text=text,
            tokens=count_tokens(text),
        )
        for number, text in enumerate(texts, start=1)
    )


def _room(settings: Settings, question: str, earlier: Sequence[Exchange], count: TokenCounter) -> int:
    said = [text for exchange in earlier for text in (exchange.question, exchange.answer)]
    marks = _TEMPLATE * (1 + len(earlier))
    return settings.model.context - settings.answer.max_tokens - marks - sum(count(text) for text in (question, *said))


def _prompt_tokens(passages: Sequence[Passage], count: TokenCounter) -> int:
    blocks = section_prompt("", passages).content
    return sum(count(cast(dict[str, str], block)["text"]) for block in blocks)
