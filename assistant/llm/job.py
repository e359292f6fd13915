"""One prompt on its way through the engine: what of it is read, what it has written, and what it would like to guess."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from assistant.llm.choosing import Choice
from assistant.llm.drafts import DraftPolicy, Lookup
from assistant.llm.engine import Row
from assistant.llm.sequences import Sequence as Held
from assistant.llm.sequences import SequencePool


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the prompt up to which its state is worth keeping on disk.

    Attributes:
        end: length in tokens of that beginning of the prompt.
        label: what the state is, for those who decide what to keep.
    """

    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the prompt that may be taken from another state and shifted to its place: fast, but an approximation.

    Attributes:
        start, end: the part, in tokens of the prompt.
        source: tokens of the other state, which ends with the same part behind another beginning.
        link: how many of the part's first tokens are computed in place all the same, so that it is tied to what stands before
            it (EPIC, Hu et al., 2024).
    """

    start: int
    end: int
    source: tuple[int, ...]
    link: int = 0


@dataclass(slots=True, eq=False)
class Request:
    """One prompt to answer.

    Attributes:
        tokens: the whole prompt.
        limit: most tokens of the answer; 0 only computes and saves, when nobody else waits.
        stop: ends it early.
        choose: takes the next token from the scores; None takes the likeliest, and guesses ahead.
        out: receives the tokens of the answer, then None, or the exception that it failed with.
        from_memory, from_disk, joined: prompt tokens that were not computed, and why; set when the first token is out.
    """

    tokens: list[int]
    limit: int
    marks: tuple[Mark, ...] = ()
    pieces: tuple[Piece, ...] = ()
    drafts: bool = True
    stop: threading.Event = field(default_factory=threading.Event)
    choose: Choice | None = None
    out: "SimpleQueue[int | BaseException | None]" = field(default_factory=SimpleQueue)
    from_memory: int = 0
    from_disk: int = 0
    joined: int = 0


class Job:
    """A request that has been admitted, or will be.

    Attributes:
        tokens: its prompt and what it has written.
        held: its sequence, once admitted.
        pending: the last token that was handed over, still to be computed; None while the prompt is being read.
        match: length of the run that its text ends with and that stood there before.
        since: when it came, seconds.
    """

    def __init__(self, request: Request, pool: SequencePool) -> None:
        self.request = request
        self.tokens = list(request.tokens)
        self.held: Held | None = None
        self.pending: int | None = None
        self.match = 0
        self.since = time.monotonic()
        self._pool = pool
        self._lookup: Lookup | None = None
        self._written = 0

    def open(self) -> None:
        """Find a sequence that holds as much as possible; what had been written by a job that was sent back is read again."""
        request = self.request
        marks = [mark.end for mark in request.marks]
        self.held, from_memory, from_disk = self._pool.open(self.tokens, marks, request.limit > 0)
        if not self._written:
            request.from_memory, request.from_disk, request.joined = from_memory, from_disk, 0

    def give_back(self) -> None:
        """Let go of the sequence; it stays until its room is needed."""
        if self.held is not None:
            self._pool.release(self.held)
            self.held = self.pending = None

    @property
    def sequence(self) -> Held:
        """Its sequence, which it must have."""
        if self.held is None:
            raise RuntimeError("The request has no sequence yet.")
        return self.held

    def rows(self, tokens: Sequence[int], predict: bool) -> list[Row]:
        """Tokens at the end of its sequence; `predict` for the last only while the prompt is read, for all while writing."""
        start, id_ = len(self.sequence.tokens), self.sequence.id
        writing = self.pending is not None
        return [Row(t, start + i, id_, predict and (writing or i == len(tokens) - 1)) for i, t in enumerate(tokens)]

    # Reading

    @property
    def unread(self) -> int:
        """Tokens that are still to be computed before the next can be written."""
        return 0 if self.pending is not None else len(self.tokens) - (len(self.held.tokens) if self.held else 0)

    def next_slice(self, room: int) -> list[int]:
        """The prompt as far as there is room, or its state must be saved, or a piece can be joined."""
        done = len(self.sequence.tokens)
        stops = [mark.end for mark in self.request.marks] + [piece.start + piece.link for piece in self.request.pieces]
        end = min((stop for stop in stops if stop > done), default=len(self.tokens))
        return self.tokens[done : min(end, done + room)]

    def read(self, tokens: Sequence[int]) -> None:
        """These tokens of the prompt have been computed."""
        self.sequence.tokens += tokens
        for mark in self.request.marks:
            if mark.end == len(self.sequence.tokens):
                self._pool.save(self.sequence, mark.label)

    def join(self) -> bool:
        """Take the piece that comes next from its saved state, if there is one, and a token is left to predict from."""
        done = len(self.sequence.tokens)
        piece = next((p for p in self.request.pieces if p.start + p.link == done < p.end < len(self.tokens)), None)
        if piece is None or not self._pool.join(self.sequence, piece.source, piece.end - done):
            return False
        if not self._written:
            self.request.joined += piece.end - done
        return True

    # Writing

    def find_match(self) -> int:
        """Length of the run that can be continued by a guess; 0 if there is none."""
        self.match = 0
        guesses = self.request.drafts and self.request.choose is None
        if guesses and self.pending is not None and self.request.limit - self._written > 1:
            if self._lookup is None:
                self._lookup = Lookup([*self.sequence.tokens, self.pending])
            _, self.match = self._lookup.propose(1)
        return self.match

    def guess(self, length: int) -> list[int]:
        """Up to `length` tokens that may come after the pending one."""
        if not self.match or self._lookup is None:
            return []
        return self._lookup.propose(min(length, self.request.limit - self._written - 1))[0]

    def accept(self, guess: Sequence[int], predicted: Sequence[int], policy: DraftPolicy) -> list[int]:
        """Keep the guesses that the model would have made itself; returns these and its own next token."""
        right = next((i for i, token in enumerate(guess) if token != predicted[i]), len(guess))
        if self.pending is None:
            raise RuntimeError("Nothing has been written yet.")
        self.sequence.tokens += [self.pending, *guess[:right]]
        if right < len(guess):
            self._pool.cut(self.sequence, len(self.sequence.tokens))
        if guess:
            policy.learn_hits(self.match, len(guess), right)
        return list(predicted[: right + 1])

    def say(self, token: int) -> bool:
        """Hand a token over; whether there may be more."""
        self.request.out.put(token)
        self._written += 1
        self.tokens.append(token)
        self.pending = token
        if self._lookup is not None:
            self._lookup.append(token)
        return self._written < self.request.limit
