"""Which computed tokens are kept where: sequences in the engine's cache, and saved states on disk behind them.

A prompt continues whatever holds its longest beginning: another sequence (whose cells it shares), or a saved state. When cells
or sequences run out, the one that has been idle longest goes, to disk if it would take long to compute again.
"""

import os
import threading
import time
from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from assistant.llm.engine import Engine, Full
from assistant.llm.kv import StateStore

CONVERSATION = "conversation:"  # label, with the process's number, of states that are of use to this process only
_PIECES = 0  # the sequence where saved pieces are loaded before they are joined
_MOST_EVICTED = 256  # conversations that may come back from disk
_MOST_UNWRITTEN = 4  # states of about 30 MB that wait for a slow disk
_LOOK_AGAIN_S = 0.2  # whether the writer has ended
_WORTH_SHARING = 64  # tokens beyond a mark
_WORTH_SAVING = 48  # tokens of its own: below about half a second of computing, writing and reading 30 MB does not pay


@dataclass(slots=True, eq=False)
class Sequence:
    """A sequence of the engine.

    Attributes:
        tokens: what its cells hold, from position 0.
        saved: how many of the first tokens are on disk too.
        joined: where it begins to be an approximation, which is not saved; None if it does not.
        busy: whether a request owns it.
        used: when it was last released, seconds.
    """

    id: int
    tokens: list[int] = field(default_factory=list)
    saved: int = 0
    joined: int | None = None
    busy: bool = False
    used: float = 0.0


class _ToWrite(NamedTuple):
    store: StateStore  # of the engine as it was then: the next state may be one of another adapter
    tokens: list[int]
    state: NDArray[np.uint8]
    label: str


