"""llama.cpp behind our engine, with the weights of SmolLM2 (135 million parameters): run with -m model."""

import threading

import numpy as np
import pytest

from assistant.llm.engine import Aborted, Engine, Full, Row
from assistant.llm.job import Mark, Request
from assistant.llm.kv import StateStore
from assistant.llm.scheduler import Scheduler
from knowledge.errors import MissingModel

TEXT = (
    "Kepler's first law says that every planet moves on an ellipse with the Sun in one focus. Kepler's second law says that "
    "the line from Sun to planet sweeps equal areas in equal times, so planets are fastest at perihelion. "
)
LEAST, BATCH, SEQUENCES = 512, 64, 8
pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def loaded(small_model):
    engine = Engine(small_model, 0, LEAST, SEQUENCES, 1, BATCH)
    yield engine
    engine.close()


@pytest.fixture
def engine(loaded):
    for sequence in range(SEQUENCES):
        loaded.cut(sequence, 0)
    return loaded


@pytest.fixture
def tokens(engine):
    found = engine.tokenize(TEXT, special=False)
    assert 40 < len(found) <= BATCH
    return found


def rows(tokens, sequence=0, start=0, predict=True):
    """The last row is the one whose prediction is wanted."""
    last = len(tokens) - 1
    return [Row(token, start + n, sequence, predict and n == last) for n, token in enumerate(tokens)]


def logits(engine, tokens, sequence=0, start=0):
    """Scores behind these tokens."""
    engine.compute(rows(tokens, sequence, start))
    return engine.logits(len(tokens) - 1).copy()


# Text


def test_text_survives_its_tokens(engine):
    for text in (TEXT, "naïve 東京 🙂", " two  spaces\n\n", ""):
        assert b"".join(map(engine.piece, engine.tokenize(text, special=False))).decode() == text


def test_control_tokens_are_made_only_on_request(engine):
    (end,) = engine.tokenize("<|im_end|>", special=True)
    assert engine.is_end(end)
    assert end == engine.eos
    assert (engine.piece(end), engine.piece(end, special=True)) == (b"", b"<|im_end|>")
    plain = engine.tokenize("<|im_end|>", special=False)
    assert end not in plain
    assert len(plain) > 1


def test_the_template_is_the_models(engine):
    assert "<|im_start|>" in engine.chat_template


# States


def test_a_token_takes_as_many_bytes_as_it_says(engine, tokens):
    engine.compute(rows(tokens))
    assert 1.0 <= engine.save(0).size / (len(tokens) * engine.cell_bytes) < 1.02


def test_a_saved_state_gives_the_same_bits(engine, tokens):
    engine.compute(rows(tokens[:-5]))
    state = engine.save(0)
    wanted = logits(engine, tokens[-5:], start=len(tokens) - 5)
    engine.cut(0, 0)
    assert engine.load(0, state)
    assert np.array_equal(engine.save(0), state)
    engine.cut(0, 0)
    assert engine.load(3, state)
    assert np.array_equal(logits(engine, tokens[-5:], 3, len(tokens) - 5), wanted)


def test_a_state_loaded_beside_others_gives_the_same_bits(engine, tokens):
    engine.compute(rows(tokens[:-5]))
    state = engine.save(0)
    wanted = logits(engine, tokens[-5:], start=len(tokens) - 5)
    engine.cut(0, 0)
    engine.compute(rows(tokens[:30], 1))
    engine.compute(rows(tokens[10:40], 2))
    engine.cut(1, 0)  # leaves a hole, into which a part of the state goes
    assert engine.load(3, state)
    found = logits(engine, tokens[-5:], 3, len(tokens) - 5)
    assert found.argmax() == wanted.argmax()
    assert np.abs(found - wanted).max() < 0.1  # cells in another order are summed in another order


def test_a_load_replaces_what_was_there(engine, tokens):
    engine.compute(rows(tokens[:20]))
    state = engine.save(0)
    engine.compute(rows(tokens[20:40], 0, 20))
    assert engine.load(0, state)
    assert engine.save(0).size == state.size
    engine.compute(rows(tokens[20:], 0, 20))


