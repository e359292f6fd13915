"""An engine without weights that speaks assistant.llm.engine.Engine's interface and forgives nothing.

The next token depends on every cell of its sequence, in order, so a token lost, doubled, misplaced or taken from somebody else
changes all that follows. Cells and sequences are as limited as real ones; a misuse that would crash llama.cpp, or read
another's memory, fails an assertion. A byte of text is a token.
"""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from assistant.llm.engine import Aborted, Full, Row

START, END = 256, 257
CONTROL = {b"<|start|>": START, b"<|end|>": END}
TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m['role'] }}:{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant:{% endif %}"
)
CELL = np.dtype([("token", "<i8"), ("position", "<i8"), ("value", "<i8")])
_MASK = (1 << 62) - 1

Predict = Callable[[list[int], int], int]  # (tokens of the sequence, digest of its cells) -> next token


def extend(digest, token, position):
    """The digest of a sequence and one more token: what a real cell's keys and values stand for."""
    return ((digest * 1_000_003) ^ (token * 8191 + position + 1)) & _MASK


def quoting(tokens, digest):
    """Mostly what followed the last two tokens before, so that drafts are often right; else anything; sometimes the end."""
    kind = (digest >> 20) % 16
    if kind < 12:
        for place in range(len(tokens) - 3, -1, -1):
            if tokens[place : place + 2] == tokens[-2:]:
                return tokens[place + 2]
    return END if kind == 15 else 97 + (digest >> 30) % 8


def digest_of(cells):
    digest = 7
    for value in cells:
        digest = (digest * 31 + value) & _MASK
    return digest


def chain(tokens, values=()):
    """The values of these tokens' cells behind those of `values`."""
    values = list(values)
    for token in tokens[len(values) :]:
        values.append(extend(digest_of(values), token, len(values)))
    return values


def alone(tokens, limit, predict=quoting, values=None):
    """The answer to a prompt that has an engine of its own; `values`: of cells that are not as computed in place."""
    tokens, answer = list(tokens), []
    values = chain(tokens, values or [])
    while len(answer) < limit and (token := predict(tokens, digest_of(values))) != END:
        answer.append(token)
        tokens.append(token)
        values = chain(tokens, values)
    return answer


def likely(token):
    """Scores whose best is this token, by one before the letter "z" and by far before all else."""
    scores = np.full(END + 1, -30.0, np.float32)
    scores[ord("z")] = 1.0
    scores[token] = 2.0
    return scores


class _Cell:
    __slots__ = ("position", "token", "value")

    def __init__(self, token, position, value):
        self.token, self.position, self.value = token, position, value


