"""Export, trial, verdict, pointer: what becomes of a candidate, whoever is killed meanwhile."""

import errno
import json
import os
import random
import signal
from hashlib import sha256
from pathlib import Path

import pytest
import typer
from fake_adapters import LESSONS, make_adapter, settings_with_base
from toy_index import toy_index
from typer.testing import CliRunner

import finetune.data.cases
from assistant.adapters import adapters_dir, chosen_adapter, current_id, find_adapter, list_adapters, promotions
from assistant.settings import load_settings
from evals.figures.compare import compare_runs
from evals.gate.check import check as gate_check
from evals.running.registry import all_tasks
from evals.running.runs import Run
from evals.task import Row, Sample
from finetune import adapters, commands_adapters, trial
from finetune.data.cases import CASES
from finetune.promote import Wish, try_and_promote
from finetune.rows import data_folder
from finetune.trial import Asked
from knowledge.errors import CourseError

UNCOVERED = 40
STARTER_IS_WHOLE = finetune.data.cases.starter_is_whole


@pytest.fixture
def settings(tmp_path):
    return settings_with_base(tmp_path)


def rows(task, right, grounded, refuses):
    """Rows of one task: five questions on each held-out lesson, and some that the course does not cover.

    Args:
        task: its name.
        right: share of right answers.
        grounded: share of texts that keep to their passages.
        refuses: share of covered questions that are refused.
    """
    dice = random.Random(task)
    for number in range(5 * len(LESSONS) + UNCOVERED):
        luck, covered = [dice.random() for _ in range(3)], number < 5 * len(LESSONS)
        lesson = LESSONS[number // 5] if covered else ""
        target = {"lesson": lesson, "answerable": int(covered)}
        sample = Sample(f"q{number}", {"question": f"Question {number}?"}, target, lesson or f"q{number}", "test")
        refused, supported = luck[0] < refuses, luck[1] < grounded
        scores = {
            "grounded": None if covered and refused else float(supported),
            "written_unsupported_answer": None if refused else float(not supported and luck[1] > 0.98),
            "gold_fact": float(luck[2] < right) if covered else None,
            "refused_answerable": float(refused) if covered else None,
        }
        yield Row(sample, {"answer": "An answer."}, scores, 1.0)


SKILLS = {  # of the adapters in these tests
    "none": {"right": 0.6, "grounded": 0.4, "refuses": 0.05},
    "better": {"right": 0.62, "grounded": 0.8, "refuses": 0.05},
    "best": {"right": 0.62, "grounded": 0.99, "refuses": 0.05},
    "equal": {"right": 0.6, "grounded": 0.4, "refuses": 0.05},
    "worse": {"right": 0.2, "grounded": 0.1, "refuses": 0.4},
    "silent": {"right": 0.3, "grounded": 0.9, "refuses": 0.6},
}


@pytest.fixture
def evals(monkeypatch):
    """`lectern eval` in this process: runs as it would leave them, its own gate and comparison. Collects the command lines."""
    commands = []

    def evaluate(settings, arguments, what, partly=False):
        commands.append(list(arguments))
        options = dict(zip(arguments, arguments[1:], strict=False))
        if arguments[0] == "run":
            id_ = next(each for each in arguments if each.startswith("model.adapter=")).removeprefix("model.adapter=")
            run = Run(Path(options["--out"]) / f"{len(list(Path(options['--out']).glob('*/'))):03d}-{options['--name']}")
            run.folder.mkdir(parents=True)
            tasks = {name: {"samples": 100, "content": "0", "judged": True} for name in trial.TASKS}
            judge = {"name": options["--judge"], "identity": "toy"}
            run.write_manifest({"name": run.name, "tasks": tasks, "finished": "2026", "judge": judge, "machine": "a toy"})
            for name in trial.TASKS:
                for row in rows(name, **SKILLS[id_]):
                    run.append(name, row)
            return f"a table of figures\n{run.folder / 'report.html'}\n"
        if arguments[0] == "gate":
            baseline, file = Path(options["--baseline"]), Path(options["--file"])
            return json.dumps(gate_check(Path(arguments[1]), config=file, baseline=baseline).as_json())
        return json.dumps(compare_runs(Path(arguments[1]), Path(arguments[2])).as_json())

    monkeypatch.setattr(trial, "_eval", evaluate)
    return commands


@pytest.fixture(autouse=True)
def no_runs(monkeypatch, settings):
    """Runs are looked for in the folder of the test."""
    monkeypatch.setenv("LECTERN_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("LECTERN_MODEL__NAME", settings.model.name)
    monkeypatch.setattr("finetune.data.cases.starter_is_whole", lambda sources: True)
    monkeypatch.setattr("assistant.course.open_index", lambda settings: toy_index())
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def promoted(settings, id_, **wish):
    """Whether it was promoted, and its trial."""
    adapter, found = try_and_promote(settings, Wish(id_, **wish))
    assert (current_id(settings) == adapter.id) == found["passed"]
    return found["passed"], found


# The verdict


def test_a_better_one_is_promoted_and_what_it_was_tried_with_is_recorded(settings, evals):
    make_adapter(settings, "better")
    passed, found = promoted(settings, "better")
    assert passed
    assert (found["against"], found["why"], found["machine"]) == (None, [], "a toy")
    kept = find_adapter(settings, "better").manifest
    assert kept["trials"] == [found]
    assert {kept[key] for key in ("data_sha256", "config_sha256")} == {"da" * 32, "c0" * 32}
    grounded = found["figures"][0]
    assert (grounded["metric"], grounded["status"], grounded["rises"]) == ("grounded", "passed", True)
    assert 0 < grounded["low"] < grounded["difference"] < grounded["high"]
    assert grounded["groups"] == len(LESSONS) + UNCOVERED
    assert found["gate_sha256"] == sha256(trial.GATE.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("id_", "why"),
    [
        ("equal", "grounded of course/grounded is undecided: it must rise"),
        ("worse", "grounded of course/grounded fell"),
        ("silent", "gold_fact of course/answers fell"),
    ],
)
def test_one_that_is_not_better_is_refused_stays_listed_and_says_why(settings, evals, id_, why):
    make_adapter(settings, id_)
    passed, found = promoted(settings, id_)
    assert not passed
    assert any(reason.startswith(why) for reason in found["why"]), found["why"]
    assert chosen_adapter(settings) is None
    assert find_adapter(settings, id_).manifest["trials"] == [found]


def test_what_refuses_more_is_refused_however_grounded(settings, evals):
    make_adapter(settings, "silent")
    _, found = promoted(settings, "silent")
    status = {figure["metric"]: figure["status"] for figure in found["figures"]}
    assert (status["grounded"], status["false_refusal_rate"]) == ("passed", "fell")


def test_the_next_one_must_be_better_than_what_answers_now(settings, evals):
    for id_ in ("better", "equal", "best"):
        make_adapter(settings, id_)
    promoted(settings, "better")
    passed, found = promoted(settings, "equal")
    assert (passed, found["against"]) == (False, "better")
    assert promotions(settings) == [None, "better"]
    assert promoted(settings, "best")[0]
    assert promotions(settings) == [None, "better", "best"]
    with pytest.raises(CourseError, match="promoted already"):
        promoted(settings, "best")


def test_one_that_answers_for_another_base_is_not_what_to_beat(settings, evals, tmp_path):
    make_adapter(settings, "best")
    promoted(settings, "best")
    other = tmp_path / "other.gguf"
    other.write_bytes(b"other weights")
    make_adapter(settings, "better", base=str(other))
    passed, found = promoted(settings, "better")
    assert (passed, found["against"]) == (True, None)
    assert all(options[options.index("--model") + 1] == str(other) for options in evals[-4:-2])


def test_both_are_asked_the_same_in_the_same_way(settings, evals):
    make_adapter(settings, "better")
    promoted(settings, "better", judge="trained")
    base, candidate, gate, _ = evals
    assert [each for each in base if each not in candidate] == ["model.adapter=none", "better-base"]
    assert [each for each in candidate if each not in base] == ["model.adapter=better", "better-candidate"]
    options = dict(zip(base, base[1:], strict=False))
    assert (options["--split"], options["--judge"], options["--model"]) == ("all", "trained", settings.model.name)
    assert "engine.disk_mb=0" in base
    assert Path(options["--lessons"]).read_text().split() == LESSONS
    assert "--limit" not in base
    assert gate[0] == "gate"


def test_a_rehearsal_takes_few_questions_and_its_own_file_of_margins(settings, evals, tmp_path):
    strict = tmp_path / "strict.toml"
    strict.write_text('[[figure]]\ntask = "course/grounded"\nmetric = "grounded"\nrises = true\nleast_n = 5000\n')
    make_adapter(settings, "better")
    passed, found = promoted(settings, "better", quick=True, gate=strict)
    assert not passed
    assert found["quick"]
    assert "of which 5000 are needed" in found["why"][0]
    assert evals[0][evals[0].index("--limit") + 1] == str(trial.QUICK)


def test_another_course_is_asked_what_was_drafted_from_its_held_out_lessons(settings, evals, monkeypatch, tmp_path):
    monkeypatch.setattr(finetune.data.cases, "starter_is_whole", STARTER_IS_WHOLE)  # the toy index does not hold it
    make_adapter(settings, "better")
    with pytest.raises(CourseError, match="no questions about yours") as caught:
        promoted(settings, "better")
    assert "lectern finetune data" in caught.value.remedy and not evals
    drafted = data_folder(settings.finetune_dir) / CASES
    drafted.parent.mkdir(parents=True)
    drafted.write_text('{"id": "far-1", "question": "Why?", "answerable": false}\n')
    _, found = promoted(settings, "better")
    assert found["cases"] == CASES
    assert all(run[run.index("--cases") + 1] == str(drafted) for run in evals[:2])
    evals.clear()
    make_adapter(settings, "best")
    promoted(settings, "best", cases=tmp_path / "mine.jsonl")
    assert all(run[run.index("--cases") + 1] == str(tmp_path / "mine.jsonl") for run in evals[:2])


def test_the_shipped_file_names_figures_that_there_are():
    metrics = {task.name: {metric.name for metric in task.metrics} for task in all_tasks()}
    names = [line.split('"')[1] for line in trial.GATE.read_text().splitlines() if line.startswith(("task", "metric"))]
    for task, metric in zip(names[::2], names[1::2], strict=True):
        assert metric in metrics[task]
    assert set(names[::2]) == set(trial.TASKS)


def test_lessons_that_nobody_knows_are_asked_for(settings, evals, tmp_path):
    make_adapter(settings, "better", held_lessons=None)
    with pytest.raises(CourseError, match="nobody knows which lessons"):
        promoted(settings, "better")
    own = tmp_path / "lessons.txt"
    own.write_text("\n".join(LESSONS))
    assert promoted(settings, "better", lessons=own)[0]


def test_a_damaged_one_is_not_even_tried(settings, evals):
    make_adapter(settings, "better").path.write_bytes(b"?")
    with pytest.raises(CourseError, match="damaged"):
        promoted(settings, "better")
    assert evals == []


def test_an_evaluation_that_fails_changes_nothing(settings, monkeypatch):
    monkeypatch.setattr(trial.subprocess, "Popen", lambda *_, **__: FakeProcess(2, ""))
    make_adapter(settings, "better")
    with pytest.raises(CourseError, match="evaluation of the base .none. failed with exit code 2"):
        promoted(settings, "better")
    assert (promotions(settings), find_adapter(settings, "better").manifest["trials"]) == ([None], [])


def test_ctrl_c_in_an_evaluation_is_one(settings, monkeypatch):
    monkeypatch.setattr(trial.subprocess, "Popen", lambda *_, **__: FakeProcess(130, ""))
    make_adapter(settings, "better")
    with pytest.raises(KeyboardInterrupt):
        promoted(settings, "better")
    assert promotions(settings) == [None]


def test_an_evaluation_that_was_not_interrupted_with_us_is_interrupted(settings, monkeypatch):
    class Deaf(FakeProcess):
        heard = []

        def communicate(self):
            raise KeyboardInterrupt

        def wait(self, patience=None):
            if not self.heard:
                raise trial.subprocess.TimeoutExpired("lectern eval", patience)

        def send_signal(self, number):
            self.heard.append(number)

    monkeypatch.setattr(trial.subprocess, "Popen", lambda *_, **__: Deaf(None, ""))
    make_adapter(settings, "better")
    with pytest.raises(KeyboardInterrupt):
        promoted(settings, "better")
    assert Deaf.heard == [signal.SIGINT]


class FakeProcess:
    """Ends at once."""

    def __init__(self, code, said):
        self.returncode, self.said = code, said

    def communicate(self):
        return self.said, None


def test_the_real_command_line_speaks_as_expected(settings):
    """The one test in which `lectern eval` is a process of its own."""
    listed = json.loads(trial._eval(settings, ["list", "--json"], "The list"))
    assert {task["name"] for task in listed} >= set(trial.TASKS)
    with pytest.raises(CourseError, match="The gate failed with exit code 2"):
        trial._eval(settings, ["gate", "nothing", "--json"], "The gate", partly=True)


# The pointer


def put(settings, *ids):
    for id_ in ids:
        adapters.promote(settings, find_adapter(settings, id_), promotions(settings)[-1])


def test_rollback_goes_back_one_at_a_time_and_the_history_keeps_all(settings):
    for id_ in ("a", "b", "c"):
        make_adapter(settings, id_)
    put(settings, "a", "b")
    assert adapters.rollback(settings) == ("b", "a")
    put(settings, "c")
    assert adapters.rollback(settings) == ("c", "a")
    assert adapters.rollback(settings) == ("a", None)
    with pytest.raises(CourseError, match="nothing to take back"):
        adapters.rollback(settings)
    log = [json.loads(line) for line in (adapters_dir(settings) / "history.jsonl").read_text().splitlines()]
    assert [(entry["by"], entry["stack"][-1]) for entry in log] == [
        ("promote", "a"), ("promote", "b"), ("rollback", "a"), ("promote", "c"), ("rollback", "a"), ("rollback", None),
    ]  # fmt: skip


def test_a_promotion_meanwhile_is_not_overruled(settings, evals, monkeypatch):
    for id_ in ("better", "best"):
        make_adapter(settings, id_)
    tried = trial.try_out

    def slowly(*arguments):
        found = tried(*arguments)
        put(settings, "best")
        return found

    monkeypatch.setattr("finetune.promote.try_out", slowly)
    with pytest.raises(CourseError, match="Meanwhile the pointer went to best"):
        try_and_promote(settings, Wish("better"))
    assert promotions(settings) == [None, "best"]


def test_two_trials_at_once_are_one_too_many_but_a_rollback_is_not(settings, evals):
    for id_ in ("a", "better"):
        make_adapter(settings, id_)
    put(settings, "a")
    with adapters.trying(settings):
        with pytest.raises(CourseError, match="Another process is trying"):
            try_and_promote(settings, Wish("better"))
        assert adapters.rollback(settings) == ("a", None)


def killed_at(step, action):
    """Do something in a process of its own that is killed before its n-th change of the disk; whether it came to its end."""
    pid = os.fork()
    if pid == 0:
        left = step

        def deadly(original):
            def change(*arguments, **options):
                nonlocal left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return original(*arguments, **options)

            return change

        try:
            for name in ("write_text", "replace", "unlink", "rename"):
                setattr(Path, name, deadly(getattr(Path, name)))
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_whoever_is_killed_in_a_promotion_leaves_the_chat_as_it_was(settings, monkeypatch):
    make_adapter(settings, "a")
    make_adapter(settings, "best")
    put(settings, "a")
    monkeypatch.setattr("finetune.promote.try_out", lambda *_: {"passed": True})
    for step in range(20):
        done = killed_at(step, lambda: try_and_promote(settings, Wish("best")))
        choice, stack = chosen_adapter(settings), promotions(settings)
        assert choice.id == stack[-1] == current_id(settings)
        assert stack == ([None, "a", "best"] if choice.id == "best" else [None, "a"])
        assert all("base" in adapter.manifest for adapter in list_adapters(settings))
        if choice.id == "best":
            break
    assert 3 < step < 20
    assert done or choice.id == "best"
    assert adapters.rollback(settings) == ("best", "a")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("depth", [1, 2])
def test_whoever_is_killed_in_a_rollback_leaves_one_or_the_other(settings, depth):
    for id_ in ("a", "b"):
        make_adapter(settings, id_)
    put(settings, *("a", "b")[:depth])
    before, after = ([None, "a", "b"][: depth + 1], [None, "a", "b"][:depth])
    for step in range(10):
        killed_at(step, lambda: adapters.rollback(settings))
        stack = promotions(settings)
        assert stack in (before, after)
        assert current_id(settings) == stack[-1]
        if stack == after:
            break
    assert 0 < step < 10


def full(original):
    def write(self, *arguments, **options):
        if "adapters" in self.parts:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return original(self, *arguments, **options)

    return write


def test_a_full_disk_changes_nothing(settings, evals, monkeypatch):
    for id_ in ("a", "better"):
        make_adapter(settings, id_)
    put(settings, "a")
    SKILLS["a"] = SKILLS["none"]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full(Path.write_text))
        for action in (lambda: try_and_promote(settings, Wish("better")), lambda: adapters.rollback(settings)):
            with pytest.raises(CourseError, match="No space left"):
                action()
    assert promotions(settings) == [None, "a"]
    assert find_adapter(settings, "better").manifest["trials"] == []
    assert promoted(settings, "better")[0]


# Export


@pytest.fixture
def run(settings, monkeypatch):
    """A finished run, whose weights a test may change."""
    folder = settings.finetune_dir / "runs" / "sft-1"
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"one")
    base = sha256(Path(settings.model.name).read_bytes()).hexdigest()
    manifest = {
        "name": "sft-1", "kind": "sft", "state": "done", "base": settings.model.name, "base_sha256": base, "from": None,
        "data_sha256": "da" * 32, "config": {"seed": 7}, "steps": 3, "losses": {"last": 1.0}, "machine": {"cores": 2},
        "held_lessons": LESSONS,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))

    def to_gguf_adapter(peft, base, out):
        out.write_bytes(b"gguf of " + (peft / "adapter_model.safetensors").read_bytes())
        return out

    monkeypatch.setattr("finetune.export.to_gguf_adapter", to_gguf_adapter)
    return folder


