"""The benchmarks of the engine, on an engine without weights."""

import json
import random
import threading
import time

import numpy as np
import pytest
from fake_engine import END, FakeEngine
from fake_model import FakeChatModel
from langchain_core.messages import AIMessage, HumanMessage

from assistant.events import Done, Exchange
from assistant.llm.chat_llama import ChatLlama
from assistant.llm.kv import StateStore
from assistant.prompts import section_prompt
from assistant.settings import EngineSettings
from evals.bench import bandwidth, drafting, engine, material, overview_text, reuse, traffic, traffic_report, ttft, users
from evals.bench.engine import Setting, Speeds
from evals.bench.machine import quantile, spread
from evals.bench.overview import Overview, _others
from evals.bench.states import ReadOnlyStore, forget, without_state
from knowledge.passage import Passage
from knowledge.settings import ChunkingSettings


def chapter(n):
    letter = "abcdefghij"[n]
    passages = [
        Passage(
            f"p{n}{i}", "d", f"s{n}", "course/x.md", "Lesson", (f"Part {letter}",), None, None, 0, 1, f"{letter * 40} {i}.", 9
        )
        for i in range(3)
    ]
    return material.Chapter(f"s{n}", tuple(passages))


def never(tokens, digest):
    """Always another letter, and no end."""
    return 97 + digest % 26


@pytest.fixture
def model(monkeypatch, tmp_path):
    def build(path, memory, least, sequences, threads, batch):
        return FakeEngine(path, memory, 4 * least, sequences, threads, batch, predict=never)

    monkeypatch.setattr("assistant.llm.engine.Engine", build)
    settings = EngineSettings(disk_mb=64)
    one = ChatLlama(path=tmp_path / "fake.gguf", context=4000, threads=1, states=tmp_path / "states", engine=settings)
    yield one
    one.scheduler.close()


# Figures


def test_spread_lies_within_what_was_measured_and_large_numbers_are_readable():
    assert spread([1.0, 3.0], " s") == "2 s (1.5 to 2.5, n = 2)"
    assert spread([1000.0, 1234.5, 2000.0]) == "1,234 (1,117 to 1,617, n = 3)"
    assert (spread([]), spread([0.5], " s")) == ("none", "0.5 s (n = 1)")


def test_quantiles_are_numpys():
    values = list(np.random.default_rng(0).normal(size=37))
    for share in (0, 0.25, 0.5, 0.9, 0.95, 1):
        assert quantile(values, share) == pytest.approx(np.quantile(values, share))
    with pytest.raises(ValueError, match="nothing"):
        quantile([], 0.5)


# What decoding reads


