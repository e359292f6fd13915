"""Training an adapter with TRL and PEFT, on a random model of two layers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from safetensors import safe_open

pytest.importorskip("trl")

from tiny_base import make_base, read_log, write_rows

import finetune
from assistant.settings import load_settings
from finetune.training.run import open_run
from finetune.training.start import Asked, resumable, start, train
from knowledge.errors import CourseError

CONSOLE = Console(stderr=True, quiet=True)
QUICK = ("sft.batch=2", "dpo.batch=2", "kto.batch=4", "lora.rank=4", "lora.alpha=8", "lora.dropout=0")


@pytest.fixture(scope="session")
def bases(tmp_path_factory):
    return {kind: make_base(tmp_path_factory.mktemp(kind), kind) for kind in ("llama", "qwen2")}


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTERN_DATA_DIR", str(tmp_path))
    load_settings.cache_clear()
    write_rows(tmp_path / "finetune" / "data")
    yield tmp_path / "finetune"
    load_settings.cache_clear()


def ask(kind, base, *changes, **options):
    return start(Asked(kind, base=f"hf:{base}", changes=(*QUICK, *changes), **options), CONSOLE)


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_sft_lowers_the_loss_and_leaves_an_adapter_a_curve_and_a_manifest(data_dir, bases, architecture):
    run = ask("sft", bases[architecture], "sft.learning_rate=0.02", "sft.epochs=8")
    outcome = train(run, CONSOLE, None)

    assert (outcome.ending, outcome.steps, outcome.planned) == ("done", 24, 24)
    assert outcome.losses["last"] < outcome.losses["first"] - 1
    log = read_log(run.folder)
    assert [line["step"] for line in log if "loss" in line] == list(range(1, 25))
    assert sum("eval_loss" in line for line in log) == 8
    manifest = run.manifest
    assert manifest["state"] == "done" and manifest["steps_done"] == 24 and manifest["rows"]["train"] == 6
    assert manifest["losses"] == outcome.losses and manifest["config"]["sft"]["learning_rate"] == 0.02
    assert len(manifest["base_sha256"]) == len(manifest["data_sha256"]) == 64
    assert manifest["versions"]["trl"] and manifest["machine"]["cores"] and manifest["seconds"] > 0
    assert (run.folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in run.adapter.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    with safe_open(run.adapter / "adapter_model.safetensors", "pt") as weights:
        names = set(weights.keys())
        assert len(names) == 2 * 2 * 7  # A and B, two layers, q k v o gate up down
        assert any(weights.get_tensor(name).abs().max() > 0 for name in names if "lora_B" in name)
    assert not (run.folder / "checkpoints").exists()


def test_dpo_continues_the_sft_adapter_and_widens_the_margin(data_dir, bases):
    first = ask("sft", bases["llama"], "sft.learning_rate=0.02", "sft.epochs=2")
    train(first, CONSOLE, None)
    run = start(Asked("dpo", before=first.name, changes=(*QUICK, "dpo.learning_rate=0.005", "dpo.epochs=4")), CONSOLE)
    assert run.manifest["base"] == first.manifest["base"] and run.manifest["from"] == "sft-1"
    train(run, CONSOLE, None)

    margins = [line["rewards/margins"] for line in read_log(run.folder) if "loss" in line]
    assert margins[0] == pytest.approx(0, abs=1e-4)  # the reference is the SFT adapter itself
    assert sum(margins[-3:]) / 3 > 0.05
    assert [line for line in read_log(run.folder) if "eval_loss" in line]
    config = json.loads((run.adapter / "adapter_config.json").read_text())
    assert config["r"] == 4 and not (run.adapter / "ref").exists()
    before, after = (weights_of(path) for path in (first.adapter, run.adapter))
    assert before.keys() == after.keys() and any((before[name] - after[name]).abs().max() > 0 for name in before)


def test_dpo_from_the_base_begins_at_the_base(data_dir, bases):
    run = ask("dpo", bases["qwen2"], "dpo.learning_rate=0.005", "dpo.held=0", steps=2)
    train(run, CONSOLE, None)
    assert read_log(run.folder)[0]["rewards/margins"] == pytest.approx(0, abs=1e-4)


def test_kto_learns_from_lone_thumbs(data_dir, bases):
    run = ask("kto", bases["llama"], "kto.learning_rate=0.005", "kto.epochs=2")
    outcome = train(run, CONSOLE, None)
    assert outcome.ending == "done" and run.manifest["rows"]["train"] == 8
    assert run.adapter.is_dir() and outcome.losses["last"] < outcome.losses["first"]


def test_resuming_takes_the_same_steps_and_ends_at_the_same_weights(data_dir, bases, monkeypatch):
    whole = ask("sft", bases["llama"], "sft.epochs=3", name="whole")
    train(whole, CONSOLE, None)
    parts = ask("sft", bases["llama"], "sft.epochs=3", name="parts")

    stop_at(monkeypatch, 4)
    stopped = train(parts, CONSOLE, None)
    assert (stopped.ending, stopped.steps) == ("asked", 4)
    assert parts.manifest["state"] == "stopped" and not parts.adapter.exists()
    assert parts.last_checkpoint().name == "checkpoint-4"
    monkeypatch.undo()
    monkeypatch.setenv("LECTERN_DATA_DIR", str(data_dir.parent))

    ended = train(resumable("sft", "parts"), CONSOLE, None)
    assert (ended.ending, ended.steps) == ("done", 9)
    assert [line["step"] for line in read_log(parts.folder) if "loss" in line] == list(range(1, 10))
    one, other = weights_of(whole.adapter), weights_of(parts.adapter)
    assert all((one[name] - other[name]).abs().max() < 1e-6 for name in one)


def test_a_resumed_dpo_keeps_its_reference(data_dir, bases, monkeypatch):
    first = ask("sft", bases["llama"], "sft.learning_rate=0.02", steps=2)
    train(first, CONSOLE, None)
    asked = Asked("dpo", before=first.name, changes=(*QUICK, "dpo.learning_rate=0.005", "dpo.epochs=3", "dpo.held=0"))
    whole, parts = start(asked, CONSOLE), start(asked, CONSOLE)
    train(whole, CONSOLE, None)
    stop_at(monkeypatch, 3)
    train(parts, CONSOLE, None)
    monkeypatch.undo()
    monkeypatch.setenv("LECTERN_DATA_DIR", str(data_dir.parent))
    train(parts, CONSOLE, None)
    one, other = ([line["rewards/margins"] for line in read_log(run.folder)] for run in (whole, parts))
    assert other == pytest.approx(one, abs=1e-4)


def test_minutes_stop_in_time_with_an_adapter_that_can_be_trained_on(data_dir, bases, monkeypatch):
    from finetune.training import loop

    clock = Clock(monkeypatch, loop, seconds_per_step=30)
    run = ask("sft", bases["llama"], "checkpoint_minutes=100", steps=1000)
    outcome = train(run, CONSOLE, 2)
    assert (outcome.ending, outcome.steps) == ("time", 4)
    assert run.adapter.is_dir() and run.manifest["state"] == "done" and run.last_checkpoint().name == "checkpoint-4"
    assert train(run, CONSOLE, 1).steps == 6

    clock.seconds_per_row = 1000
    with pytest.raises(CourseError, match="Not one step of 2 rows was done in 1 minutes"):
        train(ask("sft", bases["llama"]), CONSOLE, 1)


@pytest.mark.parametrize(("minutes", "saved"), [(1, [2, 4, 6, 8]), (0, [1, 2, 3, 4, 5, 6, 7, 8])])
def test_a_checkpoint_is_made_every_few_minutes(data_dir, bases, monkeypatch, minutes, saved):
    from trl import SFTTrainer

    from finetune.training import loop

    Clock(monkeypatch, loop, seconds_per_step=30)
    seen, save = [], SFTTrainer._save_checkpoint
    monkeypatch.setattr(
        SFTTrainer, "_save_checkpoint", lambda self, *rest: (seen.append(self.state.global_step), save(self, *rest))[1]
    )
    train(ask("sft", bases["llama"], f"checkpoint_minutes={minutes}", steps=9), CONSOLE, None)
    assert seen == saved


def test_the_module_trains_a_prepared_run(data_dir, bases, monkeypatch):
    """As `accelerate launch -m finetune.training.sft --run ...` runs it."""
    import runpy

    run = ask("sft", bases["llama"], steps=1)
    monkeypatch.setattr(sys, "argv", ["sft", "--run", str(run.folder)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("finetune.training.sft", run_name="__main__")
    assert ended.value.code == 0 and open_run(run.name).manifest["state"] == "done"


def test_two_processes_learn_what_one_does(data_dir, bases):
    """The distributed path, as the configuration for CPUs launches it."""
    one, two = (ask("sft", bases["llama"], "sft.batch=4", "sft.held=0", steps=3) for _ in range(2))
    train(one, CONSOLE, None)
    configuration = Path(finetune.__file__).parent / "accelerate" / "cpus.yaml"
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(configuration), "-m", "finetune.training.sft"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "LECTERN_DATA_DIR": str(data_dir.parent)}
    done = subprocess.run(
        [sys.executable, *launch, "--run", two.name], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert open_run(two.name).manifest["processes"] == 2
    losses = [[line["loss"] for line in read_log(run.folder) if "loss" in line] for run in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=0.01)


class Clock:
    """Time that passes with rows and steps instead of seconds."""

    def __init__(self, monkeypatch, loop, seconds_per_step):
        from finetune.training.progress import Watch

        self.now, self.seconds_per_row = 0.0, 0.0
        monkeypatch.setattr(loop, "time", self)
        step, row = Watch.on_step_end, Watch.on_substep_end
        monkeypatch.setattr(Watch, "on_step_end", lambda *a, **b: (self.passes(seconds_per_step), step(*a, **b))[1])
        monkeypatch.setattr(Watch, "on_substep_end", lambda *a, **b: (self.passes(self.seconds_per_row), row(*a, **b))[1])

    def passes(self, seconds):
        self.now += seconds

    def monotonic(self):
        return self.now


def weights_of(adapter):
    with safe_open(adapter / "adapter_model.safetensors", "pt") as weights:
        return {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118


def stop_at(monkeypatch, step):
    """Press Ctrl-C in the middle of the step after `step`."""
    import signal

    from finetune.training import progress

    shown = progress.Watch.on_step_end

    def press(self, args, state, control, **rest):
        shown(self, args, state, control, **rest)
        if state.global_step == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(progress.Watch, "on_step_end", press)


# Memory

CHURN = """
import resource, sys
import torch
from finetune.training.session import keep_freed_memory
if len(sys.argv) > 1:
    assert keep_freed_memory()
def rows():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for size in (96, 64, 80):
        torch.ones(size << 18)  # MiB of float32
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([rows() for _ in range(4)][-1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc only")
def test_memory_of_a_row_is_kept_for_the_next_one():
    def pages(*arguments):
        return int(subprocess.run([sys.executable, "-c", CHURN, *arguments], capture_output=True, text=True, check=True).stdout)

    assert pages() > 1000  # else there is nothing to mend
    assert pages("keep") < 100
