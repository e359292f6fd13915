"""LoRA adapters on the engine: changed while it runs, refused where they do not fit, and never mixed with another's state."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fake_engine import CELL, FakeEngine, alone, quoting
from langchain_core.messages import HumanMessage, SystemMessage

from assistant.llm.chat_llama import ChatLlama
from assistant.llm.engine import Engine, Row
from assistant.llm.job import Mark, Piece, Request
from assistant.llm.kv import StateStore
from assistant.llm.scheduler import Scheduler
from assistant.settings import EngineSettings
from knowledge.errors import CourseError

TEXT = "Kepler's first law says that every planet moves on an ellipse with the Sun in one focus. "


# Without weights: who gets whose words


class AdaptableEngine(FakeEngine):
    """What it writes, and what its saved states hold, depends on the adapter; a path with "bad" in it is refused."""

    salts = {None: 0, "a": 11 << 20, "b": 5 << 30}  # where `quoting` looks

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.adapter = None
        self.inner = kwargs.get("predict", quoting)
        self.predict = lambda tokens, digest: self.inner(tokens, digest ^ self.salts[self.adapter])

    @property
    def identity(self):
        return f"fake:1:{self.adapter}"

    @identity.setter
    def identity(self, _):
        pass

    def use_adapter(self, path):
        with self._alone():
            if path is not None and "bad" in path.name:
                raise CourseError(f"The adapter {path} does not fit.")
            self.adapter = path and path.name
            self._held = [[] for _ in self._held]

    def save(self, sequence):
        return self._salted(super().save(sequence))

    def load(self, sequence, state):
        return super().load(sequence, self._salted(state))

    def _salted(self, state):
        cells = state.view(CELL).copy()
        cells["value"] ^= self.salts[self.adapter]
        return cells.view(np.uint8)


def by(adapter, tokens, limit):
    """What is written with an adapter by an engine that nobody else uses."""
    return alone(tokens, limit, lambda t, digest: quoting(t, digest ^ AdaptableEngine.salts[adapter]))


def drained(request):
    answer = []
    while isinstance(token := request.out.get(timeout=20), int):
        answer.append(token)
    assert token is None, token
    return answer


def ask(scheduler, tokens, limit=30, **kwargs):
    request = Request(list(tokens), limit, **kwargs)
    scheduler.submit(request)
    return request


@pytest.fixture
def run(tmp_path):
    made = []

    def start(folder=None, parallel=3, **kwargs):
        engine = AdaptableEngine(**kwargs)
        store = StateStore(tmp_path / folder, 1 << 24, engine.identity) if folder else None
        made.append(Scheduler(engine, store, parallel))
        return made[-1]

    yield start
    for scheduler in made:
        scheduler.close()


def prompt(n):
    return [*b"rules: be brief. ", *(f"section {n % 4}: " + "abcdefgh"[n % 4 :] * 8).encode(), *f" question {n}".encode()]


def test_an_adapter_changes_what_is_written_from_the_next_answer_on(run):
    scheduler = run()
    assert len({tuple(by(adapter, prompt(1), 30)) for adapter in (None, "a", "b")}) == 3
    for adapter in (None, "a", "b", "a", None):
        scheduler.use_adapter(adapter and Path(adapter))
        assert drained(ask(scheduler, prompt(1))) == by(adapter, prompt(1), 30)


def test_answers_that_have_begun_end_with_the_adapter_that_they_began_with(run):
    scheduler = run(pace=0.001, parallel=2)
    never = 97  # no end, so that both are long
    scheduler.engine.inner = lambda tokens, digest: never + digest % 26
    begun = [ask(scheduler, prompt(n), 80) for n in (1, 2)]
    first = [request.out.get(timeout=20) for request in begun]
    waiting = ask(scheduler, prompt(3), 20)  # two are written at the same time, so it waits
    scheduler.use_adapter(Path("a"))

    def wanted(adapter, n, limit):
        return alone(prompt(n), limit, lambda t, d: never + (d ^ AdaptableEngine.salts[adapter]) % 26)

    for n, request, token in zip((1, 2), begun, first, strict=True):
        assert [token, *drained(request)] == wanted(None, n, 80)
    assert drained(waiting) == wanted("a", 3, 20)


def test_one_who_was_sent_back_for_want_of_cells_ends_with_the_adapter_that_it_began_with(run):
    scheduler = run(pace=0.0005, least=260)
    scheduler.engine.inner = lambda tokens, digest: 97 + digest % 26
    requests = [ask(scheduler, prompt(n), 90) for n in range(3)]
    firsts = [request.out.get(timeout=20) for request in requests]
    scheduler.use_adapter(Path("b"))
    for n, (request, first) in enumerate(zip(requests, firsts, strict=True)):
        assert [first, *drained(request)] == alone(prompt(n), 90, lambda t, d: 97 + d % 26)


def test_a_refused_adapter_changes_nothing(run):
    scheduler = run("states")
    scheduler.use_adapter(Path("a"))
    before = drained(ask(scheduler, prompt(1)))
    with pytest.raises(CourseError, match="does not fit"):
        scheduler.use_adapter(Path("bad"))
    assert scheduler.engine.identity == "fake:1:a"
    assert drained(ask(scheduler, prompt(1))) == before == by("a", prompt(1), 30)


def test_saved_states_belong_to_an_adapter_and_wait_for_it(run):
    scheduler = run("states")
    marks = (Mark(17, "rules"), Mark(60, "section"))
    seen = []
    for adapter in (None, "a", None, "a"):
        scheduler.use_adapter(adapter and Path(adapter))
        request = ask(scheduler, prompt(1), marks=marks)
        assert drained(request) == by(adapter, prompt(1), 30)
        scheduler.pool.flush()
        seen.append((request.from_memory, request.from_disk))
    assert seen == [(0, 0), (0, 0), (0, 60), (0, 60)]


def test_a_state_that_a_slow_disk_has_not_written_yet_keeps_its_adapter(run, monkeypatch):
    save = StateStore.save
    held = threading.Event()

    def slow(self, *args):
        held.wait(10)
        return save(self, *args)

    monkeypatch.setattr(StateStore, "save", slow)
    scheduler = run("states")
    drained(ask(scheduler, prompt(1), marks=(Mark(60, "section"),)))
    scheduler.use_adapter(Path("a"))
    held.set()
    scheduler.pool.flush()
    assert scheduler.pool.store.saved() == []
    assert [state.label for state in scheduler.pool.store.of("fake:1:None").saved()] == ["section"]


def test_a_store_keeps_its_kind_for_another_adapter(tmp_path):
    """Evals put in one that saves nothing."""

    class ReadOnly(StateStore):
        def save(self, *_):
            return False

    store = ReadOnly(tmp_path, 1 << 20, "one").of("two")
    assert isinstance(store, ReadOnly)
    assert not store.save([1], b"1", "x")


def test_reading_ahead_gives_way_to_a_change_and_goes_on_with_the_new_adapter(run):
    scheduler = run("states", pace=0.02)
    section = prompt(2)[:80]
    ahead = ask(scheduler, section, 0, marks=(Mark(80, "section"),))
    time.sleep(0.1)
    scheduler.use_adapter(Path("b"))
    assert scheduler.engine.aborted == 1  # in the middle of a batch of more than a second
    scheduler.engine.pace = 0
    assert drained(ahead) == []
    scheduler.pool.flush()
    request = ask(scheduler, prompt(2), marks=(Mark(80, "section"),))
    assert drained(request) == by("b", prompt(2), 30)
    assert request.from_memory + request.from_disk == 80


def test_many_askers_and_changes_at_once(run):
    scheduler = run("states", pace=0.00002, least=500, sequences=6)
    stop = threading.Event()

    def changing():
        n = 0
        while not stop.is_set():
            scheduler.use_adapter([None, Path("a"), Path("b")][n % 3])
            with pytest.raises(CourseError):
                scheduler.use_adapter(Path("bad"))
            n += 1
        return n

    def asking(n):
        tokens = prompt(n)
        answer = drained(ask(scheduler, tokens, 25, marks=(Mark(17, "rules"), Mark(60, "section"))))
        return next(adapter or "none" for adapter in (None, "a", "b") if by(adapter, tokens, 25) == answer)

    with ThreadPoolExecutor(7) as threads:
        changes = threads.submit(changing)
        written = list(threads.map(asking, range(60)))  # StopIteration: an answer of two adapters
        stop.set()
    assert changes.result() > 3
    assert len(set(written)) > 1


def test_closing_ends_the_wait_for_an_adapter(run):
    scheduler = run(pace=0.01)
    scheduler.engine.inner = lambda tokens, digest: 97  # no end
    assert ask(scheduler, prompt(1), 500).out.get(timeout=20) == 97  # it has begun
    failures = []

    def change():
        try:
            scheduler.use_adapter(Path("a"))
        except RuntimeError as error:
            failures.append(str(error))

    thread = threading.Thread(target=change)
    thread.start()
    time.sleep(0.1)
    scheduler.close()
    thread.join(5)
    assert failures == ["The engine is closed."]
    with pytest.raises(RuntimeError, match="closed"):
        scheduler.use_adapter(None)


# With random models of two layers, in llama.cpp


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Two models of different architecture; adapters x and y for the first, in the folder of each."""
    pytest.importorskip("gguf")
    pytest.importorskip("peft")
    from tiny_gguf import make_adapter, make_model

    from finetune.export import to_gguf_adapter

    folder = tmp_path_factory.mktemp("tiny")
    for name, architecture, changes in (("llama", "llama", {}), ("qwen2", "qwen2", {}), ("narrow", "llama", {"hidden": 32})):
        (folder / name).mkdir()
        make_model(folder / name, architecture, **changes)
        adapter = make_adapter(folder / name, folder / name / "peft")
        to_gguf_adapter(adapter, folder / name / "model.gguf", folder / name / "x.gguf")
    other = make_adapter(folder / "llama", folder / "llama" / "peft2", seed=5)
    to_gguf_adapter(other, folder / "llama" / "model.gguf", folder / "llama" / "y.gguf")
    return folder