def gguf_file(path, *names):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    for name in names:
        writer.add_tensor(name, np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_token_reads_all_weights_but_the_embeddings_of_other_tokens(tmp_path):
    path = gguf_file(tmp_path / "m.gguf", "token_embd.weight", "blk.0.attn_q.weight", "output.weight")
    assert bandwidth.tensor_sizes(path) == dict.fromkeys(("token_embd.weight", "blk.0.attn_q.weight", "output.weight"), 512)
    assert bandwidth.bytes_per_token(path) == 1024


def test_embeddings_that_are_the_output_weights_too_are_read(tmp_path):
    assert bandwidth.bytes_per_token(gguf_file(tmp_path / "m.gguf", "token_embd.weight", "blk.0.attn_q.weight")) == 1024


def test_what_is_no_gguf_file_is_refused(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"no model" * 100)
    with pytest.raises(ValueError, match="no GGUF"):
        bandwidth.tensor_sizes(tmp_path / "m.gguf")


def test_bandwidth_counts_what_all_threads_read(monkeypatch):
    read = []

    class Part:
        def max(self):
            time.sleep(0.02)

    monkeypatch.setattr(bandwidth, "_LEAST", 0)
    monkeypatch.setattr(bandwidth.np, "ones", lambda count, dtype: read.append(count) or Part())
    rate = bandwidth.read_bandwidth(16_000_000, 2)
    assert read == [1_000_000, 1_000_000]
    assert 16e6 / 0.03 < rate <= 16e6 / 0.02


# The bare engine


def test_speeds_are_of_every_batch_and_number_of_rows(monkeypatch):
    built = []

    def build(path, memory, least, sequences, threads, batch):
        import assistant.llm.engine as real

        built.append((threads, batch, real._FLASH, FakeEngine(path, memory, least, sequences, threads, batch, predict=never)))
        return built[-1][-1]

    monkeypatch.setattr(engine, "Engine", build)
    seen = engine.speeds("m.gguf", "abcdefgh" * 40, Setting(2, 128, flash=False), (16, 128), (1, 4))
    ((threads, batch, flash, used),) = built
    assert (threads, batch, flash, used.closed) == (2, 128, 0, True)
    assert set(seen.prefill) == {16, 128}
    assert set(seen.step_s) == {1, 4}
    assert seen.decode == 1 / seen.step_s[1]
    sizes = [len(rows) for rows in used.batches]
    assert sizes.count(16) == engine._READ_ROUNDS * engine.READ // 16
    assert sizes.count(4) == sizes.count(1) == engine._DECODE_ROUNDS
    together = next(rows for rows in used.batches if len(rows) == 4)
    assert [(row.sequence, row.position, row.predict) for row in together] == [(n, engine.CONTEXT, True) for n in range(4)]


def test_a_text_that_is_too_short_is_an_error_and_frees_the_engine(monkeypatch):
    used = FakeEngine(batch=128, least=1024)
    monkeypatch.setattr(engine, "Engine", lambda *args: used)
    with pytest.raises(ValueError, match="only 3 tokens"):
        engine.speeds("m.gguf", "abc", Setting(1, 128), (16,))
    assert used.closed


def test_a_sweep_changes_one_thing_at_a_time():
    assert [s.threads for s in _others(2, 128)] == [1, 2, 2, 2, 2]
    assert sum(not s.flash for s in _others(2, 128)) == 1
    assert [s.threads for s in _others(12, 128)][:5] == [1, 2, 4, 8, 12]


# Saved state


def test_the_same_prompts_are_read_in_full_and_continued(model):
    seen = reuse.reuse(model, [chapter(0), chapter(1), chapter(2)])
    assert [len(values) for values in (seen.full_s, seen.warm_s, seen.held_s, seen.read_s, seen.ratios)] == [3] * 5
    assert all(0 < fresh < total / 3 for fresh, total in zip(seen.fresh_tokens, seen.prompt_tokens, strict=True))
    text = len("\n\nLesson > Part a:\n") + 3 * 43 + 2
    assert seen.section_tokens == [text] * 3
    assert seen.state_bytes > sum(seen.section_tokens) * model.scheduler.engine.cell_bytes
    assert model.saved_states is not None


def test_a_state_that_is_not_found_again_fails_the_measurement(model, monkeypatch):
    monkeypatch.setattr(StateStore, "load", lambda self, tokens: None)
    with pytest.raises(RuntimeError, match="not found again"):
        reuse.reuse(model, [chapter(0)])


def test_without_state_nothing_is_found_and_nothing_is_saved(model, tmp_path):
    messages = [HumanMessage([{"type": "text", "text": "a" * 200, "cache_key": "section:a"}]), HumanMessage("b")]
    store = model.saved_states
    with without_state(model):
        assert reuse.first_token(model, messages)[2] == 0
    assert list((tmp_path / "states").glob("*")) == []
    assert model.saved_states is store
    assert reuse.first_token(model, messages)[2] == 0
    assert reuse.first_token(model, messages)[2] > 200
    forget(model)
    model.scheduler.pool.flush()
    assert reuse.first_token(model, messages)[2] > 200, "from the disk"


def test_forgetting_waits_for_a_request_that_was_left(model):
    stream = model.stream([HumanMessage("tell me everything")], max_tokens=200)
    next(stream)
    stream.close()
    forget(model)
    assert model.scheduler.pool._held == []


def test_a_read_only_store_changes_nothing_on_disk(tmp_path):
    writer = StateStore(tmp_path, 1 << 20, "fake")
    assert writer.save([1, 2], b"state", "section:a")
    before = sorted(tmp_path.iterdir())
    store = ReadOnlyStore(tmp_path, 0, "fake")  # a budget of nothing would empty another
    assert not store.save([3], b"other", "section:b")
    assert store.discard(lambda label: False) == 0
    assert bytes(store.load([1, 2])) == b"state"
    assert sorted(tmp_path.iterdir()) == before


def test_drafts_are_compared_on_the_same_questions_and_the_setting_comes_back(model, monkeypatch):
    tried = []
    stream = ChatLlama._request

    def request(self, messages, limit):
        tried.append((self.engine.drafts, str(messages[-1].content)))
        return stream(self, messages, limit)

    monkeypatch.setattr(ChatLlama, "_request", request)
    seen = drafting.drafting(model, [chapter(0), chapter(1)])
    assert model.engine.drafts
    assert {kind: (len(d.on), len(d.off), d.same) for kind, d in seen.items()} == {"quoting": (2, 2, 2), "other": (2, 2, 2)}
    assert [drafts for drafts, _ in tried] == [False, True, False, True, True, False, True, False]
    assert all(a[1] == b[1] for a, b in zip(tried[::2], tried[1::2], strict=True))
    assert '"' + "a" * 40 + ' 1."' in tried[0][1]


def test_answers_too_short_to_have_a_rate_are_left_out(model):
    model.scheduler.engine.predict = lambda tokens, _: END if tokens[-1] == 97 else 97
    assert drafting.drafting(model, [chapter(0)])["quoting"].ratios == []


# The overview


def overview(decode=10.0, alone=6.0, rates=(10e9, 20e9), **kwargs):
    reused = reuse.Reuse([12.0, 14.0], [0.5, 0.5], [0.3, 0.3], [1000, 1000], [20, 20], [11.0, 11.0], [900, 1100], 60_000_000)
    drafts = {"quoting": drafting.Drafting([12.0], [10.0], 1), "other": drafting.Drafting()}
    threads = len(rates)
    values = {
        "machine": "a machine", "model": "a model", "threads": threads, "batch": 128, "load": 0.1,
        "bandwidth": dict(enumerate(rates, start=1)), "weight_bytes": 10**9, "cell_bytes": 0,
        "one_thread": Speeds({}, {1: 1 / alone}), "all_threads": Speeds({16: 50.0, 128: 80.0}, {1: 1 / decode, 4: 0.2}),
        "sweep": ((Setting(1, 128), Speeds({128: 40.0}, {1: 0.2})),), "reuse": reused, "drafts": drafts,
        "rss": 2 * 10**9, "course": "your course", "course_tokens": 50_000,
    }  # fmt: skip
    return Overview(**{**values, **kwargs})


@pytest.mark.parametrize(
    ("decode", "alone", "rates", "bound"),
    [
        (10.0, 5.0, (15e9, 30e9), "computation"),  # twice as fast with two threads, far from what memory gives
        (14.0, 11.0, (11e9, 16e9), "memory"),  # near the limit, although one thread times two is beyond it
        (14.5, 7.3, (7.5e9, 15e9), "memory"),  # near it, although it scales
        (5.0, 8.0, (10e9, 15e9), "memory"),
    ],
)
def test_what_binds_is_the_lower_limit_or_memory_when_near_it(decode, alone, rates, bound):
    seen = overview(decode, alone, rates)
    assert seen.bandwidth_limit == rates[1] / 1e9
    assert seen.compute_limit == pytest.approx(2 * alone)
    assert seen.bound_by == bound


def test_the_limit_of_memory_counts_the_tokens_before():
    assert overview(cell_bytes=10**9 // engine.CONTEXT).bandwidth_limit == pytest.approx(10.0, rel=1e-5)


def test_the_object_has_the_promised_figures_and_is_json():
    data = json.loads(json.dumps(overview().as_json()))
    assert (data["ttft_full_s"], data["ttft_warm_s"], data["ttft_ratio"]) == (13.0, 0.5, 26.0)
    assert (data["decode_tokens_per_s"], data["bandwidth_limit_tokens_per_s"], data["prefill_tokens_per_s"]) == (10, 20, 80)
    assert data["drafts"]["quoting"]["ratio"] == pytest.approx(1.2)
    assert data["drafts"]["other"]["ratio"] is None
    assert data["cost"] == {
        "megabytes_per_1000_tokens": 30.0, "seconds_per_1000_tokens": pytest.approx(11.0), "memory_bytes": 2 * 10**9,
        "course": "your course", "course_tokens": 50_000, "course_megabytes": 1500.0, "course_seconds": pytest.approx(550.0),
    }  # fmt: skip


def test_the_text_marks_what_is_best_and_what_binds():
    text = "\n".join(overview_text.lines(overview()))
    assert "limit of computation                   12.0 tokens/s, 83% reached  <- this one binds" in text
    assert "128 rows                               80.0 *  (in use)" in text
    assert "10 times as large (calculated)         15.00 GB, 1.5 h" in text
    assert "1 threads, batch 128                   40.0 *  5.0 *" in text


def test_sections_are_typical_and_from_all_over_the_course():
    chapters = material.starter_course(lambda text: len(text.split()), ChunkingSettings())
    assert len({c.id for c in chapters}) == len(chapters)
    chosen = material.spread_over(chapters, 4, len)
    assert len({c.passages[0].document_id for c in chosen}) == 4
    middle = sorted(len(c.text) for c in chapters)[len(chapters) // 2]
    assert all(len(c.text) >= middle for c in chosen)


# Time to the first token


def done(first, tokens=100, cached=0):
    timings = {"first_token_ms": first}
    return Done("id", "", "m", False, tokens, 1, cached, timings)


def test_only_the_same_prompt_is_compared_and_only_if_it_was_computed_in_full():
    assert ttft._timed(done(500.0, cached=80), done(9000.0), done(3000.0)) == ttft.Timed(0.5, 9.0, 3.0, 100, 20)
    assert ttft._timed(done(500.0, cached=80), done(9000.0)) == ttft.Timed(0.5, 9.0, None, 100, 20)
    assert ttft._timed(done(None, tokens=0), done(9000.0)) is None
    for full in (done(9000.0, cached=1), done(9000.0, tokens=99)):
        with pytest.raises(RuntimeError, match="not the same prompts"):
            ttft._timed(done(500.0, cached=80), full)


def test_prompts_of_typical_length_stand_apart(capsys):
    timed = [ttft.Timed(0.5, 10.0, 4.0, 1000, 20), ttft.Timed(0.5, 2.0, 1.0, 200, 20)]
    ttft.report({"first question, without extras": timed, "empty": []})
    out = capsys.readouterr().out
    assert "without extras, n = 2" in out
    assert "prompts of 600 to 1,200 tokens, n = 1" in out
    assert "full / warm          20 (n = 1)" in out


class FakeAsker:
    """Every question is of one group; what is asked how is noted, first tokens come after a second for each earlier turn."""

    def __init__(self, group="first question, without extras"):
        self.model, self.asked, self._group = None, [], group

    def group(self, turn):
        return None if "risotto" in turn.question else f"follow-up: {turn.question}" if turn.earlier else self._group

    def _note(self, way, turn):
        self.asked.append((way, turn.question))
        first = 500.0 + 1000 * len(turn.earlier)
        exchange = Exchange(turn.question, "So.") if turn.question != "Silence?" else None
        cached = {"warm": 90, "cold": 10, "full": 0}[way]
        return Done("id", "So.", "m", False, 100, 1, cached, {"first_token_ms": first}, exchange)

    def ask(self, turn):
        return self._note("warm", turn)

    def ask_cold(self, turn):
        return self._note("cold", turn)

    def ask_full(self, turn):
        return self._note("full", turn)


@pytest.fixture
def forgotten(monkeypatch):
    times = []
    monkeypatch.setattr(ttft, "forget", times.append)
    return times


def test_first_questions_are_asked_in_all_ways_in_changing_order(forgotten):
    asker = FakeAsker()
    timed = ttft.ask_first(asker, ["One?", "Cook a risotto?", "Two?", "Three?", "Four?"], 3)
    assert [len(values) for values in timed.values()] == [3]
    ways = [way for way, _ in asker.asked]
    assert [ways[n : n + 3] for n in (0, 3, 6)] == [
        ["warm", "cold", "full"],
        ["cold", "full", "warm"],
        ["full", "warm", "cold"],
    ]
    assert [question for _, question in asker.asked[::3]] == ["One?", "Two?", "Three?"]
    assert len(forgotten) == 9


def test_follow_ups_are_asked_again_in_full_after_their_conversation(forgotten):
    asker = FakeAsker()
    timed = ttft.follow_up(asker, [["One?", "Silence?", "Why?"], ["Cook a risotto?", "And why?"]])
    assert asker.asked == [
        ("warm", "One?"), ("warm", "Silence?"), ("warm", "Why?"), ("full", "Silence?"), ("full", "Why?"),
        ("warm", "Cook a risotto?"), ("warm", "And why?"), ("full", "And why?"),
    ]  # fmt: skip
    assert {name: [value.warm_s for value in values] for name, values in timed.items()} == {
        "follow-up: Silence?": [1.5], "follow-up: Why?": [1.5], "follow-up: And why?": [1.5],
    }  # fmt: skip
    assert len(forgotten) == 2


# Traffic


def test_code_words_are_all_different_and_found_in_others_answers():
    canaries = users.Canaries(random.Random(0))
    words = [canaries.new() for _ in range(500)]
    assert len(set(words)) == 500
    assert canaries.foreign(f"My code word is {words[3]}.", words[3]) == []
    assert canaries.foreign(f"It is {words[3]}, or {words[7]}.", words[3]) == [words[7]]


def student(model, canaries=None, seed=0, conversations=5):
    return users.Student(
        model, canaries or users.Canaries(random.Random(0)), [chapter(0), chapter(1)], random.Random(seed), conversations, 30
    )


def last_words(messages):
    said = [str(m.content) for m in messages if isinstance(m, HumanMessage)]
    return next(text.split()[4].rstrip(".") for text in said if text.startswith("My code word is"))


def test_a_student_holds_conversations_that_carry_their_own_code_word():
    model = FakeChatModel(replies=[lambda messages: f"{last_words(messages)} it is."])
    one = student(model)
    heard = [one.turn(threading.Event(), False) for _ in range(60)]
    assert all(answer.own and not answer.foreign and not answer.left for answer in heard)
    assert {answer.kind for answer in heard} == {"new", "follow-up", "back", "topic"}
    assert all(answer.written == len(answer.pieces) > 0 for answer in heard)
    earlier = [message for prompt in model.prompts for message in prompt if isinstance(message, AIMessage)]
    assert earlier
    assert {len(prompt) for prompt in model.prompts} <= {2, 4, 6, 8, 10}


def test_another_conversations_code_word_is_noticed():
    canaries = users.Canaries(random.Random(0))
    other = canaries.new()
    heard = student(FakeChatModel(replies=[f"Well, {other}."]), canaries).turn(threading.Event(), False)
    assert heard.foreign == (other,)
    figures = traffic_report.Figures("m", 1, heard=[heard])
    assert figures.failures == [f"new answer shows {other}"]
    assert any(line.startswith("FAILED") for line in traffic_report.lines(figures))


def test_students_leave_in_both_ways_and_the_model_hears_of_it():
    model = FakeChatModel(replies=["a long answer that nobody hears to its end " * 20])
    one = student(model)
    heard = [one.turn(threading.Event(), True) for _ in range(60)]
    left = [answer for answer in heard if answer.left]
    assert 2 < len(left) < 30
    assert all(len(answer.pieces) <= 21 for answer in left)
    assert model.running == 0
    stop = threading.Event()
    stop.set()
    assert one.turn(stop, False).left


def classroom(model, count=2, limit=60.0):
    canaries = users.Canaries(random.Random(0))
    return traffic.Classroom([student(model, canaries, n) for n in range(count)], limit)


def test_students_work_at_once_and_stop_when_the_time_is_over():
    room = classroom(FakeChatModel(replies=["three words only"], pace=0.001))
    start, end = room.work(2, 0.3, lambda: 0.0, leave=False)
    assert 0.25 < end - start < 1
    assert users.tokens_within(room.heard, start, end) > 10
    assert not room.failed
    assert {answer.left for answer in room.heard[:2]} == {False}


def test_an_error_ends_the_traffic_and_is_reported():
    room = classroom(FakeChatModel(replies=[RuntimeError("out of memory")]))
    room.work(2, 30, lambda: 0.0, leave=False)
    assert room.failed
    assert "RuntimeError: out of memory" in traffic_report.Figures("m", 2, errors=room.errors).failures


def test_a_request_that_takes_too_long_is_stuck_and_nobody_waits_for_it():
    release = threading.Event()
    room = classroom(FakeChatModel(replies=[lambda messages: release.wait(20) and "late"]), count=1, limit=0.1)
    started = time.monotonic()
    room.work(1, 10, lambda: 0.0, leave=False)
    assert time.monotonic() - started < 5
    assert room.stuck == 1
    release.set()


def test_memory_that_grows_shows_its_slope():
    figures = traffic_report.Figures("m", 1, rss=[(0.0, 500), *((60.0 * n, 1000 + n) for n in range(1, 11))])
    slope, share = figures.growth
    assert slope == pytest.approx(60)
    assert share == pytest.approx(9 / 1001)
    assert traffic_report.Figures("m", 1, rss=[(0.0, 1), (1.0, 1)]).growth is None


def test_the_soak_of_a_real_scheduler_leaks_nothing_and_leaves_nothing_busy(model):
    canaries = users.Canaries(random.Random(0))
    pupils = [users.Student(model, canaries, [chapter(0), chapter(1)], random.Random(n), 5, 20) for n in range(3)]
    room, figures = traffic.Classroom(pupils, 60.0), traffic_report.Figures("fake", 3)
    traffic.measure_blocks(room, figures, 0.2)
    traffic.soak(model, room, figures, 1.0, lambda: 0.01, [chapter(2), chapter(3)])
    figures.finish(room.heard, room.stuck, room.errors, model)
    assert figures.failures == []
    assert (len(figures.one), len(figures.many)) == (3, 3)
    assert figures.held > 0
    assert len(figures.rss) > 5


def test_sections_are_read_ahead_until_it_is_time_to_stop(model):
    stop = threading.Event()
    traffic.read_ahead(model, [chapter(2)], stop)
    stop.set()
    traffic.read_ahead(model, [chapter(3)], stop)
    ready = [model.is_ready([section_prompt(chapter(n).id, chapter(n).passages)]) for n in (2, 3)]
    assert ready == [True, False]
