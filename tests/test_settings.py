import os
from pathlib import Path

import pytest

from assistant.settings import Settings, core_count, go_offline, load_settings, settings_file, thread_count
from knowledge.errors import CourseError


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def write(text):
    Path("lectern.toml").write_text(text, encoding="utf-8")


def test_defaults_need_no_file(monkeypatch):
    settings = load_settings()
    assert settings.evidence.candidates == 20
    assert settings.index_dir == Path(os.environ["LECTERN_DATA_DIR"]) / "index"
    assert settings.states_dir == Path(os.environ["LECTERN_DATA_DIR"]) / "states"
    monkeypatch.delenv("LECTERN_DATA_DIR")
    assert Settings().data_dir == Path(os.environ["XDG_DATA_HOME"]) / "lectern"


def test_the_environment_beats_the_file_and_the_file_the_defaults(monkeypatch):
    write("[evidence]\ncandidates = 12\nextra_tokens = 100\n")
    monkeypatch.setenv("LECTERN_EVIDENCE__CANDIDATES", "7")
    evidence = load_settings().evidence
    assert (evidence.candidates, evidence.extra_tokens, evidence.pruned_tokens) == (7, 100, 290)


def test_the_file_of_the_folder_beats_the_user_s(monkeypatch):
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "lectern" / "lectern.toml"
    own.parent.mkdir(parents=True)
    own.write_text("[evidence]\ncandidates = 12\n")
    assert settings_file() == own
    assert load_settings().evidence.candidates == 12
    write("[model]\nthreads = 3\n")
    load_settings.cache_clear()
    assert load_settings().evidence.candidates == 20


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.delenv("LECTERN_DATA_DIR")
    write('data_dir = "~/lectern"\n')
    assert load_settings().data_dir == Path.home() / "lectern"


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("LECTERN_MODEL__THREADS", "")
    monkeypatch.setenv("LECTERN_EMBEDDER", "")
    settings = load_settings()
    assert (settings.model.threads, settings.embedder) == (0, "all-minilm-l6-v2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[evidence]\ncandidate = 8\n", "evidence.candidate"),
        ("[answer]\nsources = 4\n", "answer.sources"),
        ("colour = 3\n", "colour"),
        ("[evidence]\ncandidates = 999\n", "evidence.candidates"),
        ("[evidence]\ncandidates = 'many'\n", "evidence.candidates"),
        ("[answer\n", "lectern.toml is not valid TOML"),
        ("[grounding]\nthreshold = 2\n", "grounding.threshold"),
    ],
)
def test_a_mistake_in_the_file_is_named(text, message):
    write(text)
    with pytest.raises(CourseError, match=message) as caught:
        load_settings()
    assert "lectern.toml" in str(caught.value)


def test_a_file_that_is_no_text_is_named():
    Path("lectern.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CourseError, match="lectern.toml"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LECTERN_EVIDENCE__CANDIDATES", "many", "LECTERN_EVIDENCE__CANDIDATES"),
        ("LECTERN_EVIDENCE__CANDIDATE", "8", "LECTERN_EVIDENCE__CANDIDATE"),
        ("LECTERN_MODEL", "{", '"model"'),
    ],
)
def test_a_mistake_in_the_environment_is_named(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(CourseError) as caught:
        load_settings()
    assert message in str(caught.value)


def test_settings_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().evidence.candidates = 8


def test_one_thread_for_each_core_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 5}, raising=False)
    assert thread_count(load_settings().model) == core_count() == 3
    assert thread_count(load_settings().model.model_copy(update={"threads": 5})) == 5
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS and Windows have none
    assert core_count() == os.cpu_count()


def test_going_offline_sets_every_switch(monkeypatch):
    wanted = {"ANONYMIZED_TELEMETRY": "False", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "LANGSMITH_TRACING": "false"}
    for name in wanted:
        monkeypatch.setenv(name, "something else")
    go_offline()
    assert {name: os.environ[name] for name in wanted} == wanted