class SequencePool:
    """All sequences of an engine; to be used by its one thread.

    Args:
        engine: whose sequences.
        store: where states are saved; None keeps nothing on disk.
    """

    def __init__(self, engine: Engine, store: StateStore | None) -> None:
        self._engine = engine
        self.store = store
        self._free = [id_ for id_ in range(engine.sequences) if id_ != _PIECES]
        self._held: list[Sequence] = []
        self._evicted: list[list[int]] = []
        self._to_write: SimpleQueue[_ToWrite | threading.Event | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="state writer", daemon=True)
        self._writer.start()
        self._label = f"{CONVERSATION}{os.getpid()}"
        if store is not None:
            store.discard(_may_be_used)

    def open(self, tokens: Tokens[int], marks: Tokens[int], keep_last: bool) -> tuple[Sequence, int, int]:
        """A sequence that holds as much of the beginning of `tokens` as is computed already.

        Args:
            tokens: the whole prompt.
            marks: lengths of its beginnings that may be on disk.
            keep_last: leave at least the last token to compute, because its prediction is needed.

        Returns:
            The sequence, now busy; how many of its tokens came from memory, and how many from disk.

        Raises:
            Full: every sequence is busy.
        """
        most = len(tokens) - keep_last
        best = max(self._held, key=lambda held: _common(held.tokens, tokens, most), default=None)
        shared = _rounded(_common(best.tokens, tokens, most), len(best.tokens), marks) if best else 0
        stored = self._longest_saved(tokens, marks, shared, most)
        if best and not stored and shared == len(best.tokens) and not best.busy:
            best.busy = True  # the conversation goes on where it was
            return best, shared, 0
        sequence = self._take()
        if stored and self._load(sequence, list(tokens[:stored])):
            return sequence, 0, stored
        if best and shared:
            if best in self._held:
                self._engine.copy(best.id, sequence.id, shared)
                sequence.tokens, sequence.saved = list(tokens[:shared]), min(best.saved, shared)
                sequence.joined = best.joined if best.joined is not None and best.joined < shared else None
            else:
                shared = 0  # it had to make room
        return sequence, shared, 0

    def _longest_saved(self, tokens: Tokens[int], marks: Tokens[int], least: int, most: int) -> int:
        """Length of the longest beginning on disk, more than `least` and at most `most`, or 0."""
        if self.store is None:
            return 0
        evicted = [len(old) for old in self._evicted if list(tokens[: len(old)]) == old]
        return self.store.longest(tokens, [length for length in (*marks, *evicted) if least < length <= most])

    def _load(self, sequence: Sequence, tokens: list[int]) -> bool:
        state = self.store.load(tokens) if self.store else None
        if state is None or not self._load_bytes(sequence.id, state):
            return False
        sequence.tokens, sequence.saved = tokens, len(tokens)
        return True

    def _load_bytes(self, id_: int, state: NDArray[np.uint8]) -> bool:
        while not self._engine.load(id_, state):
            most_used = sum(len(held.tokens) for held in self._held)  # less where sequences share cells
            if self._engine.cells - most_used > state.size // self._engine.cell_bytes or not self.make_room():
                return False
        return True

    def join(self, sequence: Sequence, source: Tokens[int], length: int) -> bool:
        """Append the last tokens of a saved state, shifted to their new place; False if it is not there.

        Args:
            sequence: to continue.
            source: the tokens of the saved state.
            length: how many of the last of them to append.
        """
        state = self.store.load(source) if self.store else None
        if state is None or not self._load_bytes(_PIECES, state):
            return False
        end = len(source)
        self._engine.append(_PIECES, sequence.id, end - length, end, len(sequence.tokens))
        sequence.joined = len(sequence.tokens) if sequence.joined is None else sequence.joined
        sequence.tokens += source[end - length :]
        return True

    def has(self, tokens: list[int]) -> bool:
        """Whether these tokens are computed, in memory or on disk; may be called from any thread."""
        if any(held.tokens[: len(tokens)] == tokens for held in list(self._held)):
            return True
        return self.store is not None and self.store.has(tokens)

    def _take(self) -> Sequence:
        if not self._free and not self.make_room():
            raise Full
        sequence = Sequence(self._free.pop(), busy=True)
        self._held.append(sequence)
        return sequence

    def make_room(self) -> bool:
        """Forget the sequence that has been idle longest; False if there is none."""
        idle = [held for held in self._held if not held.busy]
        if not idle:
            return False
        oldest = min(idle, key=lambda held: held.used)
        own = len(oldest.tokens) - self._shared_elsewhere(oldest)
        if self.store is not None and oldest.joined is None and own >= _WORTH_SAVING:
            self.save(oldest, self._label)
            self._evicted = [*self._evicted[1 - _MOST_EVICTED :], list(oldest.tokens)]
        self.drop(oldest)
        return True

    def _shared_elsewhere(self, sequence: Sequence) -> int:
        others = (held.tokens for held in self._held if held is not sequence)
        return max([sequence.saved, *(_common(tokens, sequence.tokens, len(sequence.tokens)) for tokens in others)])

    def save(self, sequence: Sequence, label: str) -> None:
        """Write what a sequence holds now to disk, in a thread of its own."""
        if self.store is None or sequence.joined is not None or self._to_write.qsize() >= _MOST_UNWRITTEN:
            return
        if self.store.has(sequence.tokens):
            return
        tokens, state = list(sequence.tokens), self._engine.save(sequence.id)
        self._to_write.put(_ToWrite(self.store, tokens, state, label))
        sequence.saved = len(tokens)

    def _write(self) -> None:
        while (item := self._to_write.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            else:
                item.store.save(item.tokens, item.state, item.label)

    def flush(self) -> None:
        """Wait until everything is written."""
        written = threading.Event()
        self._to_write.put(written)
        while not written.wait(_LOOK_AGAIN_S) and self._writer.is_alive():
            pass

    def cut(self, sequence: Sequence, length: int) -> None:
        """Forget all but the first `length` tokens."""
        self._engine.cut(sequence.id, length)
        del sequence.tokens[length:]
        sequence.saved = min(sequence.saved, length)
        if sequence.joined is not None and sequence.joined >= length:
            sequence.joined = None

    def release(self, sequence: Sequence) -> None:
        """Keep it for a prompt that begins in the same way."""
        sequence.busy, sequence.used = False, time.monotonic()

    def drop(self, sequence: Sequence) -> None:
        """Forget it."""
        self._engine.cut(sequence.id, 0)
        self._held.remove(sequence)
        self._free.append(sequence.id)

    def clear(self) -> None:
        """Forget every sequence; for tests and after a failure of the engine."""
        for held in list(self._held):
            self.drop(held)

    def begin_anew(self) -> None:
        """Forget every sequence, and go on with the saved states of what the engine is by now."""
        self.clear()
        self._evicted = []
        if self.store is not None:
            self.store = self.store.of(self._engine.identity)

    def close(self) -> None:
        """Wait for the writer, and remove what only this process could use."""
        self._to_write.put(None)
        self._writer.join()
        if self.store is not None:
            self.store.discard(lambda label: label != self._label)


def _may_be_used(label: str) -> bool:
    """Whether a state is not what a process that has died left of its conversations."""
    import psutil

    return not label.startswith(CONVERSATION) or psutil.pid_exists(int(label.removeprefix(CONVERSATION)))


def _rounded(shared: int, held: int, marks: Tokens[int]) -> int:
    """How much of a common beginning to use.

    From a mark on the same slices are computed, and so the same bits, wherever the beginning came from; that is worth a few
    tokens. A conversation that goes on is not computed again for it.
    """
    mark = max((mark for mark in marks if mark <= shared), default=0)
    return shared if shared == held or shared - mark >= _WORTH_SHARING else mark


def _common(held: list[int], tokens: Tokens[int], most: int) -> int:
    """Length of the common beginning, at most `most`."""
    limit = min(len(held), len(tokens), most)
    if held[:limit] == tokens[:limit]:
        return limit
    a, b = np.asarray(held[:limit]), np.asarray(tokens[:limit])
    return int((a != b).argmax())
