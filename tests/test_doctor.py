import socket
import sys
from collections import namedtuple

import pytest
from toy_index import toy_index
from typer.testing import CliRunner

from assistant import doctor
from assistant.cli import app
from assistant.doctor import Finding, examine
from assistant.settings import Settings, go_offline, load_settings
from knowledge.calibrated import Calibration, Point, sample_of
from knowledge.errors import IndexMismatch, MissingModel
from knowledge.index import CourseIndex
from knowledge.retrieval import RELEVANCE_WEIGHTS

Memory = namedtuple("Memory", "available")
Disk = namedtuple("Disk", "total used free")


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture(autouse=True)
def healthy(monkeypatch, tmp_path):
    """A machine on which everything is as it should be; each test breaks one thing."""
    for name in ("ANONYMIZED_TELEMETRY", "HF_HUB_OFFLINE", "LANGSMITH_TRACING"):
        monkeypatch.setenv(name, "")
    go_offline()
    monkeypatch.setattr(doctor, "model_path", lambda name: tmp_path)
    monkeypatch.setattr("psutil.virtual_memory", lambda: Memory(8e9))
    monkeypatch.setattr("shutil.disk_usage", lambda path: Disk(1e12, 0, 1e11))
    monkeypatch.setattr(doctor, "core_count", lambda: 4)
    monkeypatch.setattr("assistant.course.open_index", lambda settings: toy_index())
    load_settings.cache_clear()


def problems(settings):
    return [finding for finding in examine(settings) if finding.state != "ok"]


def test_nothing_is_wrong(settings):
    findings = list(examine(settings))
    assert problems(settings) == []
    texts = [finding.what for finding in findings]
    assert f"index with 3 documents and {len(toy_index().catalogue.passage_ids())} passages" in texts
    assert "a search opened no connection to the outside" in texts
    assert any(text.startswith("chromadb ") for text in texts)
    assert any("1.12 GB" in text for text in texts)


def test_a_package_that_is_not_installed(settings, monkeypatch):
    monkeypatch.setattr(doctor, "_PACKAGES", ("no-such-package",))
    assert problems(settings) == [Finding("fault", "no-such-package is not installed", "Run: make setup")]


def test_a_model_that_is_not_here(settings, monkeypatch):
    def missing(name):
        raise MissingModel(f"The model {name} is not here.", f"Run `lectern models pull {name}`.")

    monkeypatch.setattr(doctor, "model_path", missing)
    assert [finding.what for finding in problems(settings)] == [
        f"The model {name} is not here." for name in (settings.model.name, settings.embedder)
    ]


def test_little_memory_little_disk_one_core(settings, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: Memory(1e9))
    monkeypatch.setattr("shutil.disk_usage", lambda path: Disk(1e12, 0, 1e9))
    monkeypatch.setattr(doctor, "core_count", lambda: 1)
    found = problems(settings)
    assert [finding.state for finding in found] == ["warning"] * 3
    assert [finding.what.split(" ", 1)[0] for finding in found] == ["1.0", "1.0", "1"]
    assert all(finding.remedy for finding in found)


