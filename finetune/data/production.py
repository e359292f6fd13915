"""What the chain would put to the model, and what it would let through of an answer: asked of the chain itself.

A model that writes what it is given answers in place of the real one. So the prompt of every row is the prompt of production,
and an answer is kept only if every sentence of it would be shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from assistant.answer import Answer, citation_json
from assistant.chain import CourseChain
from assistant.events import Exchange, Sentence, Turn
from assistant.settings import Settings
from course_guard.grounding import Verifier
from course_guard.verifier import make_verifier
from finetune.data.reciter import Reciter
from finetune.rows import Message
from knowledge.embedding import Embedder, Vectors
from knowledge.evidence import EvidencePlanner, Excerpt, Plan
from knowledge.index import CourseIndex
from knowledge.passage import Passage
from knowledge.retrieval import CourseRetriever, Retrieved

_EVERYTHING = 200  # passages: more than a search finds
_BARELY = 0.5  # support by overlap from which a sentence is still too near to be called unsupported; 0.62 counts as supported
_ROLES = {SystemMessage: "system", HumanMessage: "user", AIMessage: "assistant"}


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands around a question.

    Attributes:
        cold: whether the model gets the best sentences, as while a section has not been read ahead, or a whole section.
        hidden: ids of passages that the course is without.
        lessons: sources of documents that it is without.
        planted: put among the evidence, at `place` (0 to 1, the beginning to the end).
        doubtful: count as unsupported only what is clearly so.
        any_question: ask the model even where the search finds that the course does not cover the question.
    """

    cold: bool = True
    hidden: frozenset[str] = frozenset()
    lessons: frozenset[str] = frozenset()
    planted: Excerpt | None = None
    place: float = 1.0
    doubtful: bool = False
    any_question: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """What the chain made of a written answer.

    Attributes:
        prompt: what the model was asked; empty if it was not asked at all.
        answer: the gathered events.
    """

    prompt: tuple[Message, ...]
    answer: Answer

    @property
    def sentences(self) -> list[Sentence]:
        """What would be shown."""
        return self.answer.sentences

    @property
    def is_grounded(self) -> bool:
        """Whether something would be shown, and nothing left out."""
        return bool(self.prompt and self.sentences) and not self.answer.dropped

    @property
    def is_read(self) -> bool:
        """Whether the model has read what supports the answer: the check knows whole passages, a prompt may have parts."""
        if not self.prompt:
            return False
        read = self.read
        return all(sentence.citations[0].quote in read for sentence in self.sentences)

    @property
    def read(self) -> str:
        """What the model is given to read, with rules and question."""
        return "\n".join((self.prompt[0]["content"], self.prompt[-1]["content"])) if self.prompt else ""

    @property
    def cited(self) -> frozenset[str]:
        """Ids of the cited passages."""
        return frozenset(citation.passage.id for sentence in self.sentences for citation in sentence.citations)

    @property
    def evidence(self) -> tuple[dict[str, Any], ...]:
        """For a row: each sentence with its support and quote, then what was left out with the reason."""
        shown = [
            {
                "sentence": sentence.text,
                "support": round(sentence.support, 3),
                "quote": sentence.citations[0].quote,
                "source": sentence.citations[0].passage.source,
                "heading": citation_json(sentence.citations[0])["heading"],
            }
            for sentence in self.sentences
        ]
        return (*shown, *({"sentence": dropped.text, "left_out": dropped.reason} for dropped in self.answer.dropped))


class Production:
    """The chain of the settings with everything but its model.

    Args:
        index: of the course; what its embedder embeds is remembered while this exists.
        settings: of the assistant.
    """

    def __init__(self, index: CourseIndex, settings: Settings) -> None:
        self.index, self.settings = index, settings
        self.embedder = _Remembering(index.embedder, _sentence_vectors(index))
        index.embedder = self.embedder
        self._found: dict[str, Retrieved] = {}
        self._verifier = make_verifier(settings.grounding, self.embedder, index.sentences)
        strict = settings.grounding
        if strict.verifier == "overlap" and strict.threshold is None:
            strict = strict.model_copy(update={"threshold": _BARELY})
        self._doubter = make_verifier(strict, self.embedder, index.sentences)

    def judge(self, question: str, text: str, scene: Scene, earlier: Sequence[Exchange] = ()) -> Judged:
        """Ask the question, let `text` be what the model writes, and see what comes of it."""
        answers = self.settings.answer
        model = Reciter(text=text)
        retriever = _Retriever(
            index=self.index,
            settings=self.settings.retrieval,
            k=self.settings.evidence.candidates,
            hidden=scene.hidden,
            lessons=scene.lessons,
            any_question=scene.any_question,
            known=self._found,
        )
        planner = _Planner(self.index, self.settings, scene)
        verifier: Verifier = self._doubter if scene.doubtful else self._verifier
        chain = CourseChain(retriever, planner, model, verifier, None, answers, "", _Sections(scene.cold))
        answer = chain.invoke(Turn(question, earlier=tuple(earlier)))
        return Judged(plain_messages(model.asked), answer)


