"""Which sections of the course the engine has read before anybody asks: the likeliest first, while nobody asks.

The state of [rules + section] is computed once and saved. An answer from that section then begins in well under a second; an
answer from another section is given from its best sentences, and the section is read next.
"""

import atexit
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage

from assistant.history import History
from assistant.llm.chat_llama import ChatLlama
from assistant.llm.kv import StateStore
from assistant.llm.sequences import CONVERSATION
from assistant.prompts import RULES_KEY, SECTION_KEY, section_prompt
from knowledge.evidence import Plan
from knowledge.index import CourseIndex
from knowledge.passage import Passage
from knowledge.retrieval import Retrieved

_LOOK_AGAIN_S = 5.0  # at a course that another process may have changed
_MOST_JOINED = 2  # with the first, three sections held the most gold text (docs/log.md)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WarmProgress:
    """How much of the course has been read; `remaining_s` is None until a rate is known."""

    done: int
    total: int
    title: str
    remaining_s: float | None


@runtime_checkable
class ReadsAhead(Protocol):
    """What tells a model that keeps what it has read (ChatLlama) from one that reads a prompt fast, or on a server."""

    def is_ready(self, messages: Sequence[BaseMessage]) -> bool:
        """Whether the state up to the last keyed block of these messages need not be computed."""

    def compute_ahead(self, messages: Sequence[BaseMessage], stop_event: threading.Event) -> None:
        """Compute and save the states up to the keyed blocks of these messages."""


def make_warmer(model: BaseChatModel, index: CourseIndex, history: History | None = None) -> "Warmer | None":
    """The Warmer of a model; None for one that does not read ahead: a chain without one asks it about whole sections."""
    return Warmer(cast(ChatLlama, model), index, history) if isinstance(model, ReadsAhead) else None


class Warmer:
    """Reads sections ahead for one model and one course."""

    def __init__(self, model: ChatLlama, index: CourseIndex, history: History | None = None) -> None:
        self._model = model
        self._index = index
        self._history = history
        self._wanted: list[str] = []
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def is_ready(self, section_id: str, passages: tuple[Passage, ...]) -> bool:
        """Whether a prompt about this section can be answered without reading the section."""
        return self._model.is_ready([section_prompt(section_id, passages)])

    def want(self, section_id: str) -> None:
        """Somebody has asked about this section: read it next."""
        self._wanted.append(section_id)
        self._wake.set()

    def start(self) -> None:
        """Read ahead in a thread whenever nobody waits for an answer."""
        if self._thread is None:
            self._model.scheduler  # noqa: B018  built first, so that it ends after this thread
            atexit.register(self.stop)
            self._thread = threading.Thread(target=self._work, name="warming", daemon=True)
            self._thread.start()

    def further(self, plan: Plan, found: Retrieved) -> Sequence[tuple[str, tuple[Passage, ...]]]:
        """The sections of the next best passages that have been read, if joining is switched on."""
        if not self._model.engine.join:
            return ()
        ids = dict.fromkeys(item.passage.section_id for item in found.passages)
        others = [(id_, self._index.section_passages(id_)) for id_ in ids if id_ != plan.section_id][:_MOST_JOINED]
        return [(id_, passages) for id_, passages in others if self.is_ready(id_, passages)]

    def stop(self) -> bool:
        """End the thread; what has been saved stays. Returns whether there was one."""
        self._stop.set()
        self._wake.set()
        if self._thread is None:
            return False
        self._model.scheduler.interrupt()
        self._thread.join()
        return True

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            generation = self._index.catalogue.generation
            try:
                self._read_on(generation)
            except Exception:  # answers go on without it, and it goes on when it is woken again
                _log.exception("Reading ahead failed.")
            while not (self._wake.wait(_LOOK_AGAIN_S) or self._index.catalogue.generation != generation):
                pass

    def _read_on(self, generation: int) -> None:
        self.forget_changed()
        for _ in self.read_all(self._stop):
            if self._stop.is_set() or self._index.catalogue.generation != generation:
                break

    def read_all(self, stop: threading.Event) -> Iterator[WarmProgress]:
        """Read every section that fits into the budget and has not been read; yields before each and at the end.

        Sections that somebody wants come first, and push out others if they must; then those that questions were about, then
        the beginnings of documents.
        """
        sections = self._in_order()
        pending = [id_ for id_ in sections if not self._is_read(id_)]
        total, started, read = len(sections), time.monotonic(), 0
        while pending and not stop.is_set() and (section_id := self._next(pending)):
            pending.remove(section_id)
            passages = self._index.section_passages(section_id)
            if not passages:  # the course has changed
                continue
            rate = (time.monotonic() - started) / read if read else None
            left = None if rate is None else rate * (len(pending) + 1)
            yield WarmProgress(total - len(pending) - 1, total, passages[0].title, left)
            self._model.compute_ahead([section_prompt(section_id, passages)], stop)
            if not self._is_kept(section_id):
                break  # the disk takes no more, the log says why; or it was stopped
            read += 1
        yield WarmProgress(total - len(pending), total, "", 0.0)

    @property
    def store(self) -> StateStore | None:
        """Where what has been read is kept."""
        return self._model.saved_states

    def count(self) -> tuple[int, int]:
        """How many sections have been read, and how many there are."""
        ids = [section.id for section in self._index.sections()]
        return sum(map(self._is_read, ids)), len(ids)

    def forget_changed(self) -> int:
        """Delete the states of sections that the course has no more, and of rules that have changed; returns how many."""
        live = {RULES_KEY, *(f"{SECTION_KEY}{section.id}" for section in self._index.sections())}
        store = self.store
        return store.discard(lambda label: label in live or label.startswith(CONVERSATION)) if store else 0

    def _has_room(self) -> bool:
        """Whether one more state fits into the budget without pushing another out."""
        store = self.store
        if store is None:
            return False
        largest = max((state.bytes for state in store.saved()), default=0)
        return store.used() + largest <= self._model.engine.disk_mb << 20

    def _is_kept(self, section_id: str) -> bool:
        store = self.store
        return store is not None and any(state.label == f"{SECTION_KEY}{section_id}" for state in store.saved())

    def _is_read(self, section_id: str) -> bool:
        return self.is_ready(section_id, self._index.section_passages(section_id))

    def _next(self, pending: list[str]) -> str | None:
        while self._wanted:
            if (wanted := self._wanted.pop(0)) in pending and self.store is not None:
                return wanted
        return pending[0] if self._has_room() else None

    def _in_order(self) -> list[str]:
        asked = Counter(self._asked_about())
        first_of: set[str] = set()
        order = []
        for number, section in enumerate(self._index.sections()):
            begins = section.document_id not in first_of
            first_of.add(section.document_id)
            order.append((-asked[section.id], not begins, number, section.id))
        return [id_ for *_, id_ in sorted(order)]

    def _asked_about(self) -> Iterator[str]:
        if self._history is None:
            return
        best = [turn.record["evidence"][0]["passage"] for turn in self._history.turns() if turn.record.get("evidence")]
        passages = self._index.catalogue.passages(best)
        yield from (passages[id_].section_id for id_ in best if id_ in passages)