def test_switches_that_are_not_set(settings, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    (found,) = problems(settings)
    assert (found.state, found.what) == ("fault", "offline switches not set: HF_HUB_OFFLINE")


def test_an_empty_course(settings, index, monkeypatch):
    monkeypatch.setattr("assistant.course.open_index", lambda settings: index)
    (found,) = problems(settings)
    assert (found.state, found.what) == ("fault", "the course is empty")
    assert "lectern ingest --starter" in found.remedy


def test_an_index_of_another_embedder(settings, monkeypatch):
    def refuse(settings):
        raise IndexMismatch("The index was made with another embedder.", "Build it anew.")

    monkeypatch.setattr("assistant.course.open_index", refuse)
    assert problems(settings) == [Finding("fault", "The index was made with another embedder.", "Build it anew.")]


def test_a_course_that_is_too_small_to_calibrate_is_no_fault(settings):
    assert any("too small to fit the threshold" in finding.what for finding in examine(settings))


def test_a_threshold_that_was_never_fitted_to_the_course(settings, monkeypatch):
    monkeypatch.setattr("knowledge.calibration.is_possible", lambda index: True)
    (found,) = problems(settings)
    assert (found.state, found.remedy) == ("warning", "Run: lectern calibrate")
    assert "not fitted to this course" in found.what


@pytest.mark.parametrize(("gone", "state"), [(0.0, "ok"), (0.2, "ok"), (0.5, "warning")])
def test_a_threshold_says_how_stale_it_is(settings, monkeypatch, gone, state):
    ids = toy_index().catalogue.passage_ids()
    then = ids + [f"{number:012x}" for number in range(round(len(ids) * gone / (1 - gone)))]
    point = Point(threshold=0.5, false_refusals=0.0, let_through=0.0)
    found = Calibration(
        weights=RELEVANCE_WEIGHTS, embedder="e", passages=len(then), sample=sample_of(then), generation=1,
        made="2026-03-04T05:06:07+00:00", questions=40, target=0.05, shift=0.0, chosen=point, before=point, curve=(point,),
    )  # fmt: skip
    monkeypatch.setattr("knowledge.calibrated.read", lambda *_: found)
    (said,) = [finding for finding in examine(settings) if "fitted to this course" in finding.what]
    assert said.state == state
    assert "fitted to this course on 2026-03-04" in said.what
    share = found.changed(ids)
    assert share == pytest.approx(gone, abs=0.1)
    assert f"; {share:.0%} of its passages changed since" in said.what
    assert bool(said.remedy) is (state == "warning")


def test_a_search_that_finds_nothing(settings, monkeypatch):
    monkeypatch.setattr(CourseIndex, "dense", lambda *_: [])
    monkeypatch.setattr("knowledge.lexical.LexicalIndex.search", lambda *_: [])
    (found,) = problems(settings)
    assert "finds nothing" in found.what


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, ("192.0.2.1", 443))),
        ("socket.connect", (None, ("2001:db8::1", 443, 0, 0))),
        ("socket.sendto", (None, ("192.0.2.1", 53))),
        ("socket.getaddrinfo", ("telemetry.example", 443, 0, 0, 0)),
        ("socket.getaddrinfo", (b"telemetry.example", 443, 0, 0, 0)),
        ("socket.gethostbyname", ("telemetry.example",)),
    ],
)
def test_a_search_that_reaches_out(settings, monkeypatch, event, arguments):
    search = CourseIndex.dense

    def telling(*args):
        sys.audit(event, *arguments)
        return search(*args)

    monkeypatch.setattr(CourseIndex, "dense", telling)
    (found,) = problems(settings)
    assert found.state == "fault"
    assert found.what.removeprefix("a search tried to reach ") in {"192.0.2.1", "2001:db8::1", "telemetry.example"}


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, ("127.0.0.1", 443))),
        ("socket.connect", (None, ("::1", 443, 0, 0))),
        ("socket.connect", (None, "/run/some.socket")),
        ("socket.connect", (None, (0, 0))),
        ("socket.getaddrinfo", ("localhost", 443, 0, 0, 0)),
        ("socket.getaddrinfo", (None, 443, 0, 0, 0)),
    ],
)
def test_this_machine_is_not_outside(event, arguments):
    with doctor._watching_connections() as outside:
        sys.audit(event, *arguments)
    assert outside == set()


def test_a_real_connection_is_seen_while_watching_only(monkeypatch):
    monkeypatch.setattr(doctor, "_is_local", lambda host: False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        with doctor._watching_connections() as outside, socket.socket() as client:
            client.connect(server.getsockname())
        with socket.socket() as client:
            client.connect(server.getsockname())
    assert outside == {"127.0.0.1"}
    assert doctor._listening == []


def test_the_command_prints_every_finding_and_its_remedy(settings, monkeypatch):
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0
    assert "ok      Python 3." in done.output
    monkeypatch.setattr(doctor, "_PACKAGES", ("no-such[package]",))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "fault   no-such[package] is not installed\n        Run: make setup" in done.output