@pytest.fixture
def engine(tiny):
    engine = Engine(tiny / "llama" / "model.gguf", 0, 512, 4, 1, 64)
    yield engine
    engine.close()


def logits(engine, text=TEXT[:40]):
    tokens = engine.tokenize(text, special=False)
    engine.cut(1, 0)
    engine.compute([Row(token, n, 1, n == len(tokens) - 1) for n, token in enumerate(tokens)])
    return engine.logits(len(tokens) - 1).copy()


def test_an_adapter_is_put_on_changed_and_taken_off_without_a_trace(engine, tiny):
    x, y = tiny / "llama" / "x.gguf", tiny / "llama" / "y.gguf"
    seen = {}
    for path in (None, x, y, x, None, y):
        engine.use_adapter(path)
        found = logits(engine)
        assert np.array_equal(seen.setdefault(path, found), found)
    assert np.abs(seen[None] - seen[x]).max() > 0.5
    assert np.abs(seen[x] - seen[y]).max() > 0.5


def test_the_identity_names_the_adapter_by_its_content(engine, tiny, tmp_path):
    x = tiny / "llama" / "x.gguf"
    plain = engine.identity
    engine.use_adapter(x)
    with_x = engine.identity
    assert with_x != plain
    copy = tmp_path / "elsewhere.gguf"
    copy.write_bytes(x.read_bytes())
    engine.use_adapter(copy)
    assert engine.identity == with_x
    engine.use_adapter(tiny / "llama" / "y.gguf")
    assert engine.identity not in (plain, with_x)
    engine.use_adapter(None)
    assert engine.identity == plain