def test_a_run_becomes_an_adapter_once(settings, run):
    made = adapters.export(settings, "sft-1")
    assert (made.id, made.path.read_bytes()) == ("sft-1", b"gguf of one")
    assert (made.folder / "peft" / "adapter_model.safetensors").read_bytes() == b"one"
    kept = made.manifest
    assert (kept["run"], kept["kind"], kept["data_sha256"], kept["machine"]) == ("sft-1", "sft", "da" * 32, {"cores": 2})
    assert kept["sha256"] == sha256(b"gguf of one").hexdigest()
    assert kept["held_lessons"] == LESSONS
    assert "state" not in kept
    assert adapters.export(settings, "sft-1") == made
    (run / "adapter" / "adapter_model.safetensors").write_bytes(b"two")
    again = adapters.export(settings, "sft-1")
    assert (again.id, made.path.read_bytes()) == ("sft-1.2", b"gguf of one")
    assert [adapter.id for adapter in list_adapters(settings)] == ["sft-1", "sft-1.2"]
    assert list(adapters_dir(settings).glob(".making-*")) == []


def test_the_lessons_that_were_held_out_are_those_of_the_rows(settings, run):
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["held_lessons"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    data = settings.finetune_dir / "data"
    data.mkdir()
    (data / "manifest.json").write_text(json.dumps({"held_lessons": LESSONS[:3], "files": {"sft.train.jsonl": "da" * 32}}))
    assert adapters.held_lessons(settings, adapters.export(settings, "sft-1")) == LESSONS[:3]
    (data / "manifest.json").write_text(json.dumps({"held_lessons": LESSONS[:3], "files": {"sft.train.jsonl": "00" * 32}}))
    (run / "adapter" / "adapter_model.safetensors").write_bytes(b"two")
    with pytest.raises(CourseError, match="have changed"):
        adapters.held_lessons(settings, adapters.export(settings, "sft-1"))


def test_a_base_that_is_another_one_now_is_refused(settings, run):
    Path(settings.model.name).write_bytes(b"other weights!")
    with pytest.raises(CourseError, match="has changed since"):
        adapters.export(settings, "sft-1")
    assert list_adapters(settings) == []


def test_a_run_on_a_hugging_face_folder_needs_the_name_of_its_gguf(settings, run):
    manifest = json.loads((run / "manifest.json").read_text()) | {"base": "hf:/somewhere", "base_sha256": "00"}
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CourseError, match="--base NAME"):
        adapters.export(settings, "sft-1")
    assert adapters.export(settings, "sft-1", settings.model.name).base == settings.model.name


