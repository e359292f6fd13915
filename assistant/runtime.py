"""Everything that one process needs to answer, built once and lazily."""

import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from assistant.chain import CourseChain
from assistant.course import open_index
from assistant.guards import make_guards
from assistant.history import History
from assistant.llm.chat_llama import ChatLlama
from assistant.models import manifest, model_path, state
from assistant.prompts import answer_prompt
from assistant.settings import EngineSettings, Settings, load_settings, thread_count
from assistant.warming import Warmer
from course_guard.verifier import make_verifier
from knowledge.evidence import EvidencePlanner
from knowledge.index import CourseIndex
from knowledge.retrieval import CourseRetriever

_STARTERS = 4


@dataclass(slots=True)
class Runtime:
    """The parts of a running assistant; `chain` answers with the chosen model."""

    settings: Settings
    index: CourseIndex
    history: History
    chain: CourseChain
    warmer: Warmer
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def starters(self) -> list[str]:
        """A few questions that this course answers, spread over it."""
        titles = list(dict.fromkeys(info.title for info in self.index.sources()))
        step = max(1, len(titles) // _STARTERS)
        return [_question_about(title) for title in titles[::step][:_STARTERS]]

    def read_ahead(self) -> None:
        """Let the model read the course from now on while nobody asks, unless the settings forbid it."""
        if self.settings.engine.warm:
            self.warmer.start()

    def models(self) -> list[str]:
        """Chat models whose weights are on this machine, the chosen one first."""
        chosen = self.settings.model.name
        return [chosen, *(name for name in chat_models_here() if name != chosen)]

    def choose_model(self, name: str) -> None:
        """Answer with another model from now on.

        Raises:
            MissingModel: its weights are not here.
        """
        with self._lock:
            if name != self.settings.model.name:
                model = chat_model(self.settings, name)
                reads_ahead = self.warmer.stop()
                self.warmer = Warmer(model, self.index, self.history)
                planner = EvidencePlanner(self.index, self.settings.evidence, model.count_tokens)
                self.chain = self.chain.with_model(model, name, planner, self.warmer)
                if reads_ahead:
                    self.warmer.start()
                self.settings = self.settings.model_copy(
                    update={"model": self.settings.model.model_copy(update={"name": name})}
                )


def chat_models_here() -> list[str]:
    """Names of the chat models in the cache."""
    return [name for name, spec in manifest().items() if spec.task == "chat" and state(spec) == "cached"]


def _question_about(title: str) -> str:
    if title.endswith("?"):
        return title
    plain_word = title.split()[0][1:].islower()  # not "BERT", "LoRA" or "T5"
    return f"What should I know about {title[0].lower() + title[1:] if plain_word else title}?"


@cache
def _loaded_model(path: Path, context: int, threads: int, states: Path, engine: EngineSettings) -> ChatLlama:
    return ChatLlama(path=path, context=context, threads=threads, states=states, engine=engine)


def chat_model(settings: Settings, name: str | None = None) -> ChatLlama:
    """The chat model of the settings or another one; its weights are read at first use and kept.

    Raises:
        MissingModel: its weights are not here.
    """
    path = model_path(name or settings.model.name)
    return _loaded_model(path, settings.model.context, thread_count(settings.model), settings.states_dir, settings.engine)


def build(settings: Settings) -> Runtime:
    """Put the parts together; nothing heavy is loaded before it is needed."""
    index = open_index(settings)
    history = History(settings.history_file)
    model = chat_model(settings)
    warmer = Warmer(model, index, history)
    chain = CourseChain(
        retriever=CourseRetriever(index=index, settings=settings.retrieval, k=settings.evidence.candidates),
        planner=EvidencePlanner(index, settings.evidence, model.count_tokens),
        model=model,
        verifier=make_verifier(settings.grounding, index.embedder, index.sentences),
        history=history,
        settings=settings.answer,
        model_name=settings.model.name,
        sections=warmer,
        guards=make_guards(settings.policy_file, index.embedder),
    )
    return Runtime(settings, index, history, chain, warmer)


_building = threading.Lock()


@cache
def _shared() -> Runtime:
    return build(load_settings())


def runtime() -> Runtime:
    """The Runtime of this process."""
    with _building:
        return _shared()


def warm(ready: Runtime) -> None:
    """Load weights and index now, so that the first question does not wait for them.

    One token is generated: that touches the weights, which are mapped rather than read, and leaves the rules of the prompt,
    with which every prompt begins, in the engine.
    """
    ready.index.dense(ready.index.embedder.embed(["warm up"])[0], k=1)
    ready.index.lexical()
    ready.chain.warm_guards()
    chat_model(ready.settings).invoke(answer_prompt(None, True, (), "Ready?"), max_tokens=1)
