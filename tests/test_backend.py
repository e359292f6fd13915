"""Three ways to the same answer: names, what belongs to them, and the assistant over each of them."""

import json

import pytest
from fake_openai import MODEL, serving
from langchain_core.messages import HumanMessage
from tiny_hf import tiny_adapter, tiny_folder
from toy_index import toy_index

from assistant import doctor, models
from assistant.answer import Answer
from assistant.chain import CourseChain
from assistant.doctor import examine
from assistant.events import Turn
from assistant.llm import backend
from assistant.llm.backend import make_model
from assistant.llm.chat_hf import ChatHf
from assistant.llm.chat_llama import ChatLlama
from assistant.llm.chat_openai import ChatServer
from assistant.settings import Settings
from assistant.warming import Warmer, make_warmer
from course_guard.grounding import OverlapVerifier
from knowledge.errors import CourseError, MissingModel
from knowledge.evidence import EvidencePlanner
from knowledge.retrieval import CourseRetriever

QWEN = "qwen2.5-coder-0.5b-instruct-q4_k_m"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def fresh():
    for cached in (backend._llamas, backend._server, backend._transformers):
        cached.clear() if isinstance(cached, dict) else cached.cache_clear()


def settings_for(tmp_path, name, **model):
    return Settings(data_dir=tmp_path / "data", model={"name": name, **model})


def base_of(settings, name=QWEN):
    """Where finetune keeps what it has made of a GGUF."""
    return settings.finetune_dir / "bases" / models.find_spec(name).files[0].sha256


# Which model


def test_each_name_gives_its_own_kind_once(tmp_path, folder):
    gguf = tmp_path / "own.gguf"
    gguf.write_bytes(b"GGUF")
    for name, kind in (
        (str(gguf), ChatLlama),
        (f"hf:{folder}", ChatHf),
        ("openai:http://127.0.0.1:1/v1#m", ChatServer),
    ):
        settings = settings_for(tmp_path, name, context=2048)
        made = make_model(settings)
        assert type(made) is kind
        assert make_model(settings) is made
        assert make_model(settings_for(tmp_path, "other", context=2048), name) is made
        assert getattr(made, "context", 2048) == 2048


