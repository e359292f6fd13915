"""Runs: what is drawn, written, resumed, cached, and what happens when something breaks."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import pytest

from assistant.settings import Settings, load_settings
from evals.environment import Environment
from evals.running import registry
from evals.running.cache import Cache, code_version, digest
from evals.running.manifest import check_same, describe, portable
from evals.running.overrides import changed_settings, setting_names
from evals.running.progress import Estimate, duration
from evals.running.registry import all_tasks, choose, missing_data
from evals.running.request import Drawing
from evals.running.runner import Planned, plan, run_tasks
from evals.running.runs import Run, find_run, new_run
from evals.running.sampling import draw
from evals.task import Row, Sample, Task, rate
from knowledge.errors import CourseError

ROOT = Path(__file__).resolve().parents[1]


def sample(number: int, group: str = "", split: str = "test") -> Sample:
    return Sample(f"s{number}", {"question": f"What is {number}?"}, {"gold": number}, group or f"g{number}", split)


class Echo:
    """Answers with the question's number; fails, or is interrupted, where it is told to."""

    def __init__(self, breaks: Sequence[str] = (), stops_at: str = "", identity: str = "echo") -> None:
        self.breaks, self.stops_at = breaks, stops_at
        self.identity = {"name": identity}
        self.seen: list[str] = []
        self.closed = False

    def solve(self, sample: Sample) -> dict[str, object]:
        assert sample.target == {}, "a solver may not see the target"
        if sample.id == self.stops_at:
            raise KeyboardInterrupt
        self.seen.append(sample.id)
        if sample.id in self.breaks:
            raise ZeroDivisionError("no answer")
        return {"answer": int(sample.input["question"].strip("?").split()[-1]), "pair": (1, 2)}

    def close(self) -> None:
        self.closed = True


def right(sample: Sample, output: dict[str, object]) -> dict[str, float | None]:
    assert output["pair"] == [1, 2], "scorers see JSON, whether it was computed now or comes from the cache"
    return {"right": output["answer"] == sample.target["gold"]}


def task(solver: Echo, samples: Sequence[Sample] = tuple(map(sample, range(8))), name: str = "toy/echo", **more) -> Task:
    return Task(
        name, "echoes", lambda data: list(samples), lambda env: solver, lambda env: [right], [rate("right", "is right")], **more
    )


class Silent:
    """Speaks evals.running.runner.Watch."""

    def begin(self, planned, done): ...
    def row(self, row, seconds): ...
    def end(self, problem): ...


@pytest.fixture
def environment(tmp_path):
    cache = Cache(tmp_path / "runs" / ".cache")
    yield Environment(Settings(), cache)
    cache.close()


@pytest.fixture
def begin(tmp_path, environment):
    """Runs tasks in a new folder, or in one that is given; returns the run and what did not work."""

    def run(*tasks: Task, into: Run | None = None, drawing: Drawing = Drawing()):  # noqa: B008
        planned, _ = plan(tasks, None, drawing)
        into = into or new_run(tmp_path / "runs", datetime(2026, 1, 5, 10))
        into.write_manifest({"tasks": {p.task.name: p.as_json() for p in planned}})
        return into, run_tasks(into, planned, environment, Silent())

    return run


# Which samples


def test_a_limit_draws_by_seed_alone_and_a_larger_one_adds():
    samples = [sample(number) for number in range(100)]
    ten, twenty = draw(samples, 10, seed=3), draw(samples, 20, seed=3)
    assert len(ten) == 10
    assert {s.id for s in ten} < {s.id for s in twenty}
    assert {s.id for s in draw(samples[::-1], 10, seed=3)} == {s.id for s in ten}, "their order must not matter"
    assert [s.id for s in ten] == sorted((s.id for s in ten), key=lambda name: int(name[1:])), "they stay in order"
    assert {s.id for s in draw(samples, 10, seed=4)} != {s.id for s in ten}
    fewer = draw([s for s in samples if s not in ten[:3]], 7, seed=3)
    assert fewer == ten[3:], "what else there is must not matter"


def test_conversations_are_drawn_whole():
    turns = [sample(number, group=f"c{number // 4}") for number in range(40)]
    drawn = draw(turns, 11, seed=0, whole_groups=True)
    assert len(drawn) == 8
    assert all(sum(s.group == group for s in drawn) == 4 for group in {s.group for s in drawn})
    assert len(draw(turns, 2, seed=0, whole_groups=True)) == 4, "one is taken in any case"


