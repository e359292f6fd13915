"""What is kept where: the beginning that a sequence opens with is as if it were computed, whatever was evicted meanwhile."""

import os
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_engine import FakeEngine, chain
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from assistant.llm import sequences
from assistant.llm.engine import Full, Row
from assistant.llm.kv import StateStore
from assistant.llm.sequences import CONVERSATION, SequencePool, _rounded

RULES = list(range(10, 40))
SECTION = [*RULES, *range(100, 200)]
MARKS = (len(RULES), len(SECTION))
QUESTION = list(range(60, 80))


@contextmanager
def pool_of(engine, folder=None, budget=1 << 24):
    pool = SequencePool(engine, StateStore(folder, budget, engine.identity) if folder else None)
    try:
        yield pool
    finally:
        pool.close()


def compute(pool, engine, sequence, tokens):
    """Put tokens behind what a sequence holds; idle sequences make room."""
    for start in range(0, len(tokens), engine.batch):
        part = tokens[start : start + engine.batch]
        rows = [Row(token, len(sequence.tokens) + n, sequence.id) for n, token in enumerate(part)]
        while True:
            try:
                engine.compute(rows)
                break
            except Full:
                if not pool.make_room():
                    raise
        sequence.tokens += part


def read(pool, engine, tokens, marks=(), keep_last=True, label=None):
    """Open a prompt and compute the rest of it; save it at the marks if it has a label."""
    sequence, from_memory, from_disk = pool.open(tokens, marks, keep_last)
    done = len(sequence.tokens)
    assert done == from_memory + from_disk <= len(tokens) - keep_last
    assert sequence.tokens == tokens[:done]
    for end in sorted({mark for mark in marks if mark > done} | {len(tokens)}):
        compute(pool, engine, sequence, tokens[len(sequence.tokens) : end])
        if label and end in marks:
            pool.save(sequence, label)
    assert engine.tokens(sequence.id) == sequence.tokens == tokens
    return sequence, from_memory, from_disk


def consistent(pool, engine):
    for held in pool._held:
        assert engine.tokens(held.id) == held.tokens
        if held.joined is None:
            assert engine.values(held.id) == chain(held.tokens)
    assert sorted([held.id for held in pool._held] + pool._free) == list(range(1, engine.sequences))
    assert all(engine.tokens(id_) == [] for id_ in pool._free)


# Memory


def test_a_conversation_goes_on_in_its_own_sequence():
    engine = FakeEngine()
    with pool_of(engine) as pool:
        first, *_ = read(pool, engine, SECTION)
        pool.release(first)
        again, from_memory, _ = read(pool, engine, [*SECTION, *QUESTION])
        assert again is first
        assert from_memory == len(SECTION)


def test_two_prompts_share_the_cells_of_their_beginning():
    engine = FakeEngine()
    with pool_of(engine) as pool:
        read(pool, engine, [*SECTION, 1])
        _, from_memory, _ = read(pool, engine, [*SECTION, 2], MARKS)
        assert from_memory == len(SECTION)
        assert engine.used == len(SECTION) + 2


def test_a_busy_sequence_is_copied_not_taken():
    engine = FakeEngine()
    with pool_of(engine) as pool:
        first, *_ = read(pool, engine, SECTION)
        second, from_memory, _ = read(pool, engine, [*SECTION, 2])
        assert second is not first
        assert from_memory == len(SECTION)
        assert first.tokens == SECTION


def test_the_last_token_is_left_where_its_prediction_is_needed():
    engine = FakeEngine()
    with pool_of(engine) as pool:
        pool.release(read(pool, engine, SECTION, MARKS)[0])
        assert pool.open(SECTION, MARKS, True)[1] == len(SECTION) - 1
        assert pool.open(SECTION, MARKS, False)[1] == len(SECTION)


def test_a_prompt_that_ends_inside_another_does_not_take_its_sequence():
    engine = FakeEngine()
    with pool_of(engine) as pool:
        first, *_ = read(pool, engine, [*SECTION, *QUESTION])
        pool.release(first)
        second, from_memory, _ = pool.open(SECTION, MARKS, False)
        assert second is not first
        assert (from_memory, first.tokens) == (len(SECTION), [*SECTION, *QUESTION])


@pytest.mark.parametrize(
    ("shared", "held", "marks", "used"),
    [
        (100, 100, (30,), 100),  # all that is held: a conversation that goes on
        (100, 120, (30,), 100),  # 70 tokens beyond the mark are worth other bits
        (93, 120, (30,), 30),  # 63 are not
        (94, 120, (30,), 94),
        (100, 120, (30, 100), 100),
        (100, 120, (30, 101), 100),
        (63, 120, (), 0),  # the same without a mark
        (64, 120, (), 64),
        (20, 120, (30,), 0),
        (20, 20, (30,), 20),
        (0, 0, (30,), 0),
    ],
)
def test_a_few_tokens_beyond_a_mark_are_not_worth_other_slices(shared, held, marks, used):
    assert _rounded(shared, held, marks) == used


