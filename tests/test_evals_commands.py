"""`lectern eval` as a user calls it, over two tasks that need no weights."""

import importlib.util
import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from assistant import cli
from assistant.settings import load_settings
from evals.running import registry

ROOT = Path(__file__).resolve().parents[1]

TASKS = """
    import os
    from evals.task import Sample, Task, rate, split_of

    class Adder:
        # Doubles the number; breaks, or is interrupted, where the environment says so.
        def __init__(self, environment):
            self.identity = {"threshold": environment.settings.retrieval.threshold}

        def solve(self, sample):
            if os.environ.get("TOY_STOP") == sample.id:
                raise KeyboardInterrupt
            if os.environ.get("TOY_BREAK") in (sample.id, "all"):
                raise ValueError("no answer")
            print("a library talks")
            return {"answer": 2 * sample.input["number"]}

        def close(self):
            pass

    def right(sample, output):
        return {"right": float(output["answer"] == sample.target["gold"])}

    def cases(data):
        return [Sample(f"n{n}", {"number": n}, {"gold": 2 * n if n % 4 else 1}, f"n{n}", "test") for n in range(12)]

    def public(data):
        return [Sample("p1", {"number": 1}, {"gold": 2}, "p1", "test")]

    def scorers(environment):
        return [right]

    FIGURES = (rate("right", "the double is right"),)
    TASKS = (
        Task("toy/adder", "doubles [numbers]", cases, Adder, scorers, FIGURES, quick=4, seconds=30),
        Task("toy/public", "doubles public numbers", public, Adder, scorers, FIGURES, data=("numbers",)),
        Task("judged/adder", "doubles under a judge", cases, Adder, scorers, FIGURES, judged=True),
    )
"""


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    """Two tasks instead of ours, and a folder of one's own to run them in."""
    package = f"toy_tasks_{tmp_path.name}".replace("-", "_")
    folder = tmp_path / "source" / package
    folder.mkdir(parents=True)
    (folder / "toy.py").write_text(textwrap.dedent(TASKS))
    monkeypatch.syspath_prepend(tmp_path / "source")
    monkeypatch.setattr(registry, "PACKAGE", package)
    monkeypatch.setattr("evals.report.write_report", lambda run, against=None: run / f"report{against or ''}.html")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