def test_the_half_and_the_quick_number_limit_a_task():
    samples = [sample(number, split="dev" if number % 2 else "test") for number in range(40)]
    cases = task(Echo(), samples, quick=5)

    def ids(**drawing):
        return [s.id for s in plan([cases], None, Drawing(**drawing))[0][0].samples]

    assert ids() == [f"s{n}" for n in range(0, 40, 2)]
    assert len(ids(split="all")) == 40
    assert len(ids(quick=True)) == 5
    assert len(ids(quick=True, limit=3)) == 3
    assert len(ids(quick=False, limit=9)) == 9
    only_dev = task(Echo(), samples[1::2])
    assert plan([only_dev], None, Drawing()) == ([], {"toy/echo": "has no samples in the half test"})


def test_two_samples_with_one_id_are_refused():
    with pytest.raises(CourseError, match="same id"):
        plan([task(Echo(), [sample(1), sample(1)])], None, Drawing())


def test_a_task_without_its_data_says_which_folder_it_needs(tmp_path):
    needs = task(Echo(), data=("squad2", "rgb"))
    (tmp_path / "rgb").mkdir()
    assert missing_data(task(Echo()), None) == ""
    assert "squad2, rgb" in missing_data(needs, None) and "--data" in missing_data(needs, None)
    assert "squad2" in missing_data(needs, tmp_path) and "rgb" not in missing_data(needs, tmp_path)
    planned, skipped = plan([needs, task(Echo(), name="toy/other")], tmp_path, Drawing())
    assert [p.task.name for p in planned] == ["toy/other"]
    assert list(skipped) == ["toy/echo"]


# Which tasks


def test_tasks_are_found_in_the_files_of_a_folder(tmp_path, monkeypatch):
    package = tmp_path / "found_tasks"
    package.mkdir()
    line = "from evals.task import Task\nTASKS = (Task('{0}', '', lambda data: [], None, None, ()),)\n"
    (package / "b.py").write_text(line.format("b/two"))
    (package / "a.py").write_text(line.format("a/one"))
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "PACKAGE", "found_tasks")
    assert [found.name for found in all_tasks()] == ["a/one", "b/two"]