def test_the_cache_is_empty_after_a_change(engine, tiny):
    logits(engine)
    engine.use_adapter(tiny / "llama" / "x.gguf")
    assert engine.save(1).size == engine.save(3).size  # where nothing ever was


def spoilt(tiny, tmp_path, how):
    """A file that is no adapter of the llama model, and what is said of it."""
    import gguf

    good = tiny / "llama" / "x.gguf"
    bad = tmp_path / "bad.gguf"
    data = good.read_bytes()
    if how == "missing":
        return bad, "cannot be read"
    if how == "folder":
        return tmp_path, "cannot be read"
    if how == "architecture":
        return tiny / "qwen2" / "x.gguf", "arch mismatch"
    if how == "shapes":
        return tiny / "narrow" / "x.gguf", "incorrect shape"
    if how == "a model":
        return tiny / "llama" / "model.gguf", "expect general.type to be 'adapter'"
    if how == "other weights":
        digest = next(iter(gguf.GGUFReader(good).fields["lectern.base"].parts[-1:])).tobytes()
        assert data.count(digest) == 1
        bad.write_bytes(data.replace(digest, b"0" * len(digest)))
        return bad, "made for another model"
    if how == "not finite":
        reader = gguf.GGUFReader(good, "c")
        start = int(reader.tensors[-1].data_offset)
        bad.write_bytes(data[:start] + np.full((len(data) - start) // 4, np.nan, "<f4").tobytes())
        return bad, "no finite numbers"
    bad.write_bytes({"empty": b"", "text": b"hello" * 99, "cut off": data[:-500], "half": data[:2000]}[how])
    return bad, "does not fit the model"


BAD = [
    "missing",
    "folder",
    "architecture",
    "shapes",
    "a model",
    "other weights",
    "not finite",
    "empty",
    "text",
    "cut off",
    "half",
]


@pytest.mark.parametrize("how", BAD)
@pytest.mark.parametrize("before", [None, "y.gguf"])
def test_what_does_not_fit_is_refused_and_the_working_one_goes_on(engine, tiny, tmp_path, how, before):
    engine.use_adapter(before and tiny / "llama" / before)
    wanted, identity = logits(engine), engine.identity
    path, said = spoilt(tiny, tmp_path, how)
    with pytest.raises(CourseError, match=said) as caught:
        engine.use_adapter(path)
    assert str(path) in caught.value.problem
    assert "lectern finetune rollback" in caught.value.remedy
    assert engine.identity == identity
    assert np.array_equal(logits(engine), wanted)


# As a chat model


@pytest.fixture
def chat(tiny, tmp_path):
    made = []

    def model(adapter=None, **engine):
        settings = EngineSettings(memory_mb=64, **engine)
        path = tiny / "llama" / "model.gguf"
        made.append(
            ChatLlama(
                path=path, context=1024, threads=1, max_tokens=24, states=tmp_path / "s", adapter=adapter, engine=settings
            )
        )
        return made[-1]

    yield model
    for one in made:
        if "_scheduler" in one.__dict__:
            one.scheduler.close()


def section(n, text=TEXT):
    return [{"text": "Be brief. ", "cache_key": "rules"}, {"text": f"Section {n}: {text}", "cache_key": f"section:{n}"}]


def says(model, n=1):
    return model.invoke([SystemMessage(section(n)), HumanMessage("Why?")]).content


def test_the_running_chat_changes_its_adapter_and_reads_ahead_anew(chat, tiny):
    model = chat()
    messages = [SystemMessage(section(1))]
    model.compute_ahead(messages, threading.Event())
    plain = says(model)
    seen = {}
    for name in ("x.gguf", "y.gguf"):
        model.use_adapter(tiny / "llama" / name)
        assert not model.is_ready(messages)
        model.compute_ahead(messages, threading.Event())
        assert model.is_ready(messages)
        seen[name] = says(model)
    assert len({plain, *seen.values()}) == 3
    model.use_adapter(None)
    assert model.is_ready(messages)  # on disk
    assert says(model) == plain
    model.scheduler.close()
    fresh = chat(adapter=tiny / "llama" / "x.gguf")
    assert fresh.is_ready(messages)
    assert says(fresh) == seen["x.gguf"]
    assert not fresh.is_ready([SystemMessage(section(2))])


def test_a_chat_that_begins_with_a_bad_adapter_says_so_and_can_go_back(chat, tiny, tmp_path):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"no adapter")
    model = chat(adapter=bad)
    for _ in range(2):
        with pytest.raises(CourseError, match="does not fit the model"):
            model.invoke("Hello")
    with pytest.raises(CourseError, match="cannot be read"):
        model.use_adapter(tmp_path / "nowhere.gguf")
    assert model.adapter == bad
    model.use_adapter(None)
    assert says(model)
    with pytest.raises(CourseError, match="does not fit the model"):
        model.use_adapter(bad)
    assert model.adapter is None
    assert says(model)


def test_drafts_change_nothing_with_an_adapter(chat, tiny):
    answers = []
    for drafts in (False, True):
        model = chat(adapter=tiny / "llama" / "x.gguf", drafts=drafts)
        model.scheduler.policy.choose = lambda matches, most: 5 if any(matches) else 0
        answers.append(model.invoke([HumanMessage("ab " * 60)], max_tokens=60).content)
        if drafts:
            assert model.scheduler.policy.accepted
    assert answers[0] == answers[1]


def test_joined_sections_work_with_an_adapter(chat, tiny):
    model = chat(adapter=tiny / "llama" / "x.gguf", join=True, link_tokens=4)
    model.compute_ahead([SystemMessage(section(2))], threading.Event())
    both = [SystemMessage([*section(1), section(2)[1]]), HumanMessage("Why?")]
    usage = model.invoke(both).usage_metadata
    assert usage["input_token_details"]["cache_read"] > len(TEXT) - 10
    model.use_adapter(tiny / "llama" / "y.gguf")
    cached = model.invoke(both).usage_metadata["input_token_details"]["cache_read"]
    assert cached == 0  # nothing of the other adapter is joined


def test_pieces_of_another_adapter_are_not_joined(run):
    scheduler = run("states")
    source = prompt(1)
    ask_ahead = ask(scheduler, source, 0, marks=(Mark(len(source), "piece"),))
    assert drained(ask_ahead) == []
    scheduler.pool.flush()
    tokens = [*prompt(2), *source[17:], *b" why?"]
    piece = Piece(len(prompt(2)), len(prompt(2)) + len(source) - 17, tuple(source))
    request = ask(scheduler, tokens, pieces=(piece,))
    drained(request)
    assert request.joined == len(source) - 17
    scheduler.use_adapter(Path("a"))
    request = ask(scheduler, tokens, pieces=(piece,))
    assert drained(request) == by("a", tokens, 30)
    assert request.joined == 0