def test_the_one_that_was_idle_longest_goes():
    engine = FakeEngine(sequences=4)
    with pool_of(engine) as pool:
        first, second, third = (read(pool, engine, [n, *QUESTION])[0] for n in (1, 2, 3))
        for one in (second, first, third):
            pool.release(one)
        fourth, *_ = pool.open([4], (), True)
        assert second not in pool._held
        assert fourth.id == second.id
        consistent(pool, engine)


def test_busy_sequences_never_go():
    engine = FakeEngine(sequences=3)
    with pool_of(engine) as pool:
        read(pool, engine, [1, *QUESTION])
        read(pool, engine, [2, *QUESTION])
        assert not pool.make_room()
        with pytest.raises(Full):
            pool.open([3], (), True)


def test_a_beginning_that_has_to_make_room_for_its_own_copy_is_computed():
    engine = FakeEngine(sequences=2)  # one for pieces, one for everybody
    with pool_of(engine) as pool:
        pool.release(read(pool, engine, [*SECTION, 1])[0])
        _, from_memory, from_disk = read(pool, engine, [*SECTION, 2], MARKS)
        assert (from_memory, from_disk) == (0, 0)
        consistent(pool, engine)


def test_cutting_and_clearing():
    engine = FakeEngine()
    with pool_of(engine) as pool:
        one, *_ = read(pool, engine, SECTION)
        pool.cut(one, 50)
        assert one.tokens == engine.tokens(one.id) == SECTION[:50]
        consistent(pool, engine)
        pool.clear()
        assert engine.used == 0
        assert not pool.has(SECTION[:50])


# Disk


def labels(pool):
    pool.flush()
    return Counter(state.label for state in pool.store.saved())


def test_the_longest_mark_on_disk_is_loaded(tmp_path):
    engine = FakeEngine()
    with pool_of(engine, tmp_path) as pool:
        read(pool, engine, [*SECTION, 1], MARKS, label="section")
        assert labels(pool) == {"section": 2}
        pool.clear()
        for tokens, length in (([*SECTION, 2], len(SECTION)), ([*RULES, 2], len(RULES)), (SECTION, len(RULES))):
            _, from_memory, from_disk = read(pool, engine, tokens, MARKS)
            assert (from_memory, from_disk) == (0, length)
            consistent(pool, engine)
            pool.clear()
        assert pool.has(SECTION)
        assert not pool.has(SECTION[:-1])
        assert pool.open([*SECTION, 3], (), True)[2] == 0  # nobody has said that it may be there


def test_memory_is_preferred_where_it_holds_as_much(tmp_path):
    engine = FakeEngine()
    with pool_of(engine, tmp_path) as pool:
        read(pool, engine, [*SECTION, 1], MARKS, label="section")
        pool.flush()
        loads = []
        pool.store.load = lambda tokens: loads.append(len(tokens))
        assert pool.open([*SECTION, 2], MARKS, True)[1:] == (len(SECTION), 0)
        assert loads == []


def test_a_conversation_that_was_evicted_is_not_loaded_where_memory_holds_more(tmp_path):
    engine = FakeEngine(sequences=3)
    with pool_of(engine, tmp_path) as pool:
        short = [*SECTION, 1]
        pool.release(read(pool, engine, short)[0])
        assert pool.make_room()
        pool.flush()
        pool.release(read(pool, engine, [*short, *QUESTION])[0])
        assert pool.open([*short, *QUESTION, 5], (), True)[1:] == (len(short) + len(QUESTION), 0)


@pytest.mark.parametrize("keep_last", [True, False])
def test_a_conversation_on_disk_that_is_the_whole_prompt(keep_last, tmp_path):
    engine = FakeEngine()
    with pool_of(engine, tmp_path) as pool:
        pool.release(read(pool, engine, SECTION)[0])
        assert pool.make_room()
        pool.flush()
        assert pool.open(SECTION, (), keep_last)[2] == (0 if keep_last else len(SECTION))


def test_what_is_evicted_is_saved_if_it_is_worth_it_and_not_elsewhere(tmp_path):
    engine = FakeEngine()
    with pool_of(engine, tmp_path) as pool:
        one, *_ = read(pool, engine, SECTION)
        for own, tokens in ((0, SECTION[:100]), (40, [*SECTION, *range(40)]), (60, [*SECTION, *range(60)])):
            other, *_ = read(pool, engine, tokens)
            pool.release(other)
            assert pool.make_room()
            assert labels(pool) == ({f"{CONVERSATION}{os.getpid()}": 1} if own == 60 else {})
        assert pool._held == [one]


def test_saving_again_what_is_saved_writes_nothing(tmp_path):
    engine = FakeEngine()
    with pool_of(engine, tmp_path) as pool:
        one, *_ = read(pool, engine, SECTION)
        pool.save(one, "a")
        pool.flush()
        pool.save(one, "b")
        assert labels(pool) == {"a": 1}
        pool.release(one)
        assert pool.make_room()  # it is on disk already
        assert labels(pool) == {"a": 1}


