"""Many requests on one engine without weights, whose next token depends on every cell: each answer as if it were alone."""

import logging
import os
import random
import threading
import time
from collections import Counter
from contextlib import contextmanager
from queue import Empty

import pytest
from fake_engine import END, FakeEngine, alone, chain

from assistant.llm import scheduler as scheduler_module
from assistant.llm import sequences
from assistant.llm.drafts import LENGTHS
from assistant.llm.job import Mark, Piece, Request
from assistant.llm.kv import StateStore
from assistant.llm.scheduler import Scheduler

PATIENCE = 20.0  # seconds without a token: stuck
RULES = [ord(c) for c in "rules: be brief. "]
SECTIONS = [[*RULES, *(ord(c) for c in (f"section {n}: " + "abcdefgh"[n:] * 8))] for n in range(6)]


def never(tokens, digest):
    """Always another token that was not there, and no end."""
    return 97 + digest % 26


@contextmanager
def running(engine, folder=None, parallel=4, budget=1 << 24):
    store = StateStore(folder, budget, engine.identity) if folder else None
    scheduler = Scheduler(engine, store, parallel)
    # A fake step takes microseconds, and noise would decide whether guesses are made at all.
    scheduler.policy.choose = lambda matches, most: random.choice(LENGTHS) if any(matches) else 0
    try:
        yield scheduler
    finally:
        scheduler.close()
        assert not scheduler._thread.is_alive()
        assert engine.closed


def drain(request, limit=None):
    """The tokens, until the end or as many as wanted."""
    answer = []
    while limit is None or len(answer) < limit:
        try:
            token = request.out.get(timeout=PATIENCE)
        except Empty:
            raise AssertionError(f"stuck after {len(answer)} tokens") from None
        if token is None:
            request.out.put(None)  # for who drains it again
            break
        if isinstance(token, BaseException):
            raise token
        answer.append(token)
    return answer


def ask(scheduler, tokens, limit=10, **kwargs):
    request = Request(list(tokens), limit, **kwargs)
    scheduler.submit(request)
    return request


def answer(scheduler, tokens, limit=10, **kwargs):
    return drain(ask(scheduler, tokens, limit, **kwargs))


def wait_for(condition, seconds=5.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.001)


def settled(scheduler):
    """When everybody has been answered: what is held is what the pool says, and nothing else is."""
    wait_for(lambda: not scheduler._everyone())
    pool, engine = scheduler.pool, scheduler.engine
    held = list(pool._held)
    assert not any(one.busy for one in held)
    assert sorted([one.id for one in held] + pool._free) == list(range(1, engine.sequences))
    for one in held:
        assert engine.tokens(one.id) == one.tokens
        if one.joined is None:
            assert engine.values(one.id) == chain(one.tokens)
    assert all(engine.tokens(id_) == [] for id_ in [0, *pool._free])
    assert engine.used <= sum(len(one.tokens) for one in held)


def section_marks(section):
    return (Mark(len(RULES), "rules"), Mark(len(section), "section"))


# Alone


@pytest.mark.parametrize("drafts", [True, False])
def test_one_answer_is_the_models(drafts):
    with running(FakeEngine()) as scheduler:
        for section in SECTIONS:
            assert answer(scheduler, section, 40, drafts=drafts) == alone(section, 40)
        settled(scheduler)


def test_drafts_are_right_often_and_save_steps():
    engine = FakeEngine()
    with running(engine) as scheduler:
        scheduler.policy.choose = lambda matches, most: 3 if any(matches) else 0
        told = sum(len(answer(scheduler, section, 60)) for section in SECTIONS)
        assert scheduler.policy.accepted > told // 4
        steps = sum(any(row.predict for row in batch) for batch in engine.batches)
        assert steps < 0.8 * told  # of which six read the prompts


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_limit_is_kept_and_the_same_prompt_again_is_answered(limit, tmp_path):
    engine = FakeEngine(predict=never)
    with running(engine, tmp_path) as scheduler:
        for _ in range(3):
            assert answer(scheduler, SECTIONS[0], limit) == alone(SECTIONS[0], limit, never)
        scheduler.pool.flush()