class FakeEngine:
    """Arguments as of Engine, but the cache has exactly `least` cells.

    Args:
        pace: seconds that a row takes.
        predict: chooses the next token.
    """

    def __init__(
        self, path=Path("fake.gguf"), memory=0, least=1024, sequences=16, threads=1, batch=64, *, pace=0.0, predict=quoting
    ):
        self.path, self.batch, self.sequences, self.cells = path, batch, sequences, least
        self.abort = threading.Event()
        self.chat_template = TEMPLATE
        self.bos, self.eos = -1, END
        self.identity = "fake:1"
        self.cell_bytes = CELL.itemsize
        self.pace, self.predict = pace, predict
        self.batches: list[list[Row]] = []
        self.failure: Exception | None = None  # raised by the next compute
        self._scores: dict[int, np.ndarray] = {}  # by row of the last batch
        self.refuses = False  # every load
        self.aborted = 0
        self.most_used = 0
        self.closed = False
        self._held: list[list[_Cell]] = [[] for _ in range(sequences)]
        self._busy = threading.Lock()

    # Text

    def is_end(self, token):
        return token == END

    def tokenize(self, text, special):
        self._require_open()
        data, tokens = text.encode("utf-8", "replace"), []
        while data:
            name = next((name for name in CONTROL if special and data.startswith(name)), None)
            tokens.append(CONTROL[name] if name else data[0])
            data = data[len(name) if name else 1 :]
        return tokens

    def piece(self, token, special=False):
        self._require_open()
        if token < 256:
            return bytes([token])
        return next(name for name, number in CONTROL.items() if number == token) if special else b""

    def _require_open(self):
        if self.closed:
            raise RuntimeError("The engine is closed.")

    # Computing

    def compute(self, rows: Sequence[Row], may_abort: bool = False) -> list[int]:
        with self._alone():
            assert 0 < len(rows) <= self.batch, f"{len(rows)} rows in a batch of {self.batch}"
            if self.failure:
                failure, self.failure = self.failure, None
                raise failure
            if self.used + len(rows) > self.cells:
                raise Full
            self._wait(len(rows), may_abort)
            self.batches.append(list(rows))
            predicted = []
            digests = {}
            self._scores = {}
            for place, row in enumerate(rows):
                held = self._held[row.sequence]
                assert 0 <= row.token <= END, row
                assert row.position == len(held), f"position {row.position} behind {len(held)} cells"
                digest = digests.get(row.sequence)
                if digest is None:
                    digest = digest_of(cell.value for cell in held)
                value = extend(digest, row.token, row.position)
                held.append(_Cell(row.token, row.position, value))
                digests[row.sequence] = digest = (digest * 31 + value) & _MASK
                if row.predict:
                    predicted.append(self.predict([cell.token for cell in held], digest))
                    self._scores[place] = likely(predicted[-1])
            self.most_used = max(self.most_used, self.used)
            return predicted

    def logits(self, row):
        return self._scores[row]

    def _wait(self, rows, may_abort):
        """Aborted within a millisecond, as between the nodes of a graph."""
        until = time.monotonic() + rows * self.pace
        while True:
            if may_abort and self.abort.is_set():
                self.aborted += 1
                raise Aborted
            if (left := until - time.monotonic()) <= 0:
                return
            time.sleep(min(left, 0.001))

    # Sequences

    def copy(self, source, target, length):
        with self._alone():
            assert source != target
            assert self._held[target] == [], "copied over something"
            assert 0 < length <= len(self._held[source])
            self._held[target] = self._held[source][:length]  # the same cells

    def cut(self, sequence, start, end=-1):
        with self._alone():
            self._cut(sequence, start, end)

    def _cut(self, sequence, start, end=-1):
        held = self._held[sequence]
        self._held[sequence] = [c for c in held if not (start <= c.position and (end < 0 or c.position < end))]

    def append(self, source, target, start, end, position):
        with self._alone():
            assert position == len(self._held[target])
            moved = self._held[source][start:end]
            assert len(moved) == end - start, "the source is shorter"
            assert not any(cell in held for i, held in enumerate(self._held) if i != source for cell in moved), "shared cells"
            for cell in moved:
                cell.position += position - start
            self._held[target] += moved
            self._held[source] = []

    def save(self, sequence):
        with self._alone():
            cells = [(c.token, c.position, c.value) for c in self._held[sequence]]
            return np.array(cells, dtype=CELL).view(np.uint8)

    def load(self, sequence, state):
        with self._alone():
            self._held[sequence] = []
            if self.refuses or state.size % CELL.itemsize or self.used + state.size // CELL.itemsize > self.cells:
                return False
            self._held[sequence] = [_Cell(*map(int, cell)) for cell in state.view(CELL)]
            return True

    def close(self):
        with self._alone():
            self.closed = True

    # What tests look at

    @property
    def used(self):
        """Cells that are not free."""
        return len({id(cell) for held in self._held for cell in held})

    def tokens(self, sequence):
        """What a sequence holds."""
        return [cell.token for cell in self._held[sequence]]

    def values(self, sequence):
        """What its cells would be in a real engine."""
        return [cell.value for cell in self._held[sequence]]

    def _alone(self):
        return _Alone(self)


class _Alone:
    """One caller at a time, and none after the end."""

    def __init__(self, engine):
        self._engine = engine

    def __enter__(self):
        assert not self._engine.closed, "used after close"
        assert self._engine._busy.acquire(blocking=False), "two threads in the engine"

    def __exit__(self, *_):
        self._engine._busy.release()