def test_two_tasks_with_one_name_are_refused(tmp_path, monkeypatch):
    package = tmp_path / "twice_tasks"
    package.mkdir()
    for name in ("a", "b"):
        (package / f"{name}.py").write_text(
            "from evals.task import Task\nTASKS = (Task('x', '', lambda data: [], None, None, ()),)\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "PACKAGE", "twice_tasks")
    with pytest.raises(CourseError, match="called x"):
        all_tasks()


def test_patterns_choose_each_task_once_and_a_typing_error_is_helped():
    tasks = [task(Echo(), name=name) for name in ("course/answers", "course/followup", "judge/ragtruth")]
    names = [found.name for found in choose(["judge/*", "course/answers", "course/*"], tasks)]
    assert names == ["judge/ragtruth", "course/answers", "course/followup"]
    with pytest.raises(CourseError, match=r"no task course/answer\. Did you mean course/answers"):
        choose(["course/answer"], tasks)
    with pytest.raises(CourseError, match="Did you mean judge/ragtruth"):
        choose(["ragtruth/*"], tasks)


# Rows on disk


def row(number: int, **more) -> Row:
    return Row(sample(number), {"answer": "naïve \ud83d"}, {"right": 1.0, "other": None}, 0.5, **more)


def test_a_row_comes_back_as_it_was(tmp_path):
    run = new_run(tmp_path, datetime.now())
    rows = [row(1), row(2, cached=True), row(3, error="broke")]
    for one in rows:
        run.append("toy/echo", one)
    assert run.rows("toy/echo") == rows
    assert run.samples_file("toy/echo") == run.folder / "samples" / "toy_echo.jsonl"
    assert run.rows("never/ran") == []


@pytest.mark.parametrize("bytes_left", range(1, 40, 3))
def test_a_last_line_that_was_cut_anywhere_is_dropped(tmp_path, bytes_left):
    run = new_run(tmp_path, datetime.now())
    run.append("t", row(1))
    run.append("t", replace(row(2), output={"answer": "ééééé"}))
    path = run.samples_file("t")
    whole = path.read_bytes()
    path.write_bytes(whole[:-bytes_left])
    assert [r.sample.id for r in run.rows("t")] == ["s1"]
    assert [r.sample.id for r in run.mend("t")] == ["s1"]
    run.append("t", row(3))
    assert [r.sample.id for r in run.rows("t")] == ["s1", "s3"], "the next line must not hang on to half a line"


def test_a_damaged_line_is_named(tmp_path):
    run = new_run(tmp_path, datetime.now())
    run.append("t", row(1))
    with run.samples_file("t").open("a") as file:
        file.write('{"id": 3}\n')
    with pytest.raises(CourseError, match="line 2"):
        run.rows("t")


def test_a_run_is_found_by_path_name_its_given_name_or_latest(tmp_path):
    with pytest.raises(CourseError, match="none yet"):
        find_run("latest", tmp_path / "nowhere")
    runs = [new_run(tmp_path, datetime(2026, 1, 5, 10), name) for name in ("before", "before", "after")]
    for minute, run in enumerate(runs):
        run.write_manifest({"started": f"2026-01-05T10:0{minute}:00+00:00"})
    assert [run.name for run in runs] == ["20260105-100000-before", "20260105-100000-before-2", "20260105-100000-after"]
    assert find_run(str(runs[0].folder), Path("elsewhere")) == runs[0]
    assert find_run(runs[1].name, tmp_path) == runs[1]
    assert find_run("before", tmp_path) == runs[0]
    assert find_run("latest", tmp_path) == runs[2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(CourseError, match=r"There is no run empty\. .*100000-after"):
        find_run("empty", tmp_path)


def test_a_name_that_is_no_folder_name_is_refused(tmp_path):
    with pytest.raises(CourseError, match="not fit"):
        new_run(tmp_path, datetime.now(), "../escape")


# The cache


def test_the_cache_gives_back_what_was_kept_whatever_the_order_of_keys(tmp_path):
    cache = Cache(tmp_path / "c")
    cache.set({"a": 1, "b": [2]}, {"x": [1.5, None, "é\ud83d"]})
    cache.close()
    again = Cache(tmp_path / "c")
    assert again.get({"b": [2], "a": 1}) == {"x": [1.5, None, "é\ud83d"]}
    assert again.get({"b": [3], "a": 1}) is None
    again.close()
    nothing = Cache(None)
    nothing.set("a", 1)
    assert nothing.get("a") is None
    nothing.close()


def test_a_key_that_is_no_json_is_refused():
    with pytest.raises(TypeError):
        digest({"a": {1, 2}})


def test_the_version_of_code_changes_with_a_file(tmp_path, monkeypatch):
    package = tmp_path / "some_code"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    before = code_version("some_code")
    (package / "notes.md").write_text("no code")
    assert code_version("some_code") == before
    (package / "part.py").write_text("x = 1")
    assert code_version("some_code") != before


# Running


def test_every_sample_is_solved_scored_and_written(begin):
    solver = Echo()
    run, outcome = begin(task(solver))
    rows = run.rows("toy/echo")
    assert [r.sample.id for r in rows] == [f"s{n}" for n in range(8)]
    assert all(r.scores == {"right": 1.0} and not r.cached and not r.error for r in rows)
    assert rows[2].sample.target == {"gold": 2}
    assert solver.closed
    assert outcome.lines() == []


def test_a_failure_is_written_down_and_the_others_go_on(begin):
    run, outcome = begin(task(Echo(breaks=["s0", "s5"])))
    rows = run.rows("toy/echo")
    assert len(rows) == 8
    assert [r.sample.id for r in rows if r.error] == ["s0", "s5"]
    assert rows[5].scores == {} and rows[5].output == {}
    assert "ZeroDivisionError: no answer (test_evals_runner.py, line" in rows[5].error
    assert str(ROOT) not in rows[5].error
    assert outcome.lines() == ["Failed samples: 2 (toy/echo 2)."]


def test_a_task_whose_first_five_fail_is_given_up_and_the_next_one_runs(begin):
    broken, sound = Echo(breaks=[f"s{n}" for n in range(5)]), Echo()
    run, outcome = begin(task(broken, name="a"), task(sound, name="b"))
    assert len(run.rows("a")) == 5
    assert broken.closed
    assert len(run.rows("b")) == 8
    assert "first 5 samples failed, the last with ZeroDivisionError" in outcome.stopped["a"]
    late = Echo(breaks=[f"s{n}" for n in range(1, 8)])
    again, outcome = begin(task(late, name="c"))
    assert len(again.rows("c")) == 8
    assert outcome.stopped == {}


def test_a_task_that_cannot_begin_says_why_and_the_next_one_runs(begin):
    def absent(environment):
        raise CourseError("No weights here.", "Pull them.")

    run, outcome = begin(replace(task(Echo(), name="a"), solver=absent), task(Echo(), name="b"))
    assert outcome.stopped == {"a": "No weights here. Pull them."}
    assert len(run.rows("b")) == 8


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_a_failure(begin, score):
    run, outcome = begin(replace(task(Echo(), [sample(1)]), scorers=lambda env: [lambda s, o: {"odd": score}]))
    assert "score odd is" in run.rows("toy/echo")[0].error
    assert run.rows("toy/echo")[0].output["answer"] == 1, "what was computed is kept"


def test_two_scorers_with_one_name_are_a_failure(begin):
    run, _ = begin(replace(task(Echo(), [sample(1)]), scorers=lambda env: [right, right]))
    assert "two scorers give right" in run.rows("toy/echo")[0].error


# From the cache


def test_a_changed_scorer_computes_no_output_again(begin):
    begin(task(Echo()))
    second = Echo()
    run, _ = begin(replace(task(second), scorers=lambda env: [lambda s, o: {"twice": 2.0 * o["answer"]}]))
    assert second.seen == []
    rows = run.rows("toy/echo")
    assert [r.scores["twice"] for r in rows] == [2.0 * n for n in range(8)]
    assert all(r.cached for r in rows)


def test_another_identity_another_solver_or_another_input_is_computed(begin):
    begin(task(Echo()))
    other = Echo(identity="echo with another model")
    begin(task(other))
    assert len(other.seen) == 8

    class Parrot(Echo):
        pass

    parrot = Parrot()
    begin(task(parrot))
    assert len(parrot.seen) == 8
    moved = Echo()
    begin(task(moved, [sample(1), replace(sample(2), input={"question": "What, then, is 2?"})]))
    assert moved.seen == ["s2"]


def test_a_failure_is_not_cached(begin):
    begin(task(Echo(breaks=["s1"])))
    mended = Echo()
    run, outcome = begin(task(mended))
    assert mended.seen == ["s1"]
    assert outcome.lines() == []


# Stopped and resumed


def test_a_stopped_run_goes_on_where_it_was(begin, tmp_path, environment):
    environment.cache = Cache(None)
    run = new_run(tmp_path / "runs", datetime.now())
    stopped = Echo(stops_at="s3", breaks=["s1"])
    with pytest.raises(KeyboardInterrupt):
        begin(task(stopped), into=run)
    assert stopped.closed
    assert len(run.rows("toy/echo")) == 3
    goes_on = Echo()
    begin(task(goes_on), into=run)
    assert goes_on.seen == ["s1", "s3", "s4", "s5", "s6", "s7"], "what failed is tried again"
    assert sorted(r.sample.id for r in run.rows("toy/echo")) == [f"s{n}" for n in range(8)]
    assert not any(r.error for r in run.rows("toy/echo"))
    done = Echo()
    begin(task(done), into=run)
    assert done.seen == []


def test_a_killed_process_leaves_whole_lines(tmp_path):
    """SIGKILL in the middle of the fourth sample, from within it."""
    code = f"""
        import os, signal
        from datetime import datetime
        from pathlib import Path
        from test_evals_runner import Echo, Silent, task
        from assistant.settings import Settings
        from evals.running.cache import Cache
        from evals.environment import Environment
        from evals.running.request import Drawing
        from evals.running.runner import plan, run_tasks
        from evals.running.runs import Run

        class Dies(Echo):
            def solve(self, sample):
                if sample.id == "s3":
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().solve(sample)

        folder = Path({str(tmp_path)!r}) / "run"
        folder.mkdir()
        run_tasks(Run(folder), plan([task(Dies())], None, Drawing())[0], Environment(Settings(), Cache(None)), Silent())
        """
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}"}
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=env, cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    run = Run(tmp_path / "run")
    assert [r.sample.id for r in run.rows("toy/echo")] == ["s0", "s1", "s2"]
    goes_on = Echo()
    planned, _ = plan([task(goes_on)], None, Drawing())
    run_tasks(run, planned, Environment(Settings(), Cache(None)), Silent())
    assert goes_on.seen == [f"s{n}" for n in range(3, 8)]


# Manifest and settings


def test_the_manifest_says_what_figures_depend_on_and_nothing_of_the_machine(environment, tmp_path, monkeypatch):
    model = tmp_path / "own.gguf"
    model.write_bytes(b"weights")
    environment.settings = changed_settings([f"model.name={model}", "retrieval.threshold=0"])
    planned = Planned(task(Echo()), (sample(1),))
    found = json.loads(json.dumps(describe(environment, {"toy/echo": planned.as_json()}, judged=False)))
    assert found["settings"]["retrieval"]["threshold"] == 0
    assert "data_dir" not in found["settings"]
    assert found["model"] == {"name": "own.gguf", "sha256": sha256(b"weights").hexdigest()}
    assert str(tmp_path) not in json.dumps(found)
    assert found["adapter"] is None and found["judge"] is None
    assert found["prompt_version"] and found["machine"] and found["packages"]["pydantic"]
    assert found["git"] is None or len(found["git"]["commit"]) == 40
    model.write_bytes(b"other weights")
    assert describe(environment, {}, judged=False)["model"]["sha256"] != found["model"]["sha256"]


def test_a_run_goes_on_only_with_what_it_began_with():
    before = {"settings": {"retrieval": {"threshold": 0.5}}, "seed": 0, "command": "lectern eval run x", "machine": "one"}
    check_same(before, {**before, "command": "another", "machine": "two"})
    with pytest.raises(CourseError, match=r"seed was 0, is 1; settings\.retrieval\.threshold was 0\.5, is 0") as found:
        check_same(before, {**before, "settings": {"retrieval": {"threshold": 0}}, "seed": 1})
    assert "lectern eval run x" in found.value.remedy


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("/home/me/data", "data"),
        ("--data=/home/me/data", "--data=data"),
        ("~/m.gguf", "m.gguf"),
        ("nli:/models/deberta", "nli:deberta"),
        ("openai:http://localhost:8000/v1#m", "openai:http://localhost:8000/v1#m"),
        ("../shared/data", "../shared/data"),
        ("course/answers", "course/answers"),
        (["/a/b", {"c": "/d/e"}, 3], ["b", {"c": "e"}, 3]),
    ],
)
def test_folders_of_this_machine_are_left_out(typed, kept):
    assert portable(typed) == kept


