"""Many answers from one engine: one thread, one batch at a time, made of the next tokens of every answer and slices of prompts.

Decoding is cheap to share, because the weights are read once for all rows of a batch. Prompts are read in slices of less than
half a second, so that nobody's stream stalls; the shortest rest first, but waiting counts. When nobody waits, states worth
having are computed ahead, and that ends within milliseconds of a question.
"""

import logging
import threading
import time
from concurrent.futures import Future
from pathlib import Path

from assistant.llm.drafts import DraftPolicy
from assistant.llm.engine import Aborted, Engine, Full, Row
from assistant.llm.job import Job, Request
from assistant.llm.kv import StateStore
from assistant.llm.sequences import SequencePool

_SLICE_S = 0.4  # seconds of prompt in a batch that also carries other people's answers
_ROWS = 16  # ggml's fast path for Q4_K takes this many rows at once
_FIRST_RATE = 60.0  # prompt tokens a second, until measured
_AGEING = 60.0  # prompt tokens that a second of waiting counts for
_log = logging.getLogger(__name__)


class Scheduler:
    """Owns an engine and the thread that runs it.

    Args:
        engine: nobody else may compute with it.
        store: for saved states; None keeps none.
        parallel: answers written at the same time; more wait their turn.
    """

    def __init__(self, engine: Engine, store: StateStore | None, parallel: int) -> None:
        self.engine = engine
        self.pool = SequencePool(engine, store)
        self.policy = DraftPolicy()
        self._parallel = parallel
        self._waiting: list[Job] = []
        self._active: list[Job] = []
        self._ahead: list[Job] = []
        self._swaps: list[tuple[Path | None, Future[None]]] = []  # adapters that are wanted
        self._changed = threading.Condition()
        self._closing = False
        self._crowded = False  # somebody was sent back for want of cells; nobody comes in before somebody has ended
        self._rate = _FIRST_RATE
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Take a request in.

        Raises:
            RuntimeError: the engine is closed.
        """
        with self._changed:
            if self._closing:
                raise RuntimeError("The engine is closed.")
            job = Job(request, self.pool)
            if request.limit:
                self._waiting.append(job)
                self.engine.abort.set()  # ends what is being computed ahead
            else:
                self._ahead.append(job)
            self._changed.notify()

    def use_adapter(self, path: Path | None) -> None:
        """Put another LoRA adapter on the model, or none; returns when it is in use.

        Answers that have begun are finished with the one that they began with, those that wait are written with the new one.
        Nothing that was computed with one is used with the other.

        Raises:
            CourseError: it cannot be used; the engine goes on with the adapter that it had.
            RuntimeError: the engine is closed.
        """
        done: Future[None] = Future()
        with self._changed:
            if self._closing:
                raise RuntimeError("The engine is closed.")
            self._swaps.append((path, done))
            self.engine.abort.set()  # ends what is being computed ahead
            self._changed.notify()
        done.result()

    def interrupt(self) -> None:
        """Look at the requests' stop events now, even in the middle of what is computed ahead."""
        self.engine.abort.set()

    def close(self) -> None:
        """End every request and free the engine."""
        with self._changed:
            self._closing = True
            self.engine.abort.set()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                self._turn()
            except Exception as error:  # goes to everybody who waits for an answer
                _log.exception("The engine failed.")
                for job in self._everyone():
                    self._end(job, error)
                self.pool.clear()
        for job in self._everyone():
            self._end(job)
        for _, done in self._swaps:
            done.set_exception(RuntimeError("The engine is closed."))
        self.pool.close()
        self.engine.close()

    def _wait_for_work(self) -> bool:
        """False when it is time to close."""
        with self._changed:
            while not (self._closing or self._everyone() or self._swaps):
                self._changed.wait()
            if not self._closing:
                self.engine.abort.clear()
            return not self._closing

    def _everyone(self) -> list[Job]:
        return [*self._active, *self._waiting, *self._ahead]

    def _turn(self) -> None:
        for job in self._everyone():
            if job.request.stop.is_set():
                self._end(job)
        while len(self._active) < self._parallel and not self._crowded and (next_one := self._next()):
            next_one.open()
            with self._changed:
                self._waiting.remove(next_one)
                self._active.append(next_one)
        if self._active:
            self._step()
        elif self._swaps:
            self._swap()
        elif self._ahead:
            self._compute_ahead(self._ahead[0])

    def _next(self) -> Job | None:
        """Whose turn it is; before a change of adapter only those who have begun, and were sent back for want of cells."""
        return next((job for job in self._waiting if not self._swaps or len(job.tokens) > len(job.request.tokens)), None)

    def _swap(self) -> None:
        with self._changed:
            path, done = self._swaps.pop(0)
        for job in self._ahead:
            job.give_back()
        failure = None
        try:
            self.engine.use_adapter(path)
        except Exception as error:  # goes to the one who asked for it
            failure = error
        self.pool.begin_anew()
        done.set_exception(failure) if failure else done.set_result(None)

    def _end(self, job: Job, error: Exception | None = None) -> None:
        with self._changed:
            for jobs in (self._active, self._waiting, self._ahead):
                if job in jobs:
                    jobs.remove(job)
        self._crowded = False
        job.give_back()
        job.request.out.put(error)

    def _step(self) -> None:
        """One batch for everybody who has been admitted."""
        writing = [job for job in self._active if job.pending is not None]
        rows: list[Row] = []
        guesses = self._guesses(writing)
        for job, guess in zip(writing, guesses, strict=True):
            rows += job.rows([job.pending or 0, *guess], True)
        slices = self._slices(self._rows_at_once(len(writing)) - len(rows))
        for job, tokens in slices:
            rows += job.rows(tokens, len(tokens) == job.unread)
        if not rows:
            return
        started = time.monotonic()
        try:
            predicted = iter(self.engine.compute(rows))
        except Full:
            self._make_room()
            return
        self._learn(time.monotonic() - started, len(rows), bool(slices))
        end = 0
        for job, guess in zip(writing, guesses, strict=True):
            end += 1 + len(guess)
            tokens = [next(predicted) for _ in range(len(guess) + 1)]
            self._say(job, job.accept(guess, self._chosen(job, tokens, end - 1), self.policy))
        for job, part in slices:
            end += len(part)
            job.read(part)
            if not job.unread:
                self._say(job, self._chosen(job, [next(predicted)], end - 1))

    def _chosen(self, job: Job, likeliest: list[int], row: int) -> list[int]:
        """The likeliest tokens, unless the request has another way to choose; then it has made no guesses."""
        choose = job.request.choose
        return likeliest if choose is None else [choose(self.engine.logits(row))]

    def _guesses(self, writing: list[Job]) -> list[list[int]]:
        """What each of them may write next; nothing while somebody's prompt is read, who would wait for it."""
        if len(writing) < len(self._active):
            return [[] for _ in writing]
        most = self.engine.batch if len(writing) == 1 else min(self.engine.batch, max(_ROWS, len(writing)))
        length = self.policy.choose([job.find_match() for job in writing], most)
        guesses, room = [], most - len(writing)
        for job in writing:
            guesses.append(job.guess(min(length, room)))
            room -= len(guesses[-1])
        return guesses

    def _rows_at_once(self, writers: int) -> int:
        """Most rows of a batch: as many as are read in the time that those who are writing can be kept waiting."""
        if not writers:
            return self.engine.batch
        least = (writers // _ROWS + 1) * _ROWS
        return min(self.engine.batch, max(least, int(self._rate * _SLICE_S) // _ROWS * _ROWS))

    def _slices(self, room: int) -> list[tuple[Job, list[int]]]:
        """What is read of whose prompt in the next batch."""
        now = time.monotonic()
        reading = [job for job in self._active if job.pending is None]
        reading.sort(key=lambda job: job.unread - _AGEING * (now - job.since))
        slices = []
        for job in reading:
            if room <= 0:
                break
            if not job.join():  # otherwise it comes back with less to read
                slices.append((job, job.next_slice(room)))
                room -= len(slices[-1][1])
        return slices

    def _learn(self, seconds: float, rows: int, has_prompt: bool) -> None:
        if not has_prompt:
            self.policy.learn_cost(rows, seconds)
        elif rows >= _ROWS:
            self._rate += 0.3 * (rows / seconds - self._rate)

    def _say(self, job: Job, tokens: list[int]) -> None:
        for token in tokens:
            if self.engine.is_end(token) or not job.say(token):
                self._end(job)
                return

    def _make_room(self) -> None:
        """Forget something idle; else send the youngest back until another has ended, a reader rather than a writer."""
        if self.pool.make_room():
            return
        ahead = [job for job in self._ahead if job.held]
        if ahead:
            ahead[0].give_back()
        elif len(self._active) > 1:
            youngest = max(self._active, key=lambda job: (job.pending is None, job.since))
            youngest.give_back()
            with self._changed:
                self._active.remove(youngest)
                self._waiting.insert(0, youngest)
            self._crowded = True
        else:
            self._end(self._active[0], RuntimeError("The request does not fit into the engine's cells."))

    def _compute_ahead(self, job: Job) -> None:
        """A slice of a state that somebody may want later; a question ends it at once."""
        if job.held is None:
            job.open()
        tokens = job.next_slice(self.engine.batch)
        try:
            if tokens:
                self.engine.compute(job.rows(tokens, False), may_abort=True)
        except Aborted:
            return  # it goes on from here when everybody has been answered
        except Full:
            if not self.pool.make_room():
                self._end(job, RuntimeError("The state does not fit into the engine's cells."))
            return
        job.read(tokens)
        if not job.unread:
            self._end(job)