def test_a_full_disk_leaves_no_half_an_adapter(settings, run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full(Path.write_text))
        with pytest.raises(CourseError, match="cannot be written"):
            adapters.export(settings, "sft-1")
    assert [path.name for path in adapters_dir(settings).glob("*/")] == []
    assert adapters.export(settings, "sft-1").id == "sft-1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_whoever_is_killed_while_exporting_leaves_no_half_an_adapter(settings, run):
    for step in range(20):
        done = killed_at(step, lambda: adapters.export(settings, "sft-1"))
        if found := list_adapters(settings):
            break
    assert done
    assert step > 0
    assert (
        chosen_adapter(settings.model_copy(update={"model": settings.model.model_copy(update={"adapter": "sft-1"})}))
        == found[0]
    )
    assert list(adapters_dir(settings).glob(".making-*")) == []


# The commands


@pytest.fixture
def cli():
    app = typer.Typer()
    commands_adapters.add(app)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_a_run_is_exported_tried_and_promoted_in_one_command(settings, run, evals, cli):
    SKILLS["sft-1"] = SKILLS["better"]
    done = cli("promote", "sft-1")
    assert done.exit_code == 0, done.output
    assert "…" not in done.output, "a terminal of 80 characters holds the table"
    assert "written_unsupported_answer ↓" in done.output
    assert "Promoted: sft-1" in done.output.splitlines()[-1]
    listed = cli("list").output
    assert "passed" in listed
    assert next(line for line in listed.splitlines() if "sft-1" in line).startswith("*")
    assert cli("rollback").output == "sft-1 is taken back; answers come from the model by itself again.\n"
    assert json.loads(cli("list", "--json").output)["current"] is None


def test_a_refusal_is_exit_code_1_and_its_reason_is_in_the_list(settings, evals, cli):
    make_adapter(settings, "worse")
    done = cli("promote", "worse")
    assert done.exit_code == 1
    assert "Refused: worse stays in the list" in done.output
    assert "it must rise, but is worse by" in done.output
    listed = cli("list").output
    assert "refused" in listed
    assert "worse: grounded of course/grounded fell: it must rise, but is worse by" in listed
    assert json.loads(cli("promote", "worse", "--json").output.partition("{")[2].join(["{", ""]))["passed"] is False


def test_the_list_names_what_is_damaged(settings, cli):
    assert "no adapters yet" in cli("list").output
    make_adapter(settings, "a").path.write_bytes(b"?")
    assert "damaged" in cli("list").output


def test_a_name_that_is_neither_run_nor_adapter(settings, cli):
    done = cli("promote", "nothing")
    assert isinstance(done.exception, CourseError)
    assert "neither a training run nor an adapter" in str(done.exception)


def test_lessons_are_passed_on_as_they_are(settings, evals):
    found = trial.try_out(settings, make_adapter(settings, "better"), None, Asked(["b", "a"]))
    assert found["lessons"] == ["a", "b"]