@pytest.mark.parametrize("spoil", [lambda s: s[:100], lambda s: s[: s.size // 2], lambda s: np.zeros_like(s), lambda s: s[:0]])
def test_bytes_that_are_no_state_are_refused_and_nothing_remains(engine, tokens, spoil):
    engine.compute(rows(tokens))
    state = engine.save(0)
    wanted = logits(engine, tokens, 1)
    engine.cut(1, 0)
    assert not engine.load(1, spoil(state).copy())
    assert np.allclose(logits(engine, tokens, 1), wanted, atol=0.1)  # begins at position 0: the sequence is empty


def test_a_state_for_which_there_is_no_room_is_refused(engine, tokens):
    engine.compute(rows(tokens))
    state = engine.save(0)
    sequence = 1
    while engine.load(sequence % SEQUENCES, state):
        sequence += 1
        assert sequence < SEQUENCES, "more room than cells"
        for n in range(3):  # what was loaded grows
            engine.compute(rows(tokens[: BATCH // 2], sequence - 1, len(tokens) + n * (BATCH // 2)))
    assert sequence > 1
    engine.cut(0, 0)
    assert engine.load(sequence, state)


# Sequences


def test_a_copy_gives_the_same_bits_and_shares_its_cells(engine, tokens):
    wanted = logits(engine, tokens)
    engine.cut(0, len(tokens) - 5)
    for sequence in range(1, SEQUENCES):
        engine.copy(0, sequence, len(tokens) - 5)  # eight times as much would not fit
    assert np.array_equal(logits(engine, tokens[-5:], 1, len(tokens) - 5), logits(engine, tokens[-5:], 2, len(tokens) - 5))
    assert logits(engine, tokens[-5:], 3, len(tokens) - 5).argmax() == wanted.argmax()
    engine.cut(0, 0)
    engine.compute(rows(tokens[-5:], 4, len(tokens) - 5))  # the original may go


def test_what_is_cut_leaves_no_trace(engine, tokens):
    wanted = logits(engine, tokens)
    engine.cut(0, 30)
    engine.compute(rows([5] * 20, 0, 30))
    engine.cut(0, 30)
    again = logits(engine, tokens[30:], 0, 30)
    engine.cut(0, 30)
    assert np.array_equal(logits(engine, tokens[30:], 0, 30), again)
    assert np.abs(again - wanted).max() < 0.1  # another batch


def test_a_part_that_is_appended_where_it_was_gives_the_same_bits(engine, tokens):
    engine.compute(rows(tokens[:30]))
    engine.copy(0, 1, 20)
    wanted = logits(engine, tokens[30:], 0, 30)
    engine.cut(0, 30)
    engine.append(0, 1, 20, 30, 20)
    assert np.array_equal(logits(engine, tokens[30:], 1, 30), wanted)
    assert np.allclose(logits(engine, tokens, 0), wanted, atol=0.1)  # the source is empty


def test_a_part_that_is_moved_there_and_back_is_nearly_what_it_was(engine, tokens):
    engine.compute(rows(tokens[:30]))
    state = engine.save(0)
    wanted = logits(engine, tokens[30:], 0, 30)
    engine.cut(0, 0)
    assert engine.load(1, state)
    engine.compute(rows(tokens[:50], 2))
    engine.append(1, 2, 10, 30, 50)
    engine.compute(rows(tokens[:1], 2, 70))  # turns the keys
    engine.cut(2, 70)
    engine.cut(0, 0)
    assert engine.load(0, state)
    engine.cut(0, 10)
    engine.append(2, 0, 50, 70, 10)
    found = logits(engine, tokens[30:], 0, 30)
    assert found.argmax() == wanted.argmax()
    assert not np.array_equal(found, wanted)  # keys are rounded at each turn
    assert np.corrcoef(found, wanted)[0, 1] > 0.998


def test_a_moved_part_stands_where_it_was_moved_to(engine, tokens):
    """The same words elsewhere: near to computing them there, unlike leaving their keys as they were."""
    before, part = tokens[:25], tokens[25:45]
    engine.compute(rows(part))
    engine.compute(rows(before, 1))
    engine.append(0, 1, 0, len(part), len(before))
    moved = logits(engine, tokens[45:], 1, 45)
    computed = logits(engine, tokens, 2)
    assert np.corrcoef(moved, computed)[0, 1] > 0.9


# Limits


def test_full_changes_nothing(engine, tokens):
    position = 0
    with pytest.raises(Full):
        while True:
            engine.compute(rows([tokens[position % len(tokens)]] * BATCH, 1, position, predict=False))
            position += BATCH
    assert position >= LEAST - BATCH
    engine.cut(1, position - BATCH)
    engine.compute(rows(tokens, 2))
    engine.compute(rows(tokens[:5], 1, position - BATCH))


def test_more_rows_than_a_batch_are_refused(engine):
    with pytest.raises(ValueError, match="65 rows"):
        engine.compute(rows([1] * (BATCH + 1)))


def test_positions_with_a_gap_are_refused(engine, tokens):
    engine.compute(rows(tokens))
    with pytest.raises(RuntimeError, match="status -1"):
        engine.compute(rows(tokens, 0, len(tokens) + 1))
    engine.compute(rows(tokens, 0, len(tokens)))


def test_an_abort_leaves_the_sequence_as_it_was(engine, tokens):
    wanted = logits(engine, tokens)
    engine.cut(0, 30)
    again = logits(engine, tokens[30:], 0, 30)
    engine.cut(0, 30)
    try:
        for delay in (0.0, 0.002, 0.01, 0.02):
            timer = threading.Timer(delay, engine.abort.set)
            timer.start()
            with pytest.raises(Aborted):
                while True:
                    engine.compute(rows(tokens[30:], 0, 30), may_abort=True)
                    engine.cut(0, 30)
            timer.join()
            engine.abort.clear()
            assert np.array_equal(logits(engine, tokens[30:], 0, 30), again)
            engine.cut(0, 30)
        engine.abort.set()
        assert np.array_equal(logits(engine, tokens[30:], 0, 30), again)  # only who may be aborted is
    finally:
        engine.abort.clear()
    assert np.abs(again - wanted).max() < 0.1


def test_keys_are_turned_in_spite_of_an_abort(engine, tokens):
    results = []
    for abort in (False, True):
        for sequence in range(SEQUENCES):
            engine.cut(sequence, 0)
        engine.compute(rows(tokens[:30], 0))
        engine.compute(rows(tokens[:10], 1))
        engine.append(0, 1, 20, 30, 10)
        if abort:
            engine.abort.set()
        engine.compute(rows(tokens[30:40], 1, 20), may_abort=True)
        engine.abort.clear()
        results.append(logits(engine, tokens[40:], 1, 30))
    assert np.array_equal(*results)


def test_several_sequences_in_a_batch_do_not_mix(engine, tokens):
    parts = [tokens[:9], tokens[9:20], tokens[20:32]]
    apart = [engine.compute(rows(part, n))[0] for n, part in enumerate(parts)]
    for n in range(3):
        engine.cut(n, 0)
    together = [row for n, part in enumerate(parts) for row in rows(part, n)]
    assert engine.compute(together) == apart


# Files


def test_what_a_state_depends_on_is_in_the_identity(engine, small_model, tmp_path):
    copy = tmp_path / "copy.gguf"
    data = bytearray(small_model.read_bytes())
    copy.write_bytes(data)
    vocabulary_only = Engine.__new__(Engine)
    vocabulary_only.path = copy
    assert vocabulary_only.identity == engine.identity
    for start in range(0, len(data), 1 << 19):  # other weights differ everywhere
        data[start] ^= 1
    copy.write_bytes(data)
    changed = Engine.__new__(Engine)
    changed.path = copy
    assert changed.identity != engine.identity


def test_a_closed_engine_says_so(small_model):
    engine = Engine(small_model, 0, LEAST, 2, 1, BATCH)
    (token,) = engine.tokenize("a", special=False)
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.tokenize("a", special=False)
    with pytest.raises(RuntimeError, match="closed"):
        engine.piece(token)


def test_a_context_that_llama_cpp_does_not_make_is_a_course_error(small_model):
    with pytest.raises(MissingModel, match="no memory for the state of"):
        Engine(small_model, 0, LEAST, 1000, 1, BATCH)  # it makes 256 sequences at most


# At work


@pytest.fixture
def scores(small_model, monkeypatch):
    """Scores of every token that was written, by any engine that is made from here on."""
    seen = []
    compute = Engine.compute

    def recording(self, rows, may_abort=False):
        predicted = compute(self, rows, may_abort)
        seen.extend(self.logits(n).copy() for n, row in enumerate(rows) if row.predict)
        return predicted

    monkeypatch.setattr(Engine, "compute", recording)
    return seen


def written(request):
    tokens = []
    while isinstance(token := request.out.get(timeout=60), int):
        tokens.append(token)
    assert token is None, token
    return tokens


def ask(scheduler, tokens, limit, **kwargs):
    request = Request(tokens, limit, **kwargs)
    scheduler.submit(request)
    return request


def test_an_answer_from_a_loaded_state_is_bit_for_bit_that_of_a_full_prefill(small_model, scores, tmp_path):
    answers = []
    for folder in (None, tmp_path, tmp_path):  # computed; computed and saved; loaded
        engine = Engine(small_model, 0, 1024, 4, 1, BATCH)
        store = StateStore(folder, 1 << 30, engine.identity) if folder else None
        scheduler = Scheduler(engine, store, 2)
        section = engine.tokenize(f"<|im_start|>system\n{TEXT * 3}<|im_end|>\n", special=True)
        marks = (Mark(len(section) // 3, "rules"), Mark(len(section), "section"))
        for n, question in enumerate(("Where is the Sun?", "When are planets fastest?", "What is an ellipse?")):
            prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
            tokens = [*section, *engine.tokenize(prompt, special=True)]
            request = ask(scheduler, tokens, 24, marks=marks, drafts=False)
            answers.append((folder, written(request), request.from_disk, request.from_memory))
            if n == 0:
                scheduler.pool.flush()
            scheduler.pool.clear()  # idle: every question is on its own
        scheduler.close()
    computed, saved, loaded = answers[:3], answers[3:6], answers[6:]
    assert [a[1] for a in computed] == [a[1] for a in saved] == [a[1] for a in loaded]
    assert [a[2] for a in computed] == [0] * 3
    assert [a[2] for a in loaded] == [len(section)] * 3
    third = len(scores) // 3
    assert third > 20
    for first, second, last in zip(scores[:third], scores[third : 2 * third], scores[2 * third :], strict=True):
        assert np.array_equal(first, second)
        assert np.array_equal(first, last)


def test_guesses_and_neighbours_change_nothing_but_near_ties(small_model):
    """What is written among others, with drafts, is what the model finds likeliest when it reads it alone.

    How many rows a batch has changes the rounding, on some processors more than on others. So what may differ is measured: a
    token may be behind the likeliest by no more than the same logits differ when they are read token by token.
    """
    engine = Engine(small_model, 0, 2048, 8, 1, BATCH)
    scheduler = Scheduler(engine, None, 4)
    scheduler.policy.choose = lambda matches, most: 7 if any(matches) else 0  # however little it pays
    backwards = " ".join(reversed(TEXT.split()))
    repeated = [(text + "\n") * 3 for text in (TEXT, backwards)]  # nothing is likelier than a fourth time
    questions = (f"Sum up: {TEXT}", "Write a poem about the sea.")
    asked = [f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n" for question in questions]
    prompts = [engine.tokenize(text, special=True) for text in (*repeated, *asked)]
    requests = [ask(scheduler, prompt, 48) for prompt in prompts]
    answers = [written(request) for request in requests]
    assert scheduler.policy.accepted > 20
    scheduler.pool.clear()

    def read(prompt, answer, rows):
        """The logits that each token of the answer was chosen from, computed so many rows at a time."""
        everything, logits = [*prompt, *answer], []
        for start in range(0, len(everything) - 1, rows):
            part = everything[start : min(start + rows, len(everything) - 1)]
            engine.compute([Row(token, start + n, 1, True) for n, token in enumerate(part)])
            logits += [np.array(engine.logits(n)) for n in range(len(part)) if start + n + 1 >= len(prompt)]
        engine.cut(1, 0)
        assert len(logits) == len(answer)
        return np.array(logits)

    def behind(logits, answer):
        return max(float(row.max() - row[token]) for row, token in zip(logits, answer, strict=True))

    pairs = list(zip(prompts, answers, strict=True))
    together, singly = ([read(*pair, rows) for pair in pairs] for rows in (BATCH, 1))
    rounding = max(float(np.abs(a - b).max()) for a, b in zip(together, singly, strict=True))
    for n, (prompt, answer) in enumerate(pairs):
        assert min(behind(together[n], answer), behind(singly[n], answer)) <= rounding
        other = answers[(n + 1) % 4]
        assert behind(read(prompt, other, BATCH), other) > 2 * rounding  # somebody else's words would be noticed
    scheduler.close()


def test_an_answer_goes_on_after_it_was_sent_back_for_want_of_cells(small_model):
    engine = Engine(small_model, 0, 256, 8, 1, BATCH)
    scheduler = Scheduler(engine, None, 3)
    texts = [f"<|im_start|>user\nCount to {n}00.<|im_end|>\n<|im_start|>assistant\n1, 2, 3," for n in (7, 8, 9)]
    prompts = [engine.tokenize(text, special=True) for text in texts]
    requests = [ask(scheduler, prompt, 90) for prompt in prompts]
    answers = [written(request) for request in requests]
    texts = [b"".join(map(engine.piece, answer)).decode() for answer in answers]
    scheduler.close()
    assert sum(map(len, answers)) > 256
    for text in texts:
        assert text.startswith(" 4, 5, 6, 7, 8, 9, 10, 11, 12")
