"""Everything that one process needs to answer, built once and lazily."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache

from assistant.adapters import PROMOTED, Adapter, Choice, chosen_adapter, label, pointer_state, promoted_adapter
from assistant.chain import CourseChain
from assistant.course import open_index
from assistant.embedders import guards_embedder
from assistant.events import Notice, Turn, TurnEvent
from assistant.guards import make_guards
from assistant.history import History
from assistant.llm.backend import CourseModel, make_model
from assistant.models import OPENAI, manifest, state
from assistant.prompts import answer_prompt
from assistant.settings import Settings, load_settings
from assistant.warming import Warmer, make_warmer
from course_guard.verifier import make_verifier
from knowledge.errors import CourseError
from knowledge.evidence import EvidencePlanner
from knowledge.index import CourseIndex
from knowledge.retrieval import CourseRetriever

_STARTERS = 4
_PATIENCE_S = 60.0  # longest wait of a turn for those under way, before another adapter is put on


@dataclass(slots=True)
class Runtime:
    """The parts of a running assistant; `stream` answers with the chosen model and the promoted adapter.

    Attributes:
        warmer: reads ahead; None where the model keeps no state.
        adapter: that is on the model.
    """

    settings: Settings
    index: CourseIndex
    history: History
    chain: CourseChain
    warmer: Warmer | None
    adapter: Adapter | None = None
    _notice: str = ""  # for the reader of the next turn
    _pointer: tuple[int, int] | None = None  # as it was when it was last followed
    _answering: int = 0
    _reads_ahead: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def name(self) -> str:
        """Of what answers, as page and history show it."""
        return label(self.settings.model.name, self.adapter)

    def starters(self) -> list[str]:
        """A few questions that this course answers, spread over it."""
        titles = list(dict.fromkeys(info.title for info in self.index.sources()))
        step = max(1, len(titles) // _STARTERS)
        return [_question_about(title) for title in titles[::step][:_STARTERS]]

    def read_ahead(self) -> None:
        """Let the model read the course from now on while nobody asks, unless the settings forbid it."""
        self._reads_ahead = self.settings.engine.warm
        if self._reads_ahead and self.warmer:
            self.warmer.start()

    # Answering

    def stream(self, turn: Turn) -> Iterator[TurnEvent]:
        """A turn's events, as CourseChain.stream gives them; an adapter promoted or taken back since counts from here on."""
        chain, notices = self._begin()
        try:
            yield from notices
            yield from chain.stream(turn)
        finally:
            self._end()

    async def astream(self, turn: Turn) -> AsyncIterator[TurnEvent]:
        """As `stream`, with the work in a thread of its own; cancelling it stops the model."""
        begun = asyncio.ensure_future(asyncio.to_thread(self._begin))
        try:
            chain, notices = await asyncio.shield(begun)
        except asyncio.CancelledError:
            begun.add_done_callback(lambda _: self._end())
            raise
        try:
            for notice in notices:
                yield notice
            async with aclosing(chain.astream(turn)) as events:  # type: ignore[type-var]  # an iterator by its annotation only
                async for event in events:
                    yield event
        finally:
            self._end()

    def _begin(self) -> tuple[CourseChain, list[Notice]]:
        """What this turn is answered with. Between turns only, the model follows the pointer."""
        with self._changed:
            patience = time.monotonic() + _PATIENCE_S
            while self._moved() and self._answering and (left := patience - time.monotonic()) > 0:
                self._changed.wait(left)
            if self._moved() and not self._answering:
                self._follow()
            self._answering += 1
            notices, self._notice = [Notice(self._notice)] if self._notice else [], ""
            return self.chain, notices

    def _end(self) -> None:
        with self._changed:
            self._answering -= 1
            self._changed.notify_all()

    # Models

    def models(self) -> list[str]:
        """Chat models whose weights are on this machine, the chosen one first."""
        chosen = self.settings.model.name
        return [chosen, *(name for name in chat_models_here() if name != chosen)]

    def choose_model(self, name: str) -> None:
        """Answer with another model from now on.

        Raises:
            CourseError: its weights are not here, or the adapter that the settings name is not one of it.
        """
        with self._changed:
            if name != self.settings.model.name:
                chosen = self.settings.model.model_copy(update={"name": name})
                settings = self.settings.model_copy(update={"model": chosen})
                self._answer_with(settings, _choice(settings))

    def load(self) -> None:
        """Read the weights now; a promoted adapter that the engine refuses is given up, and the next reader told.

        One token is generated: that touches the weights, which are mapped rather than read, and leaves the rules of the prompt,
        with which every prompt begins, in the engine. A server's model is left alone: it would be asked for nothing.

        Raises:
            CourseError: the model cannot be loaded.
        """
        name = self.settings.model.name
        if name.startswith(OPENAI):
            return
        try:
            _model(self.settings, self.adapter).invoke(answer_prompt(None, True, (), "Ready?"), max_tokens=1)
        except CourseError as error:
            if self.adapter is None or self.settings.model.adapter != PROMOTED:
                raise
            with self._changed:
                self._answer_with(self.settings, Choice(None, f"{error} Answers come from {name} alone."))
            self.load()

    def _moved(self) -> bool:
        return self.settings.model.adapter == PROMOTED and pointer_state(self.settings) != self._pointer

    def _follow(self) -> None:
        """Put the promoted adapter on the model; if that fails, it goes on with what it has, and the reader is told."""
        self._pointer = pointer_state(self.settings)
        choice = promoted_adapter(self.settings)
        if _same(choice.adapter, self.adapter):
            self._notice = choice.notice
            return
        try:
            self._answer_with(self.settings, choice)
        except CourseError as error:
            self._notice = f"{error} Answers still come from {self.name}."

    def _answer_with(self, settings: Settings, choice: Choice) -> None:
        """Take another model or adapter; nothing has changed if that fails."""
        model = _model(settings, choice.adapter)
        if self.warmer:
            self.warmer.stop()
        self.warmer = make_warmer(model, self.index, self.history)
        planner = EvidencePlanner(self.index, settings.evidence, model.count_tokens)
        self.chain = self.chain.with_model(model, label(settings.model.name, choice.adapter), planner, self.warmer)
        self.settings, self.adapter, self._notice = settings, choice.adapter, choice.notice
        if self._reads_ahead and self.warmer:
            self.warmer.start()