def test_only_sections_outlive_the_pool(tmp_path):
    engine = FakeEngine()
    with pool_of(engine, tmp_path) as pool:
        read(pool, engine, SECTION, MARKS, label="section")
        pool.release(read(pool, engine, [9, *range(100)])[0])
        assert pool.make_room()
        assert len(labels(pool)) == 2
    left = StateStore(tmp_path, 1 << 24, engine.identity).saved()
    assert {state.label for state in left} == {"section"}


def test_a_load_makes_room_and_a_refusal_does_not_go_on_for_ever(tmp_path):
    engine = FakeEngine(least=200)
    with pool_of(engine, tmp_path) as pool:
        read(pool, engine, [*SECTION, 1], MARKS, label="section")
        pool.flush()
        pool.clear()
        pool.release(read(pool, engine, [1, *range(150)])[0])
        _, _, from_disk = read(pool, engine, [*SECTION, 2], MARKS)
        assert from_disk == len(SECTION)
        pool.clear()
        pool.release(read(pool, engine, [1, *range(40)])[0])
        engine.refuses = True
        _, _, from_disk = read(pool, engine, [*SECTION, 3], MARKS)
        assert from_disk == 0
        assert pool.has([1, *range(40)])  # there was room, so nobody had to go for it
        consistent(pool, engine)


# Joining


def join(pool, engine, sequence, source, length):
    values = [*engine.values(sequence.id), *chain(source)[-length:]]
    joined = pool.join(sequence, tuple(source), length)
    assert engine.values(sequence.id) == (values if joined else values[:-length])
    return joined


def test_what_is_joined_is_neither_saved_nor_taken_for_exact(tmp_path):
    engine = FakeEngine()
    other = [*RULES, *range(200, 256)]
    with pool_of(engine, tmp_path) as pool:
        read(pool, engine, other, (len(other),), label="other")
        pool.flush()
        one, *_ = read(pool, engine, [*SECTION, 200])
        assert join(pool, engine, one, other, 55)
        assert one.tokens == [*SECTION, *range(200, 256)]
        assert one.joined == len(SECTION) + 1
        beyond, *_ = pool.open([*one.tokens, 1], (), True)
        until, *_ = pool.open([*SECTION, 200, 7], (len(SECTION) + 1,), True)
        assert (beyond.joined, until.joined) == (one.joined, None)
        for sequence in (one, beyond):
            pool.save(sequence, "wrong")
            pool.release(sequence)
        assert pool.make_room()
        assert pool.make_room()
        assert labels(pool) == {"other": 1}
        assert not join(pool, engine, until, [1, 2, 3], 2)  # not there
        consistent(pool, engine)


# Anything


class History(RuleBasedStateMachine):
    """Whatever happens in whatever order, sequences hold what they say, and cells that nobody holds are free."""

    @initialize(
        cells=st.sampled_from([250, 400, 900]),
        count=st.integers(3, 7),
        disk=st.booleans(),
        budget=st.sampled_from([8_000, 1 << 24]),
    )
    def begin(self, cells, count, disk, budget):
        self.folder = Path(tempfile.mkdtemp()) if disk else None
        self.engine = FakeEngine(least=cells, sequences=count, batch=32)
        self.pool = SequencePool(self.engine, StateStore(self.folder, budget, "fake:1") if self.folder else None)
        self.busy = []
        self.texts = [[*SECTION], [*RULES, *range(50)], [*RULES, *range(200, 256)]]

    @rule(data=st.data(), more=st.lists(st.integers(0, 2), max_size=70), keep_last=st.booleans())
    def open(self, data, more, keep_last):
        tokens = [*data.draw(st.sampled_from(self.texts)), *more]
        try:
            sequence, from_memory, from_disk = self.pool.open(tokens, MARKS, keep_last)
            self.busy.append(sequence)
            done = len(sequence.tokens)
            assert done == from_memory + from_disk <= len(tokens) - keep_last
            compute(self.pool, self.engine, sequence, tokens[done : data.draw(st.integers(0, len(tokens)))])
        except Full:
            assert self.busy
        self.texts.append(tokens)

    @precondition(lambda self: self.busy)
    @rule(data=st.data(), what=st.sampled_from(["release", "save", "cut", "join"]))
    def change(self, data, what):
        sequence = data.draw(st.sampled_from(self.busy))
        if what == "release":
            self.busy.remove(sequence)
            self.pool.release(sequence)
        elif what == "save":
            self.pool.save(sequence, "mark")
        elif what == "cut":
            self.pool.cut(sequence, data.draw(st.integers(0, len(sequence.tokens))))
        else:
            source = data.draw(st.sampled_from(self.texts))
            join(self.pool, self.engine, sequence, source, data.draw(st.integers(1, len(source))))

    @rule()
    def flush(self):
        self.pool.flush()

    @invariant()
    def sequences_are_what_they_say(self):
        consistent(self.pool, self.engine)

    def teardown(self):
        for sequence in self.busy:
            self.pool.release(sequence)
        while self.pool.make_room():
            consistent(self.pool, self.engine)
        assert self.engine.used == 0
        assert sequences._PIECES not in self.pool._free
        self.pool.close()
        if self.folder:
            shutil.rmtree(self.folder)


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