def _sentence_vectors(index: CourseIndex) -> dict[str, Vectors]:
    """The stored vectors of the course's sentences, by text: most answers are made of them."""
    passages = {passage.id: passage.text for passage in index.catalogue.all_passages()}
    return {
        passages[id_][start:end]: vector.astype("float32")
        for id_, stored in index.sentences(list(passages)).items()
        for (start, end), vector in zip(stored.spans, stored.vectors, strict=True)
    }


def plain_messages(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """Messages with role and content; the blocks of a content are one text, as a chat template makes of them."""
    return tuple({"role": _ROLES[type(message)], "content": _text(message)} for message in messages)


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(block if isinstance(block, str) else str(block["text"]) for block in message.content)


class _Remembering:
    """An embedder that embeds each text once, and no text that `known` has."""

    def __init__(self, embedder: Embedder, known: dict[str, Vectors]) -> None:
        self._embedder = embedder
        self.identity = embedder.identity
        self._known = known

    def embed(self, texts: Sequence[str]) -> Vectors:
        import numpy as np

        if missing := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known.update(zip(missing, self._embedder.embed(missing), strict=True))
        if not texts:
            return self._embedder.embed(texts)
        return cast("Vectors", np.stack([self._known[text] for text in texts]))

    def count_tokens(self, text: str) -> int:
        return self._embedder.count_tokens(text)


class _Retriever(CourseRetriever):
    """Finds as the real one, relevance and all, but for what is hidden; so distractors are as hard as they can be."""

    hidden: frozenset[str] = frozenset()
    lessons: frozenset[str] = frozenset()
    any_question: bool = False
    known: Any = None  # dict of what was searched for before; pydantic would copy it if it knew

    def retrieve(self, question: str, k: int | None = None) -> Retrieved:
        if question not in self.known:
            self.known[question] = super().retrieve(question, _EVERYTHING)
        found: Retrieved = self.known[question]
        left = tuple(item for item in found.passages if not self._is_hidden(item.passage))
        covered = bool(left) and (found.covered or self.any_question)
        return replace(found, passages=left[: k or self.k], covered=covered)

    def _is_hidden(self, passage: Passage) -> bool:
        return passage.id in self.hidden or passage.source in self.lessons


class _Planner(EvidencePlanner):
    """Plans as the real one, without the hidden passages and with the planted one."""

    def __init__(self, index: CourseIndex, settings: Settings, scene: Scene) -> None:
        super().__init__(index, settings.evidence)
        self._scene = scene

    def plan(self, question: str, found: Retrieved) -> Plan | None:
        plan = super().plan(question, found)
        if plan is None:
            return None
        section = tuple(passage for passage in plan.section if passage.id not in self._scene.hidden)
        extras, pruned = plan.extras, plan.pruned
        if planted := self._scene.planted:
            extras, pruned = (_inserted(excerpts, planted, self._scene.place) for excerpts in (extras, pruned))
        return replace(plan, section=section, extras=extras, pruned=pruned)


def _inserted(excerpts: tuple[Excerpt, ...], one: Excerpt, place: float) -> tuple[Excerpt, ...]:
    at = round(place * len(excerpts))
    return (*excerpts[:at], one, *excerpts[at:])


@dataclass(frozen=True, slots=True)
class _Sections:
    """Every section has been read ahead, or none."""

    cold: bool

    def is_ready(self, section_id: str, passages: tuple[Passage, ...]) -> bool:
        return not self.cold

    def want(self, section_id: str) -> None:
        """There is nobody who could read it."""

    def further(self, plan: Plan, found: Retrieved) -> Sequence[tuple[str, tuple[Passage, ...]]]:
        return ()
