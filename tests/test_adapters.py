"""Which adapter answers, whatever state the disk is in, and how the running chat follows the pointer."""

import asyncio
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_adapters import make_adapter, settings_with_base

from assistant import adapters, doctor
from assistant import runtime as module
from assistant.adapters import BadAdapter, chosen_adapter, current_id, find_adapter, list_adapters, promoted_adapter
from assistant.answer import collect
from assistant.events import Done, Notice, Turn
from assistant.runtime import Runtime
from finetune.adapters import promote, rollback
from knowledge.errors import CourseError


@pytest.fixture
def settings(tmp_path):
    return settings_with_base(tmp_path)


def put(settings, *ids):
    for id_ in ids:
        promote(settings, find_adapter(settings, id_), adapters.promotions(settings)[-1])


def asking_for(settings, adapter):
    return settings.model_copy(update={"model": settings.model.model_copy(update={"adapter": adapter})})


# Which one


def test_nothing_is_promoted_at_first(settings):
    assert (chosen_adapter(settings), current_id(settings), list_adapters(settings)) == (None, None, [])
    assert promoted_adapter(settings).notice == ""


def test_the_settings_choose(settings):
    a = make_adapter(settings, "sft-1")
    make_adapter(settings, "dpo-1")
    assert chosen_adapter(settings) is None
    put(settings, "sft-1")
    assert chosen_adapter(settings) == a
    assert chosen_adapter(asking_for(settings, "none")) is None
    assert chosen_adapter(asking_for(settings, "dpo-1")).id == "dpo-1"
    assert [each.id for each in list_adapters(settings)] == ["sft-1", "dpo-1"]


@pytest.mark.parametrize("id_", ["sft-2", "../sft-1", "", ".making-1"])
def test_an_adapter_that_is_not_there_is_named_with_those_that_are(settings, id_):
    make_adapter(settings, "sft-1")
    with pytest.raises(BadAdapter, match="There are: sft-1"):
        find_adapter(settings, id_)


def harm(settings, adapter, how):
    """One way in which an adapter can be unfit; returns what the error says of it."""
    if how == "file changed":
        adapter.path.write_bytes(b"adapter sft-X"[: adapter.path.stat().st_size] + b"?")
        return "damaged"
    if how == "file missing":
        adapter.path.unlink()
        return "cannot be read"
    if how == "no manifest":
        (adapter.folder / "manifest.json").unlink()
        return "missing or damaged"
    if how == "torn manifest":
        (adapter.folder / "manifest.json").write_text('{"base": "x", ')
        return "missing or damaged"
    if how == "manifest lacks a hash":
        (adapter.folder / "manifest.json").write_text('{"base": "x", "base_sha256": "00"}')
        return "lacks sha256"
    if how == "folder gone":
        for path in adapter.folder.iterdir():
            path.unlink()
        adapter.folder.rmdir()
        return "no adapter"
    Path(settings.model.name).write_bytes(b"other weights")
    return "belongs to"


HARMS = ["file changed", "file missing", "no manifest", "torn manifest", "manifest lacks a hash", "folder gone", "other base"]


@pytest.mark.parametrize("how", HARMS)
def test_one_that_is_unfit_is_refused_by_name_and_passed_over_when_promoted(settings, how):
    make_adapter(settings, "sft-1")
    bad = make_adapter(settings, "sft-2")
    put(settings, "sft-1", "sft-2")
    said = harm(settings, bad, how)
    with pytest.raises(BadAdapter, match=said):
        chosen_adapter(asking_for(settings, "sft-2"))
    choice = promoted_adapter(settings)
    assert said in choice.notice
    if how == "other base":  # the former one is as foreign
        assert choice.adapter is None
        assert choice.notice.endswith(f"Answers come from {settings.model.name} alone.")
    else:
        assert choice.adapter.id == "sft-1"
        assert choice.notice.endswith("+ sft-1.")
    assert chosen_adapter(settings) == choice.adapter


def test_a_pointer_to_nonsense_leaves_the_model_by_itself(settings):
    make_adapter(settings, "sft-1")
    (adapters.adapters_dir(settings) / "current").write_bytes(b"\xff../../etc\n")
    choice = promoted_adapter(settings)
    assert choice.adapter is None
    assert "There is no adapter" in choice.notice


def test_a_server_has_adapters_of_its_own(settings):
    make_adapter(settings, "sft-1")
    put(settings, "sft-1")
    assert promoted_adapter(settings, "openai:http://127.0.0.1:1#m") == adapters.Choice(None)
    with pytest.raises(BadAdapter, match="loads its own adapters"):
        chosen_adapter(asking_for(settings, "sft-1"), "openai:http://127.0.0.1:1#m")