@pytest.fixture
def fresh_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def test_any_setting_can_be_changed_and_the_rest_stays(fresh_settings, monkeypatch):
    monkeypatch.setenv("LECTERN_RETRIEVAL__CANDIDATES", "33")
    monkeypatch.setenv("LECTERN_RETRIEVAL__THRESHOLD", "0.3")
    Path("lectern.toml").write_text("[evidence]\nextra_tokens = 7\n")
    found = changed_settings(["retrieval.threshold=0", "evidence.clear = 1", "engine.warm=no"], model="tiny")
    assert (found.retrieval.threshold, found.retrieval.candidates) == (0, 33)
    assert (found.evidence.clear, found.evidence.extra_tokens) == (1, 7)
    assert found.engine.warm is False
    assert found.model.name == "tiny"
    assert found.grounding == Settings().grounding
    every = list(setting_names())
    assert "retrieval.threshold" in every and "embedder" in every and "retrieval" not in every


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("retrieval.treshold=0", "retrieval.threshold"),
        ("threshold=0", "retrieval.threshold or grounding.threshold"),
        ("retrieval=0", "retrieval.candidates"),
        ("nonsense=0", "The settings are: data_dir"),
        ("retrieval.threshold", "has no value"),
        ("retrieval.threshold=2", "retrieval.threshold=2: Input should be less than or equal to 1"),
        ("retrieval.threshold=low", "valid number"),
    ],
)
def test_a_wrong_change_is_refused_with_what_was_meant(fresh_settings, change, told):
    with pytest.raises(CourseError) as found:
        changed_settings([change])
    assert told in str(found.value)
    assert found.value.exit_code == 2


# The estimate


def test_the_rest_is_estimated_from_what_samples_took():
    slow = Planned(task(Echo(), seconds=10), tuple(map(sample, range(10))))
    quick = Planned(task(Echo(), name="toy/quick", seconds=1), tuple(map(sample, range(5))))
    estimate = Estimate([slow, quick])
    assert estimate.seconds == 105
    estimate.skip("toy/echo", 2)
    assert estimate.seconds == 85
    for _ in range(4):
        estimate.add("toy/echo", 2)
    assert estimate.seconds == 4 * 2 + 5
    estimate.skip("toy/echo")
    assert estimate.seconds == 5
    assert [duration(s) for s in (5, 90, 12000)] == ["5 s", "2 min", "3.3 h"]