def test_an_answer_that_ends_at_once_is_empty():
    with running(FakeEngine(predict=lambda *_: END)) as scheduler:
        assert answer(scheduler, SECTIONS[0]) == []
        settled(scheduler)


# Together


class Client(threading.Thread):
    """Holds conversations, leaves some answers early, and checks each."""

    def __init__(self, scheduler, seed, turns, cells):
        super().__init__(daemon=True)
        self._scheduler, self._random, self._turns, self._cells = scheduler, random.Random(seed), turns, cells
        self.answered = 0
        self.error = None

    def run(self):
        try:
            self._converse()
        except BaseException as error:  # raised again by the test
            self.error = error

    def _converse(self):
        rnd = self._random
        history = []
        for _ in range(self._turns):
            section = rnd.choice(SECTIONS)
            if not history or rnd.random() < 0.4 or len(history) > self._cells - 110:
                history = list(section)
            marks = tuple(mark for mark in section_marks(section) if history[: mark.end] == section[: mark.end])
            if rnd.random() < 0.2:
                self._ahead(section)
            question = [97 + rnd.randrange(6) for _ in range(rnd.randrange(1, 70))]
            tokens = [*history, *question]
            limit = rnd.randrange(1, 40)
            request = ask(self._scheduler, tokens, limit, marks=marks, drafts=rnd.random() < 0.8)
            right = alone(tokens, limit)
            leaves = rnd.randrange(limit) if rnd.random() < 0.3 else None
            answer = drain(request, leaves)
            if leaves is not None:
                request.stop.set()
                answer += drain(request)
                assert answer == right[: len(answer)]
            else:
                assert answer == right
                self.answered += 1
            assert request.from_memory + request.from_disk + request.joined < len(tokens)
            history = [*tokens, *answer]

    def _ahead(self, section):
        request = ask(self._scheduler, section, 0, marks=section_marks(section))
        if self._random.random() < 0.5:
            request.stop.set()
            self._scheduler.interrupt()


def stress(scheduler, clients, turns, seed=0):
    crowd = [Client(scheduler, 1000 * seed + n, turns, scheduler.engine.cells) for n in range(clients)]
    for client in crowd:
        client.start()
    for client in crowd:
        client.join()
        if client.error:
            raise client.error
    return sum(client.answered for client in crowd)


@pytest.mark.parametrize(
    ("cells", "parallel", "clients", "batch"),
    [
        (300, 4, 6, 64),  # writers push each other out
        (300, 2, 5, 16),
        (520, 8, 10, 24),  # the batch has hardly a row for each guess
        (2000, 4, 6, 64),
    ],
)
@pytest.mark.parametrize("disk", [True, False])
def test_every_answer_is_the_same_as_alone(cells, parallel, clients, batch, disk, tmp_path):
    engine = FakeEngine(least=cells, sequences=parallel + 3, batch=batch)
    with running(engine, tmp_path if disk else None, parallel) as scheduler:
        assert stress(scheduler, clients, 12, seed=cells + parallel) > clients
        settled(scheduler)