def test_a_file_is_hashed_once_for_as_long_as_it_stays(settings, monkeypatch):
    make_adapter(settings, "sft-1")
    put(settings, "sft-1")
    read = []
    monkeypatch.setattr(adapters, "sha256_of", lambda path, _: read.append(path.name) or "00")
    adapters._sha256.cache_clear()
    for _ in range(3):
        promoted_adapter(settings)
    assert read == ["base.gguf"]
    adapters._sha256.cache_clear()


# The doctor


def findings(settings):
    return [(finding.state, finding.what) for finding in doctor._adapter(settings)]


def test_the_doctor_says_which_adapter_answers_and_which_cannot(settings):
    assert findings(settings) == []
    make_adapter(settings, "sft-1")
    bad = make_adapter(settings, "sft-2")
    put(settings, "sft-1", "sft-2")
    assert findings(settings) == [("ok", "adapter sft-2 (0.0 MB)")]
    harm(settings, bad, "file changed")
    (state, what), fine = findings(settings)
    assert (state, fine) == ("warning", ("ok", "adapter sft-1 (0.0 MB)"))
    assert "sft-2 is damaged" in what
    ((state, what),) = findings(asking_for(settings, "sft-2"))
    assert state == "fault"
    assert "sft-2 is damaged" in what


# The running chat


class Model:
    """One GGUF model: make_model gives the same object with another adapter on it."""

    def __init__(self):
        self.adapter, self.asked = None, []

    def count_tokens(self, text):
        return len(text.split())

    def invoke(self, messages, max_tokens):
        self.asked.append(self.adapter)


class Chain:
    """Names its model and counts nothing; answers take as long as `go_on` is not set."""

    def __init__(self, name, go_on=None, given=()):
        self.name, self.go_on, self.given = name, go_on, given

    def with_model(self, model, name, planner, sections):
        return Chain(name, self.go_on, (model, planner, sections))

    def stream(self, turn):
        if self.go_on:
            self.go_on.wait(30)
        yield Done("1", "", self.name, False, 0, 0, 0, {})

    async def astream(self, turn):
        while self.go_on and not self.go_on.is_set():
            await asyncio.sleep(0.01)
        yield Done("1", "", self.name, False, 0, 0, 0, {})


@pytest.fixture
def chat(settings, monkeypatch):
    """A running chat; `refused` names adapters that the engine does not take."""
    it = SimpleNamespace(model=Model(), refused=set(), go_on=threading.Event(), settings=settings)
    it.go_on.set()

    def make_model(settings, name, adapter):
        if adapter and adapter.parent.name in it.refused:
            raise CourseError(f"llama.cpp refuses {adapter.parent.name}.", "Train it anew.")
        it.model.adapter = adapter and adapter.parent.name
        return it.model

    monkeypatch.setattr(module, "make_model", make_model)
    monkeypatch.setattr(module, "make_warmer", lambda *_: None)
    monkeypatch.setattr(module, "EvidencePlanner", lambda *_: None)
    it.runtime = Runtime(settings, None, None, Chain("base", it.go_on), None)
    return it


def answer(chat):
    """What answered, by the page's label, and the notices."""
    events = list(chat.runtime.stream(Turn("?")))
    return events[-1].model.rpartition(" + ")[2], [event.text for event in events if isinstance(event, Notice)]


def test_promotion_and_rollback_count_from_the_next_turn_on(chat):
    for id_ in ("sft-1", "dpo-1"):
        make_adapter(chat.settings, id_)
    assert answer(chat) == ("base", [])
    put(chat.settings, "sft-1")
    assert answer(chat) == ("sft-1", [])
    put(chat.settings, "dpo-1")
    assert (answer(chat), chat.model.adapter) == (("dpo-1", []), "dpo-1")
    assert rollback(chat.settings) == ("dpo-1", "sft-1")
    assert answer(chat) == ("sft-1", [])
    assert rollback(chat.settings) == ("sft-1", None)
    assert answer(chat) == (chat.settings.model.name, [])
    assert chat.model.adapter is None


def test_the_page_is_answered_likewise(chat):
    make_adapter(chat.settings, "sft-1")
    put(chat.settings, "sft-1")

    async def models():
        return [event.model async for event in chat.runtime.astream(Turn("?"))]

    assert asyncio.run(models()) == [f"{chat.settings.model.name} + sft-1"]
    assert chat.runtime._answering == 0


def test_without_a_change_a_turn_reads_neither_pointer_nor_adapters(chat, monkeypatch):
    make_adapter(chat.settings, "sft-1")
    put(chat.settings, "sft-1")
    answer(chat)
    monkeypatch.setattr(module, "promoted_adapter", lambda *_: pytest.fail("it looked again"))
    assert answer(chat) == ("sft-1", [])


