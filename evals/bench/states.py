"""Computed state taken away and given back, for comparisons within one engine."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from assistant.llm.chat_llama import ChatLlama
from assistant.llm.job import Request
from assistant.llm.kv import StateStore
from assistant.turn import Further
from knowledge.evidence import Plan
from knowledge.passage import Passage
from knowledge.retrieval import Retrieved


class ReadOnlyStore(StateStore):
    """Saved states that nothing is added to and nothing removed from; the budget given to it is without effect."""

    def _evict(self, limit: int, spare: str = "") -> None:
        """Remove nothing."""

    def save(self, tokens: Sequence[int], payload: NDArray[np.uint8] | bytes | memoryview, label: str) -> bool:
        return False

    def discard(self, keep: Callable[[str], bool]) -> int:
        return 0


class Always:
    """Speaks assistant.turn.Sections: every section has been read, or none."""

    def __init__(self, ready: bool) -> None:
        self._ready = ready

    def is_ready(self, section_id: str, passages: tuple[Passage, ...]) -> bool:
        """As it was said."""
        return self._ready

    def want(self, section_id: str) -> None:
        """Nobody reads it."""

    def further(self, plan: Plan, found: Retrieved) -> Sequence[Further]:
        """Nothing is joined."""
        return ()


def settle(model: ChatLlama) -> None:
    """Wait until the engine has let go of requests that were left early; nobody else may ask meanwhile."""
    request = Request([], 1)
    request.stop.set()
    model.scheduler.submit(request)  # stopped requests end before anything else happens, this one with them
    request.out.get()


def forget(model: ChatLlama) -> None:
    """Empty the engine's memory, so that the next prompt can only use what is on disk; nobody may be asking."""
    settle(model)
    model.scheduler.pool.clear()


@contextmanager
def without_state(model: ChatLlama) -> Iterator[None]:
    """While it lasts, the next prompt finds nothing computed, neither in memory nor on disk, and nothing is saved."""
    forget(model)
    pool = model.scheduler.pool
    store, pool.store = pool.store, None
    try:
        yield
    finally:
        forget(model)
        pool.store = store