def test_many_more_requests_than_places(tmp_path):
    engine = FakeEngine(least=500, sequences=6)
    with running(engine, tmp_path, parallel=3) as scheduler:
        prompts = [[*SECTIONS[n % 6], 65 + n % 26, 65 + n // 26] for n in range(60)]
        requests = [ask(scheduler, prompt, 12) for prompt in prompts]
        for prompt, request in zip(prompts, requests, strict=True):
            assert drain(request) == alone(prompt, 12)
        settled(scheduler)


def test_writers_that_fill_the_cache_are_all_answered():
    engine = FakeEngine(least=240, sequences=8, predict=never)
    prompts = [[*RULES, 65 + n, *range(97, 117)] for n in range(4)]  # 38 tokens, of which 17 are shared
    with running(engine, parallel=4) as scheduler:
        requests = [ask(scheduler, prompt, 150) for prompt in prompts]
        for prompt, request in zip(prompts, requests, strict=True):
            assert drain(request) == alone(prompt, 150, never)
        settled(scheduler)


def test_more_writers_with_guesses_than_a_batch_has_rows():
    engine = FakeEngine(least=4000, sequences=32, batch=32, predict=lambda tokens, _: tokens[-4])
    with running(engine, parallel=28) as scheduler:
        scheduler.policy.choose = lambda matches, most: 7 if any(matches) else 0
        requests = [ask(scheduler, [97, 98, 99, 65 + n] * 5, 30) for n in range(28)]
        for n, request in enumerate(requests):
            assert drain(request) == ([97, 98, 99, 65 + n] * 8)[:30]


def test_a_request_that_can_never_fit_fails_alone():
    engine = FakeEngine(least=200, sequences=6)
    with running(engine, parallel=3) as scheduler:
        good = [ask(scheduler, SECTIONS[0], 10) for _ in range(2)]
        bad = ask(scheduler, list(range(97, 117)) * 12, 10)
        more = [ask(scheduler, SECTIONS[1], 10) for _ in range(2)]
        with pytest.raises(RuntimeError, match="does not fit"):
            drain(bad)
        for request in good:
            assert drain(request) == alone(SECTIONS[0], 10)
        for request in more:
            assert drain(request) == alone(SECTIONS[1], 10)
        settled(scheduler)


# Leaving


@pytest.mark.parametrize("when", ["waiting", "reading", "writing"])
def test_whoever_leaves_makes_room_for_the_next(when):
    engine = FakeEngine(least=2000, sequences=5, pace=0.0005, predict=never)
    with running(engine, parallel=1) as scheduler:
        first = ask(scheduler, list(range(97, 117)) * 20, 60)
        other = ask(scheduler, SECTIONS[0], 5)
        leaves = other if when == "waiting" else first
        if when == "writing":
            assert len(drain(first, 3)) == 3
        elif when == "reading":
            wait_for(lambda: engine.batches)
        leaves.stop.set()
        assert len(drain(leaves)) < 10
        stays = first if leaves is other else other
        drain(stays)
        settled(scheduler)


def test_closing_ends_everybody():
    engine = FakeEngine(least=2000, pace=0.001, predict=never)
    with running(engine, parallel=2) as scheduler:
        requests = [ask(scheduler, SECTIONS[n], 500) for n in range(4)]
        ahead = ask(scheduler, SECTIONS[5], 0)
        drain(requests[0], 1)
        started = time.monotonic()
        scheduler.close()
        assert time.monotonic() - started < 1.0
        for request in [*requests, ahead]:
            assert len(drain(request)) < 100
        with pytest.raises(RuntimeError, match="closed"):
            ask(scheduler, SECTIONS[0])
        scheduler.close()


def test_nobody_who_asks_while_it_closes_waits_for_ever():
    for _ in range(20):
        engine = FakeEngine(least=600, sequences=7)
        with running(engine, parallel=3) as scheduler:
            done = []

            def ask_on(scheduler=scheduler, done=done):
                while True:
                    try:
                        request = ask(scheduler, random.choice(SECTIONS), 5)
                    except RuntimeError:
                        done.append(True)
                        return
                    drain(request)

            threads = [threading.Thread(target=ask_on, daemon=True) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.005)
            scheduler.close()
            for thread in threads:
                thread.join(5)
            assert len(done) == 4


def test_waiting_for_the_writer_ends_when_the_engine_is_closed(tmp_path):
    with running(FakeEngine(), tmp_path) as scheduler:
        pass
    thread = threading.Thread(target=scheduler.pool.flush, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


# Failing


def test_a_failure_reaches_everybody_and_the_engine_works_on(tmp_path, caplog):
    engine = FakeEngine(least=600, pace=0.0005, predict=never)
    with running(engine, tmp_path, parallel=2) as scheduler, caplog.at_level(logging.CRITICAL):
        requests = [ask(scheduler, SECTIONS[n], 100) for n in range(4)]
        ahead = ask(scheduler, SECTIONS[5], 0)
        drain(requests[0], 1)
        engine.failure = RuntimeError("llama.cpp could not compute 3 tokens (status -3).")
        for request in [*requests, ahead]:
            with pytest.raises(RuntimeError, match="status -3"):
                drain(request)
        settled(scheduler)
        assert engine.used == 0
        for section in SECTIONS:
            assert answer(scheduler, section, 20) == alone(section, 20, never)
        settled(scheduler)


# Order


def test_the_shorter_prompt_is_read_first():
    engine = FakeEngine(least=2000, pace=0.0003, batch=32, predict=never)
    with running(engine, parallel=4) as scheduler:
        long = ask(scheduler, list(range(97, 117)) * 30, 5)
        wait_for(lambda: engine.batches)
        short = ask(scheduler, SECTIONS[0], 5)
        drain(short)
        assert long.out.empty()
        drain(long)


def test_waiting_counts_so_a_long_prompt_is_not_put_off_for_ever(monkeypatch):
    monkeypatch.setattr(scheduler_module, "_AGEING", 3000.0)  # a second here is a minute there
    engine = FakeEngine(least=4000, pace=0.0002, batch=32, predict=never)
    with running(engine, parallel=3) as scheduler:
        long = ask(scheduler, list(range(97, 117)) * 20, 2)
        stop = threading.Event()

        def short_ones(n):
            while not stop.is_set():
                answer(scheduler, [*SECTIONS[n], *random.choices(range(97, 117), k=60)], 1)

        crowd = [threading.Thread(target=short_ones, args=(n,), daemon=True) for n in range(6)]
        for thread in crowd:
            thread.start()
        try:
            assert len(drain(long)) == 2
        finally:
            stop.set()
        for thread in crowd:
            thread.join()


def test_prompts_come_in_slices_while_somebody_writes():
    engine = FakeEngine(least=4000, batch=128, pace=0.0005, predict=never)
    with running(engine, parallel=4) as scheduler:
        scheduler._rate = 60.0  # rows a second: 0.4 s are 24 rows, which is one and a half of 16
        scheduler._learn = lambda *_: None
        writer = ask(scheduler, SECTIONS[0], 120)
        drain(writer, 2)
        engine.batches.clear()
        readers = [ask(scheduler, list(range(97 + n, 117 + n)) * 12, 3) for n in range(3)]
        writing = writer.out
        for request in readers:
            drain(request)
        assert writing.qsize() > 5  # its stream went on
        mixed = [b for b in engine.batches if sum(row.predict for row in b) and sum(not row.predict for row in b)]
        assert mixed
        assert max(len(batch) for batch in mixed) == 16  # the writer's row and what is read
        writer.stop.set()
        drain(writer)


def test_nobody_guesses_while_somebody_waits_for_the_first_word():
    engine = FakeEngine(least=4000, batch=128, pace=0.0005, predict=lambda tokens, _: 97 + (tokens[-1] - 96) % 26)  # a to z
    with running(engine, parallel=4) as scheduler:
        scheduler.policy.choose = lambda matches, most: 3 if any(matches) else 0
        scheduler._learn = lambda *_: None
        writer = ask(scheduler, SECTIONS[0], 400)
        drain(writer, 60)
        assert scheduler.policy.guessed > 0
        engine.batches.clear()
        drain(ask(scheduler, list(range(97, 117)) * 12, 1))
        mixed = [b for b in engine.batches if any(row.predict for row in b) and any(not row.predict for row in b)]
        assert len(mixed) > 5
        assert all(max(Counter(row.sequence for row in batch if row.predict).values()) == 1 for batch in mixed)
        writer.stop.set()
        drain(writer)


def test_a_prompt_is_read_in_whole_batches_when_nobody_writes():
    engine = FakeEngine(least=4000, batch=128)
    with running(engine) as scheduler:
        answer(scheduler, list(range(97, 117)) * 20, 1)
        assert [len(batch) for batch in engine.batches] == [128, 128, 128, 16]


# States


def labels(scheduler):
    scheduler.pool.flush()
    return sorted((state.label, state.tokens) for state in scheduler.pool.store.saved())


def test_states_are_saved_at_marks_and_nowhere_else(tmp_path):
    section = SECTIONS[0]
    with running(FakeEngine(least=2000), tmp_path) as scheduler:
        answer(scheduler, [*section, 65, 66], 20, marks=section_marks(section))
        assert labels(scheduler) == [("rules", len(RULES)), ("section", len(section))]
        answer(scheduler, [*section, 67], 20, marks=section_marks(section))
        answer(scheduler, [*SECTIONS[1], 67], 20)
        assert labels(scheduler) == [("rules", len(RULES)), ("section", len(section))]


def test_a_saved_state_is_loaded_by_another_process_and_says_the_same(tmp_path):
    section = SECTIONS[0]
    with running(FakeEngine(), tmp_path) as scheduler:
        request = ask(scheduler, section, 0, marks=section_marks(section))
        assert drain(request) == []
        scheduler.pool.flush()
    engine = FakeEngine()
    with running(engine, tmp_path) as scheduler:
        assert scheduler.pool.has(section)
        request = ask(scheduler, [*section, 65], 20, marks=section_marks(section))
        assert drain(request) == alone([*section, 65], 20)
        assert (request.from_memory, request.from_disk, request.joined) == (0, len(section), 0)
        assert len(engine.batches[0]) == 1
        again = ask(scheduler, [*section, 66], 20, marks=section_marks(section))
        assert drain(again) == alone([*section, 66], 20)
        assert (again.from_memory, again.from_disk) == (len(section), 0)


@pytest.mark.parametrize("damage", ["corrupt", "missing", "refused"])
def test_a_state_that_cannot_be_had_is_computed(damage, tmp_path):
    section = SECTIONS[0]
    with running(FakeEngine(), tmp_path) as scheduler:
        answer(scheduler, section, 0, marks=section_marks(section))
        scheduler.pool.flush()
    engine = FakeEngine()
    with running(engine, tmp_path) as scheduler:
        if damage == "missing":
            longest = scheduler.pool.store.longest

            def gone(tokens, lengths):
                found = longest(tokens, lengths)
                for path in tmp_path.glob("*.kv"):
                    path.unlink()
                return found

            scheduler.pool.store.longest = gone
        engine.refuses = damage == "refused"
        for path in tmp_path.glob("*.kv") if damage == "corrupt" else ():
            data = bytearray(path.read_bytes())
            data[-40] ^= 1
            path.write_bytes(data)
        request = ask(scheduler, [*section, 65], 20, marks=section_marks(section))
        assert drain(request) == alone([*section, 65], 20)
        assert (request.from_memory, request.from_disk) == (0, 0)
        settled(scheduler)
        if damage != "refused":
            assert labels(scheduler) == [("rules", len(RULES)), ("section", len(section))]  # mended


def test_the_state_of_another_engine_is_not_loaded(tmp_path):
    section = SECTIONS[0]
    with running(FakeEngine(), tmp_path) as scheduler:
        answer(scheduler, section, 0, marks=section_marks(section))
        scheduler.pool.flush()
    engine = FakeEngine()
    engine.identity = "fake:2"
    with running(engine, tmp_path) as scheduler:
        request = ask(scheduler, [*section, 65], 20, marks=section_marks(section))
        assert drain(request) == alone([*section, 65], 20)
        assert request.from_disk == 0


def test_an_evicted_conversation_comes_back_from_disk_for_this_process_only(tmp_path):
    engine = FakeEngine(least=260, sequences=4, predict=never)
    with running(engine, tmp_path, parallel=1) as scheduler:
        first = [*SECTIONS[0], *range(97, 117), *range(97, 117)]
        said = answer(scheduler, first, 40)
        answer(scheduler, [ord("x")] * 200, 1)  # needs nearly all cells
        assert labels(scheduler) == [(f"{sequences.CONVERSATION}{os.getpid()}", len(first) + 39)]
        request = ask(scheduler, [*first, *said, 65], 10)
        assert drain(request) == alone([*first, *said, 65], 10, never)
        assert (request.from_memory, request.from_disk) == (0, len(first) + 39)
    assert not list(tmp_path.glob("*.kv"))


def test_a_prompt_that_is_all_there_on_disk_is_answered(tmp_path):
    engine = FakeEngine(least=260, sequences=4, predict=never)
    with running(engine, tmp_path, parallel=1) as scheduler:
        prompt = [*SECTIONS[0], *range(97, 117)]
        assert answer(scheduler, prompt, 1) == alone(prompt, 1, never)
        answer(scheduler, [ord("x")] * 200, 1)
        scheduler.pool.flush()
        assert scheduler.pool.store.has(prompt)
        assert answer(scheduler, prompt, 5) == alone(prompt, 5, never)


# Ahead


def test_a_question_interrupts_what_is_computed_ahead_and_it_goes_on_afterwards(tmp_path):
    engine = FakeEngine(least=2000, pace=0.005, batch=128, predict=never)
    with running(engine, tmp_path) as scheduler:
        section = [*RULES, *(list(range(97, 117)) * 6)]
        ahead = ask(scheduler, section, 0, marks=section_marks(section))
        wait_for(lambda: scheduler.pool._held)
        time.sleep(0.05)
        started = time.monotonic()
        assert drain(ask(scheduler, [65, 66, 67], 1), 1) == alone([65, 66, 67], 1, never)
        assert time.monotonic() - started < 0.3  # a batch ahead takes 0.6 s
        assert engine.aborted >= 1
        assert drain(ahead) == []
        assert labels(scheduler) == [("rules", len(RULES)), ("section", len(section))]
        request = ask(scheduler, [*section, 65], 5)
        assert drain(request) == alone([*section, 65], 5, never)
        assert request.from_memory == len(section)
        settled(scheduler)


def test_what_is_computed_ahead_makes_room_for_questions(tmp_path):
    engine = FakeEngine(least=240, sequences=6, pace=0.0005, batch=32, predict=never)
    with running(engine, tmp_path, parallel=2) as scheduler:
        section = [*RULES, *(list(range(97, 117)) * 9)]  # 197 tokens
        ahead = ask(scheduler, section, 0, marks=section_marks(section))
        wait_for(lambda: len(engine.batches) >= 3)
        prompt = [ord("x")] * 180
        assert answer(scheduler, prompt, 20) == alone(prompt, 20, never)
        assert drain(ahead) == []
        assert ("section", len(section)) in labels(scheduler)
        settled(scheduler)


def test_what_does_not_fit_ahead_fails_alone():
    engine = FakeEngine(least=100, sequences=6)
    with running(engine) as scheduler:
        ahead = ask(scheduler, list(range(97, 117)) * 8, 0)
        with pytest.raises(RuntimeError, match="does not fit"):
            drain(ahead)
        assert answer(scheduler, RULES, 5) == alone(RULES, 5)


def test_stopping_what_is_computed_ahead_ends_it_in_the_middle(tmp_path):
    engine = FakeEngine(least=2000, pace=0.01, batch=128)
    with running(engine, tmp_path) as scheduler:
        ahead = ask(scheduler, list(range(97, 117)) * 6, 0, marks=(Mark(120, "section"),))
        wait_for(lambda: scheduler.pool._held)
        started = time.monotonic()
        ahead.stop.set()
        scheduler.interrupt()
        assert drain(ahead) == []
        assert time.monotonic() - started < 0.5
        assert labels(scheduler) == []
        settled(scheduler)


# Joining


def joined_answer(tokens, piece, limit):
    """What a joined piece makes of the answer: its cells keep the values that they have behind another beginning."""
    start = piece.start + piece.link
    values = chain(tokens[:start])
    values += chain(piece.source)[len(piece.source) - (piece.end - start) :]
    return alone(tokens, limit, values=values)


@pytest.fixture
def joinable():
    """Rules, first section, a part of the second, a question."""
    part = SECTIONS[1][len(RULES) :]
    start = len(SECTIONS[0])
    piece = Piece(start, start + len(part), tuple(SECTIONS[1]), link=8)
    return [*SECTIONS[0], *part, 65, 66], piece


def test_a_joined_piece_is_taken_from_its_state_but_for_its_link(joinable, tmp_path):
    tokens, piece = joinable
    engine = FakeEngine()
    with running(engine, tmp_path) as scheduler:
        answer(scheduler, SECTIONS[1], 0, marks=section_marks(SECTIONS[1]))
        scheduler.pool.flush()
        engine.batches.clear()
        request = ask(scheduler, tokens, 30, pieces=(piece,), drafts=False)
        assert drain(request) == joined_answer(tokens, piece, 30) != alone(tokens, 30)
        assert request.joined == piece.end - piece.start - 8
        computed = len(tokens) - request.joined - request.from_memory
        assert sum(len(batch) for batch in engine.batches if len(batch) > 1) == computed
        settled(scheduler)


def test_without_its_source_a_piece_is_computed(joinable, tmp_path):
    tokens, piece = joinable
    for folder in (tmp_path, None):
        with running(FakeEngine(), folder) as scheduler:
            request = ask(scheduler, tokens, 30, pieces=(piece,))
            assert drain(request) == alone(tokens, 30)
            assert request.joined == 0


def test_a_piece_at_the_end_of_the_prompt_is_computed_because_its_prediction_is_needed(joinable, tmp_path):
    tokens, piece = joinable
    with running(FakeEngine(), tmp_path) as scheduler:
        answer(scheduler, SECTIONS[1], 0, marks=section_marks(SECTIONS[1]))
        scheduler.pool.flush()
        assert drain(ask(scheduler, tokens[:-2], 10, pieces=(piece,))) == alone(tokens[:-2], 10)


def test_nothing_behind_a_joined_piece_is_ever_saved(joinable, tmp_path):
    tokens, piece = joinable
    engine = FakeEngine(least=300, sequences=4)
    with running(engine, tmp_path, parallel=1) as scheduler:
        answer(scheduler, SECTIONS[1], 0, marks=section_marks(SECTIONS[1]))
        saved = labels(scheduler)
        late = Mark(len(tokens) - 1, "late")
        said = answer(scheduler, tokens, 10, pieces=(piece,), marks=(late,))
        assert labels(scheduler) == saved
        more = [*tokens, *said, *range(97, 117)]
        request = ask(scheduler, more, 5, marks=(Mark(len(more) - 1, "later"),))  # goes on in memory behind the joined piece
        drain(request)
        assert request.from_memory > piece.end
        answer(scheduler, [ord("x")] * 250, 1)  # evicts it
        assert labels(scheduler) == saved


def test_joining_under_pressure_gives_the_computed_or_the_joined_answer(tmp_path):
    engine = FakeEngine(least=420, sequences=7)
    with running(engine, tmp_path, parallel=3) as scheduler:
        for section in SECTIONS:
            answer(scheduler, section, 0, marks=section_marks(section))
        scheduler.pool.flush()
        cases = []
        for n in range(40):
            first, second = SECTIONS[n % 6], SECTIONS[(n * 5 + 1) % 6]
            part = second[len(RULES) :]
            piece = Piece(len(first), len(first) + len(part), tuple(second), link=4)
            tokens = [*first, *part, 65 + n % 26, 66 + n // 26]
            cases.append((tokens, piece, ask(scheduler, tokens, 15, pieces=(piece,))))
        for tokens, piece, request in cases:
            said = drain(request)
            assert said in (alone(tokens, 15), joined_answer(tokens, piece, 15))
        settled(scheduler)