def test_settings_that_name_no_pointer_do_not_follow_it(chat):
    make_adapter(chat.settings, "sft-1")
    put(chat.settings, "sft-1")
    chat.runtime.settings = asking_for(chat.settings, "none")
    assert answer(chat) == ("base", [])


def test_an_answer_under_way_ends_with_the_model_that_it_began_with(chat):
    make_adapter(chat.settings, "sft-1")
    chat.go_on.clear()
    said = []
    first = threading.Thread(target=lambda: said.append(answer(chat)))
    first.start()
    while not chat.runtime._answering:
        time.sleep(0.01)
    put(chat.settings, "sft-1")
    second = threading.Thread(target=lambda: said.append(answer(chat)))
    second.start()
    time.sleep(0.1)
    assert chat.model.adapter is None, "another adapter was put on in the middle of an answer"
    chat.go_on.set()
    first.join(10)
    second.join(10)
    assert sorted(name for name, _ in said) == ["base", "sft-1"]


def test_an_answer_that_never_ends_does_not_stop_the_others(chat, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    make_adapter(chat.settings, "sft-1")
    endless = chat.runtime.stream(Turn("?"))
    next(endless)
    put(chat.settings, "sft-1")
    assert answer(chat) == ("base", [])
    endless.close()
    assert answer(chat) == ("sft-1", [])


@pytest.mark.parametrize("how", HARMS)
def test_a_promoted_adapter_that_is_unfit_changes_nothing_but_a_notice(chat, how):
    make_adapter(chat.settings, "sft-1")
    bad = make_adapter(chat.settings, "sft-2")
    put(chat.settings, "sft-1")
    assert answer(chat)[0] == "sft-1"
    put(chat.settings, "sft-2")
    said = harm(chat.settings, bad, how)
    name, (notice,) = answer(chat)
    assert name == (chat.settings.model.name if how == "other base" else "sft-1")
    assert said in notice
    assert answer(chat) == (name, []), "the notice is for one reader"


def test_an_adapter_that_the_engine_refuses_changes_nothing_but_a_notice(chat):
    for id_ in ("sft-1", "sft-2"):
        make_adapter(chat.settings, id_)
    put(chat.settings, "sft-1")
    answer(chat)
    chat.refused = {"sft-2"}
    put(chat.settings, "sft-2")
    name, (notice,) = answer(chat)
    assert (name, chat.model.adapter) == ("sft-1", "sft-1")
    assert notice.startswith("llama.cpp refuses sft-2.")
    assert notice.endswith("+ sft-1.")
    rollback(chat.settings)
    assert answer(chat) == ("sft-1", [])


def test_an_adapter_that_fails_while_loading_is_given_up_and_the_first_reader_told(chat):
    make_adapter(chat.settings, "sft-1")
    put(chat.settings, "sft-1")
    answer(chat)

    def invoke(messages, max_tokens):
        chat.model.asked.append(chat.model.adapter)
        if chat.model.adapter:
            raise CourseError("llama.cpp refuses it.")

    chat.model.invoke = invoke
    chat.runtime.load()
    assert chat.model.asked == ["sft-1", None]
    name, (notice,) = answer(chat)
    assert name == chat.settings.model.name
    assert "llama.cpp refuses it." in notice
    chat.runtime.settings = asking_for(chat.settings, "sft-1")
    chat.runtime.adapter = find_adapter(chat.settings, "sft-1")
    with pytest.raises(CourseError, match="refuses"):  # by name, it is what was asked for
        chat.runtime.load()


def test_a_reader_who_leaves_while_waiting_is_not_counted(chat):
    make_adapter(chat.settings, "sft-1")
    chat.go_on.clear()
    first = threading.Thread(target=lambda: answer(chat))
    first.start()
    while not chat.runtime._answering:
        time.sleep(0.01)
    put(chat.settings, "sft-1")

    async def impatient():
        turn = asyncio.ensure_future(anext(chat.runtime.astream(Turn("?"))))
        await asyncio.sleep(0.1)
        turn.cancel()
        chat.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await turn
        while chat.runtime._answering:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(impatient(), 20))
    first.join(10)
    assert answer(chat)[0] == "sft-1"


def test_answers_as_json_name_the_adapter(chat):
    make_adapter(chat.settings, "sft-1")
    put(chat.settings, "sft-1")
    turn = Turn("?")
    assert collect(turn, chat.runtime.stream(turn)).as_json()["model"].endswith(" + sft-1")