@pytest.fixture
def lectern(monkeypatch, capsys):
    """Runs the command; returns exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lectern", "eval", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    monkeypatch.setattr(cli, "entry_points", lambda group: ())
    if not any(group.name == "eval" for group in cli.app.registered_groups):
        from evals.commands import add

        add(cli.app)
    return run


def manifest():
    return json.loads(next(Path("runs").glob("*/manifest.json")).read_text())


def samples(task="toy_adder"):
    found = next(Path("runs").glob("*/manifest.json")).parent / "samples" / f"{task}.jsonl"
    return [json.loads(line) for line in found.read_text().splitlines()]


def test_a_run_prints_figures_and_the_report_s_path_last(lectern):
    code, out, err = lectern("run", "toy/*", "--name", "first", "--seed", "7")
    assert code == 0, err
    assert "0.750" in out and "0.468 to 0.911" in out, "9 of 12, Wilson"
    last = Path(out.splitlines()[-1])
    assert last.name == "report.html" and last.parent.name.endswith("-first")
    assert (last.parent / "summary.json").is_file()
    assert "a library talks" not in out and "a library talks" in err
    assert "toy/public is skipped: it needs the folder numbers" in err and "--data" in err
    assert "12 samples of 1 task, about 6 min" in err
    assert len(samples()) == 12
    found = manifest()
    assert found["seed"] == 7 and found["split"] == "test" and found["finished"] >= found["started"]
    assert found["command"] == "lectern eval run 'toy/*' --name first --seed 7"
    assert list(found["skipped"]) == ["toy/public"]


def test_data_is_named_without_its_place(lectern, tmp_path):
    (tmp_path / "sets" / "numbers").mkdir(parents=True)
    code, _, err = lectern("run", "toy/public", "--data", tmp_path / "sets")
    assert code == 0, err
    assert manifest()["data"] == ["numbers"]
    assert str(tmp_path) not in json.dumps(manifest())


def test_quick_takes_the_number_of_each_task(lectern):
    code, out, _ = lectern("quick")
    assert code == 0
    assert len(samples()) == 4
    assert out.splitlines()[-1].endswith("-quick/report.html")
    assert "toy/public" not in manifest()["skipped"], "it is not part of a quick run"


def test_the_quality_of_the_judge_stands_beside_its_figures(lectern):
    code, out, err = lectern("run", "judged/adder", "--judge", "always")
    assert code == 0, err
    assert "judge always: quality not measured" in out
    assert manifest()["judge"]["name"] == "always"
    assert "rest on" not in lectern("run", "toy/adder")[1]
    assert lectern("run", "judged/adder", "--judge", "nobody")[0] == 2


def test_full_takes_everything_unless_limited(lectern):
    assert lectern("full", "--limit", "7", "--judge", "always")[0] == 0
    assert len(samples("judged_adder")) == 7
    assert len(samples()) == 7


def test_a_second_run_takes_outputs_from_the_cache_and_another_setting_does_not(lectern, monkeypatch):
    lectern("run", "toy/adder")
    monkeypatch.setenv("TOY_BREAK", "all")
    assert lectern("run", "toy/adder")[0] == 0
    assert "12 from the cache" in lectern("run", "toy/adder")[2]
    assert lectern("run", "toy/adder", "--no-cache")[0] == 1
    assert lectern("run", "toy/adder", "--set", "retrieval.threshold=0")[0] == 1


def test_a_failed_sample_is_counted_and_ends_with_1(lectern, monkeypatch):
    monkeypatch.setenv("TOY_BREAK", "n5")
    code, out, err = lectern("run", "toy/adder")
    assert code == 1
    assert "Failed samples: 1 (toy/adder 1)." in err
    assert out.splitlines()[-1].endswith("report.html"), "what did work is reported"
    assert [row["id"] for row in samples() if row["error"]] == ["n5"]
    assert manifest()["failed"] == {"toy/adder": 1}


def test_a_task_that_never_works_is_given_up(lectern, monkeypatch):
    monkeypatch.setenv("TOY_BREAK", "all")
    code, _, err = lectern("run", "toy/adder")
    assert code == 1
    assert len(samples()) == 5
    assert "toy/adder was given up: its first 5 samples failed, the last with ValueError: no answer" in err


def test_ctrl_c_ends_with_130_and_the_command_that_it_names_goes_on(lectern, monkeypatch):
    monkeypatch.setenv("TOY_STOP", "n8")
    code, out, err = lectern("run", "toy/adder", "--name", "long one".replace(" ", "-"))
    assert code == 130
    assert out == ""
    assert manifest()["finished"] is None
    assert "Stopped after 8 of 12" in err
    command = err.split("Go on with: lectern eval ")[1].splitlines()[0]
    assert command.startswith("run toy/adder --name long-one --resume 20")
    monkeypatch.delenv("TOY_STOP")
    code, out, _ = lectern(*command.split())
    assert code == 0
    assert [row["id"] for row in samples()] == [f"n{n}" for n in range(12)]
    assert len(list(Path("runs").glob("*/manifest.json"))) == 1
    assert manifest()["finished"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--seed", "1"], "seed was 0, is 1"),
        (["--set", "retrieval.threshold=0"], "settings.retrieval.threshold was 0.5, is 0.0"),
        (["--limit", "5"], "limit was nothing, is 5"),
    ],
)
def test_a_run_does_not_go_on_with_something_else(lectern, more, told):
    lectern("run", "toy/adder")
    before = samples()
    code, out, err = lectern("run", "toy/adder", "--resume", "latest", *more)
    assert code == 2
    assert told in err
    assert "lectern eval run toy/adder" in err
    assert samples() == before
    assert len(list(Path("runs").glob("*/manifest.json"))) == 1


def test_a_run_that_is_running_is_left_alone(lectern):
    from filelock import FileLock

    lectern("run", "toy/adder")
    with FileLock(next(Path("runs").glob("2*")) / "running.lock"):
        code, _, err = lectern("run", "toy/adder", "--resume", "latest")
    assert code == 2
    assert "another process" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "toy/addr"], "Did you mean toy/adder"),
        (["run", "toy/adder", "--set", "retrieval.treshold=0"], "Did you mean retrieval.threshold"),
        (["run", "toy/public"], "There is nothing to run"),
        (["run", "toy/adder", "--resume", "never"], "There is no run never"),
        (["run", "toy/adder", "--name", "a/b"], "not fit for a folder"),
        (["run", "toy/adder", "--limit", "0"], "--limit"),
        (["run", "toy/adder", "--data", "nowhere"], "nowhere"),
        (["compare", "a", "b"], "There is no run a"),
        (["report", "latest"], "There is no run latest"),
        (["gate"], "There is no run latest"),
    ],
)
def test_what_the_user_can_mend_ends_with_2(lectern, arguments, told):
    code, out, err = lectern(*arguments)
    assert code == 2
    assert told in err
    assert out == ""
    assert "Traceback" not in err


def test_the_list_tells_samples_minutes_and_what_is_skipped(lectern):
    found = {task["name"]: task for task in json.loads(lectern("list", "--json")[1])}
    adder, public = found["toy/adder"], found["toy/public"]
    assert (adder["samples"], adder["quick"]) == ({"dev": 0, "test": 12, "all": 12}, 4)
    assert (adder["minutes"], adder["quick_minutes"], adder["skipped"]) == (6.0, 2.0, None)
    assert public["samples"] is None and "numbers" in public["skipped"]
    code, out, _ = lectern("list")
    assert code == 0
    assert "doubles [numbers]" in out, "brackets are text"
    assert "Skipped, 1 task" in out and "numbers" in out
    assert "lectern eval quick: about 2 min" in out


def test_a_damaged_set_does_not_hide_the_list(lectern, monkeypatch):
    from knowledge.errors import CourseError

    def damaged(data):
        raise CourseError("rgb.jsonl, line 3: no question.", "Get it again.")

    from dataclasses import replace

    tasks = tuple(replace(task, samples=damaged, data=()) for task in registry.all_tasks())
    monkeypatch.setattr("evals.listing.all_tasks", lambda: tasks)
    code, out, _ = lectern("list")
    assert code == 0
    assert "line 3" in out


def test_the_report_of_a_run_is_written_again(lectern):
    lectern("run", "toy/adder", "--name", "one")
    lectern("run", "toy/adder", "--name", "two")
    code, out, _ = lectern("report", "two", "--against", "one")
    assert code == 0
    assert out.strip().endswith("-one.html")


def test_two_runs_are_compared(lectern):
    lectern("run", "toy/adder", "--name", "one")
    lectern("run", "toy/adder", "--name", "two", "--set", "retrieval.threshold=0")
    code, out, err = lectern("compare", "one", "two")
    assert code == 0, err
    assert "retrieval.threshold" in out and "right" in out
    found = json.loads(lectern("compare", "one", "two", "--json")[1])
    assert found["tasks"][0]["pairs"] == 12


def test_help_is_fast_and_loads_nothing_heavy():
    started = time.monotonic()
    code = "import sys; from assistant.cli import main; sys.argv = ['lectern', 'eval', '--help']; main()"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert time.monotonic() - started < 20, "two seconds on a quiet machine"
    assert "compare" in shown and "gate" in shown
    code = "import sys, evals.eval_commands; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    heavy = (
        "numpy",
        "torch",
        "llama_cpp",
        "langchain_core",
        "scipy",
        "matplotlib",
        "assistant.settings",
        "evals.running.runner",
    )
    assert [name for name in heavy if name in loaded] == []


def test_nobody_outside_is_told(lectern, monkeypatch):
    """The fence of conftest.py refuses every connection; tracing is off whatever the environment says."""
    import os

    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("LANGCHAIN_TRACING_V2", "true")
    assert lectern("run", "toy/adder")[0] == 0
    assert os.environ["LANGSMITH_TRACING"] == os.environ["LANGCHAIN_TRACING_V2"] == "false"


def test_packages_that_are_missing_are_named_with_the_command_that_brings_them(lectern, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in ("scipy", "jinja2") else found(name))
    code, _, errors = lectern("list")
    assert code == 2
    assert "Evaluations need jinja2, scipy." in errors
    assert "lectern[evals]" in errors