def chat_models_here() -> list[str]:
    """Names of the chat models in the cache."""
    return [name for name, spec in manifest().items() if spec.task == "chat" and state(spec) == "cached"]


def _question_about(title: str) -> str:
    if title.endswith("?"):
        return title
    plain_word = title.split()[0][1:].islower()  # not "BERT", "LoRA" or "T5"
    return f"What should I know about {title[0].lower() + title[1:] if plain_word else title}?"


def _same(one: Adapter | None, other: Adapter | None) -> bool:
    return (one and (one.id, one.sha256)) == (other and (other.id, other.sha256))


def _choice(settings: Settings) -> Choice:
    return promoted_adapter(settings) if settings.model.adapter == PROMOTED else Choice(chosen_adapter(settings))


def _model(settings: Settings, adapter: Adapter | None) -> CourseModel:
    return make_model(settings, settings.model.name, adapter.path if adapter else None)


def chat_model(settings: Settings, name: str | None = None) -> CourseModel:
    """The chat model of the settings or another one, with its adapter; its weights are read at first use and kept.

    Raises:
        MissingModel: its weights are not here.
        BadAdapter: the settings name an adapter that cannot be used.
    """
    adapter = chosen_adapter(settings, name)
    return make_model(settings, name, adapter.path if adapter else None)


def build(settings: Settings) -> Runtime:
    """Put the parts together; nothing heavy is loaded before it is needed.

    Raises:
        CourseError: weights are missing, the index cannot be opened, or the settings name an adapter that cannot be used.
    """
    pointer = pointer_state(settings)  # before it is read: who comes between is followed later
    index = open_index(settings)
    history = History(settings.history_file)
    choice = _choice(settings)
    try:
        model = _model(settings, choice.adapter)
    except CourseError as error:
        if choice.adapter is None or settings.model.adapter != PROMOTED:
            raise
        choice = Choice(None, f"{error} Answers come from {settings.model.name} alone.")
        model = _model(settings, None)
    warmer = make_warmer(model, index, history)
    chain = CourseChain(
        retriever=CourseRetriever(index=index, settings=settings.retrieval, k=settings.evidence.candidates),
        planner=EvidencePlanner(index, settings.evidence, model.count_tokens),
        model=model,
        verifier=make_verifier(settings.grounding, index.embedder, index.sentences, model),
        history=history,
        settings=settings.answer,
        model_name=label(settings.model.name, choice.adapter),
        sections=warmer,
        guards=make_guards(settings.policy_file, guards_embedder(settings, index.embedder)),
    )
    return Runtime(settings, index, history, chain, warmer, choice.adapter, choice.notice, pointer)


_building = threading.Lock()


@cache
def _shared() -> Runtime:
    return build(load_settings())


def runtime() -> Runtime:
    """The Runtime of this process."""
    with _building:
        return _shared()


def warm(ready: Runtime) -> None:
    """Load weights and index now, so that the first question does not wait for them."""
    ready.index.dense(ready.index.embedder.embed(["warm up"])[0], k=1)
    ready.index.lexical()
    ready.chain.warm_guards()
    ready.load()