def test_nothing_is_loaded_or_asked_before_it_is_needed(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("assistant.llm.chat_hf.load", None)
    with serving() as server:
        make_model(settings_for(tmp_path, f"hf:{folder}"))
        make_model(settings_for(tmp_path, server.name))
        assert server.paths == []


def test_a_folder_made_of_a_gguf_goes_by_its_name(tmp_path, folder):
    settings = settings_for(tmp_path, f"hf:{QWEN}")
    with pytest.raises(MissingModel) as caught:
        make_model(settings)
    assert "lectern finetune sft" in caught.value.remedy
    base_of(settings).parent.mkdir(parents=True)
    base_of(settings).symlink_to(folder)
    assert make_model(settings).folder == base_of(settings)


def test_a_gguf_of_ones_own_is_known_by_its_bytes(tmp_path, folder):
    gguf = tmp_path / "own.gguf"
    gguf.write_bytes(b"GGUF")
    settings = settings_for(tmp_path, f"hf:{gguf}")
    made = settings.finetune_dir / "bases" / models.sha256_of(gguf, lambda _: None)
    made.parent.mkdir(parents=True)
    made.symlink_to(folder)
    assert make_model(settings).folder == made


@pytest.mark.parametrize("name", ["hf:", "hf:/nowhere", "hf:no such name"])
def test_names_of_no_folder(tmp_path, name):
    with pytest.raises(MissingModel, match="not a folder with a model"):
        make_model(settings_for(tmp_path, name))


def test_a_server_has_no_weights_here():
    with pytest.raises(MissingModel, match="on a server"):
        models.model_path("openai:http://127.0.0.1:1/v1#m")


# Adapters


def test_a_gguf_is_kept_and_its_adapter_changed(tmp_path, monkeypatch):
    gguf = tmp_path / "own.gguf"
    gguf.write_bytes(b"GGUF")
    put_on = []
    monkeypatch.setattr(ChatLlama, "use_adapter", lambda self, path: put_on.append(path) or setattr(self, "adapter", path))
    settings = settings_for(tmp_path, str(gguf))
    one, two = tmp_path / "one.gguf", tmp_path / "two.gguf"
    first = make_model(settings, adapter=one)
    assert (first.adapter, put_on) == (one, []), "a fresh model loads its adapter with its weights"
    assert make_model(settings, adapter=one) is make_model(settings, adapter=two) is make_model(settings) is first
    assert put_on == [two, None]


def test_transformers_takes_the_folder_beside_the_gguf_adapter(tmp_path, folder):
    adapter = tmp_path / "adapters" / "a1"
    tiny_adapter(adapter / "peft", folder)
    settings = settings_for(tmp_path, f"hf:{folder}")
    for given in (adapter / "adapter.gguf", adapter / "peft"):
        assert make_model(settings, adapter=given).adapter == adapter / "peft"
    assert make_model(settings).adapter is None
    with pytest.raises(CourseError, match="no adapter for transformers"):
        make_model(settings, adapter=tmp_path / "adapter.gguf")


def test_a_server_loads_its_own_adapters(tmp_path):
    with pytest.raises(CourseError) as caught:
        make_model(settings_for(tmp_path, "openai:http://127.0.0.1:1/v1#m"), adapter=tmp_path)
    assert "behind the #" in caught.value.remedy


# The assistant over them


def answered(model, question="What absorbs red light?"):
    index = toy_index()
    planner = EvidencePlanner(index, count_tokens=model.count_tokens)
    chain = CourseChain(
        CourseRetriever(index=index), planner, model, OverlapVerifier(index.embedder), sections=make_warmer(model, index)
    )
    asked = Turn(question)
    answer = Answer(asked)
    for event in chain.stream(asked):
        answer.add(event)
    return json.loads(json.dumps(answer.as_json()))


def test_only_llama_cpp_reads_ahead(tmp_path, folder):
    gguf = tmp_path / "own.gguf"
    gguf.write_bytes(b"GGUF")
    made = [make_model(settings_for(tmp_path, name)) for name in (str(gguf), f"hf:{folder}", "openai:http://127.0.0.1:1/v1#m")]
    warmers = [make_warmer(model, toy_index()) for model in made]
    assert [isinstance(warmer, Warmer) for warmer in warmers] == [True, False, False]


def test_a_server_answers_from_whole_sections(tmp_path):
    with serving() as server:
        server.pieces = ["Chlorophyll absorbs red ", "and blue light. It was found ", "on the Moon in 1900."]
        said = answered(make_model(settings_for(tmp_path, server.name)))
    assert [sentence["text"] for sentence in said["sentences"]] == ["Chlorophyll absorbs red and blue light."]
    assert said["sentences"][0]["citations"]
    assert [one["text"] for one in said["dropped"]] == ["It was found on the Moon in 1900."]
    assert (said["prompt_tokens"], said["cached_tokens"], said["cold"]) == (40, 30, False)
    system = server.requests[0]["messages"][0]["content"]
    assert "it happens in the chloroplasts" in system and "reflects green light, e.g. in leaves" in system


def test_transformers_answers_through_the_same_chain(tmp_path, folder):
    said = answered(make_model(settings_for(tmp_path, f"hf:{folder}")))
    assert said["prompt_tokens"] > 100
    assert said["cold"] is False


def test_a_server_that_fails_ends_the_turn_with_a_remedy(tmp_path):
    with serving() as server:
        server.statuses = [401]
        with pytest.raises(CourseError, match="refuses the key"):
            answered(make_model(settings_for(tmp_path, server.name)))


# The doctor


@pytest.fixture
def well(monkeypatch):
    monkeypatch.setattr(doctor, "_PACKAGES", ())
    monkeypatch.setattr(doctor, "model_path", lambda name: name)
    monkeypatch.setattr(doctor, "_index", lambda settings: ())
    monkeypatch.setattr(doctor, "_machine", lambda folder: ())
    monkeypatch.setattr(doctor, "_switches", lambda: doctor.Finding("ok", "switches"))


def told(settings):
    return {finding.what: finding for finding in examine(settings) if finding.state != "ok"}


def test_the_doctor_asks_the_server(well, tmp_path):
    with serving() as server:
        assert told(settings_for(tmp_path, server.name)) == {}
        assert server.paths == ["/v1/models"]
        (missing,) = told(settings_for(tmp_path, server.name.replace(MODEL, "other"))).values()
        assert missing.state == "warning" and MODEL in missing.remedy
        server.statuses = [401]
        (fault,) = told(settings_for(tmp_path, server.name)).values()
    assert fault.state == "fault" and "LECTERN_MODEL_KEY" in fault.remedy


@pytest.mark.parametrize(("url", "plain"), [("https://models.example/v1", False), ("http://10.0.0.7:8000/v1", True)])
def test_the_doctor_says_what_leaves_the_machine(well, tmp_path, monkeypatch, url, plain):
    monkeypatch.setattr(ChatServer, "models", lambda self: ["m"])
    settings = settings_for(tmp_path, f"openai:{url}#m")
    ((what, finding),) = told(settings).items()
    assert finding.state == "warning" and "leave this machine" in what and url in what
    assert ("not encrypted" in what) is plain
    judged = Settings(data_dir=tmp_path, grounding={"verifier": f"openai:{url}#m"})
    assert any("leave this machine" in what for what in told(judged))


def test_the_doctor_looks_at_the_folder(well, tmp_path, folder, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert [finding.what for finding in told(settings_for(tmp_path, f"hf:{folder}")).values()] == ["torch finds no GPU"]
    assert any("not a folder" in what for what in told(settings_for(tmp_path, "hf:/nowhere")))


def test_the_key_is_no_setting(monkeypatch, tmp_path):
    monkeypatch.setenv("LECTERN_MODEL_KEY", "word")
    assert "word" not in Settings(data_dir=tmp_path).model_dump_json()


def test_messages_are_joined_as_they_stand():
    from assistant.llm.messages import plain

    assert plain([HumanMessage(["a", {"type": "text", "text": "b"}])]) == [{"role": "user", "content": "ab"}]
