"""`lectern bench` as a user calls it."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from assistant.settings import Settings
from evals import commands
from evals.bench import overview

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def asked(monkeypatch):
    """The arguments of each measurement, which prints as libraries do."""
    calls = []

    def measure(settings, prompts, sweep, say):
        calls.append((settings.model.name, prompts, sweep))
        say("Reading")
        print("a library talks")
        return SimpleNamespace(as_json=lambda: {"ttft_full_s": 13.0})

    monkeypatch.setattr(overview, "measure", measure)
    monkeypatch.setattr("assistant.settings.load_settings", Settings)
    monkeypatch.setattr("evals.bench.overview_text.lines", lambda seen: iter(["one", "two"]))
    return calls


def bench(*arguments):
    app = typer.Typer()
    app.callback()(lambda: None)
    commands.add(app)
    return CliRunner().invoke(app, ["bench", *arguments])


def test_json_is_one_object_on_standard_output_whatever_libraries_print(asked):
    result = bench("--json", "--prompts", "2", "--sweep", "-m", "tiny")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"ttft_full_s": 13.0}
    assert "Reading ..." in result.stderr
    assert "a library talks" in result.stderr
    assert asked == [("tiny", 2, True)]


def test_text_is_printed_line_by_line_with_the_chosen_model(asked):
    assert bench().stdout == "one\ntwo\n"
    assert asked == [(Settings().model.name, 3, False)]


def test_no_prompts_are_refused(asked):
    assert bench("--prompts", "0").exit_code == 2
    assert asked == []


def test_the_entry_point_names_a_function_that_loads_light():
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert entries["lectern.commands"]["evals"] == "evals.commands:add"
    code = "import sys, evals.commands; assert evals.commands.add; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    heavy = ("numpy", "torch", "llama_cpp", "langchain_core", "assistant.settings", "evals.bench")
    assert [name for name in heavy if name in loaded] == []
