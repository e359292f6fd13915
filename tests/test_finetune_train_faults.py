"""What goes wrong while a model trains: killed, no disk space, no memory, changed rows; and what may not be asked at all."""

import errno
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

pytest.importorskip("trl")

from tiny_base import make_base, read_log, write_rows

from assistant.settings import load_settings
from finetune.training import plan
from finetune.training.faults import DiskFull, OutOfMemory, explained
from finetune.training.run import Run, open_run
from finetune.training.start import Asked, resumable, start, train
from knowledge.errors import CourseError

CONSOLE = Console(stderr=True, quiet=True)
QUICK = ("sft.batch=2", "dpo.batch=2", "lora.rank=4", "sft.held=0", "checkpoint_minutes=0")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTERN_DATA_DIR", str(tmp_path))
    load_settings.cache_clear()
    write_rows(tmp_path / "finetune" / "data")
    yield tmp_path / "finetune"
    load_settings.cache_clear()


def ask(base, *changes, kind="sft", **options) -> Run:
    return start(Asked(kind, base=f"hf:{base}", changes=(*QUICK, *changes), **options), CONSOLE)


def test_a_killed_training_goes_on_from_its_last_whole_checkpoint(data_dir, base):
    run = ask(base, steps=5_000)
    # A whole test run is one process; the killed one is another, as `accelerate launch` would start it.
    command = [sys.executable, "-m", "finetune.training.sft", "--run", str(run.folder)]
    with subprocess.Popen(command, cwd=Path(__file__).parent.parent, stderr=subprocess.PIPE, text=True) as training:
        deadline = time.monotonic() + 300
        while run.last_checkpoint() is None or int(run.last_checkpoint().name.split("-")[1]) < 3:
            assert training.poll() is None, training.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        training.send_signal(signal.SIGKILL)
    assert run.manifest["state"] == "training" and not run.adapter.exists()
    with (run.folder / "loss.jsonl").open("a") as log:
        log.write('{"step": 99')  # a line that was being written
    broken = run.folder / "checkpoints" / "checkpoint-4999"  # and a checkpoint
    broken.mkdir()
    (broken / "adapter_model.safetensors").write_bytes(b"half")
    saved = run.last_checkpoint()
    reached = int(saved.name.split("-")[1])
    run.update(steps=reached + 2)

    outcome = train(resumable("sft", run.name), CONSOLE, None)
    assert (outcome.ending, outcome.steps) == ("done", reached + 2)
    assert [line["step"] for line in read_log(run.folder)] == list(range(1, reached + 3))
    assert run.manifest["state"] == "done" and run.adapter.is_dir()


def test_nothing_starts_without_disk_space(data_dir, base, monkeypatch):
    run = ask(base)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 1000))
    with pytest.raises(CourseError, match=r"checkpoints needs 0\.1 GB .* 0\.0 GB are free") as error:
        train(run, CONSOLE, None)
    assert "Free some space" in error.value.remedy
    assert run.manifest["state"] == "prepared"


def test_a_disk_that_fills_up_keeps_the_checkpoint_before(data_dir, base, monkeypatch):
    import torch

    run, save, count = ask(base, steps=6), torch.save, []

    def full(thing, target, *rest, **options):
        if str(target).endswith("optimizer.pt") and (count.append(1) or len(count) > 2):
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(thing, target, *rest, **options)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DiskFull) as error:
        train(run, CONSOLE, None)
    assert f"lectern finetune sft --resume {run.name}" in error.value.remedy
    assert run.last_checkpoint().name == "checkpoint-2"  # the third was cut short
    monkeypatch.setattr(torch, "save", save)
    assert train(run, CONSOLE, None).steps == 6


def test_no_memory_in_training_is_said_with_a_remedy(data_dir, base, monkeypatch):
    from trl import SFTTrainer

    def full(*_, **__):
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 GB"
        )

    run = ask(base)
    monkeypatch.setattr(SFTTrainer, "training_step", full)
    with pytest.raises(OutOfMemory, match="not enough memory") as error:
        train(run, CONSOLE, None)
    assert "gradient_checkpointing=true" in error.value.remedy and run.resume_command in error.value.remedy


def test_what_would_not_fit_into_memory_is_not_started(data_dir, base, monkeypatch):
    run = ask(base)
    monkeypatch.setattr(plan, "free_memory", lambda: 10**8)
    with pytest.raises(OutOfMemory, match=r"needs about .* GB of memory, and 0\.1 GB are free"):
        train(run, CONSOLE, None)


def test_other_errors_pass_unchanged():
    with pytest.raises(ZeroDivisionError), explained("sft", ""):
        _ = 1 / 0
    with pytest.raises(OSError, match="denied"), explained("sft", ""):
        raise OSError(errno.EACCES, "denied")
    with pytest.raises(OutOfMemory), explained("dpo", ""):
        raise MemoryError


def test_the_rows_may_not_change_in_between(data_dir, base):
    run = ask(base)
    write_rows(data_dir / "data", long=1)
    with pytest.raises(CourseError, match="rows have changed"):
        train(run, CONSOLE, None)


def test_two_processes_do_not_train_one_run(data_dir, base):
    run = ask(base)
    with run.locked(), pytest.raises(CourseError, match="Another process trains sft-1"):
        train(run, CONSOLE, None)


def test_a_finished_run_is_not_trained_again(data_dir, base):
    run = ask(base, steps=1)
    train(run, CONSOLE, None)
    with pytest.raises(CourseError, match="is finished"):
        train(run, CONSOLE, None)


def test_runs_are_named_and_found(data_dir, base):
    assert [ask(base, steps=1).name for _ in range(2)] == ["sft-1", "sft-2"]
    assert ask(base, name="mine").name == "mine"
    for name, text in (("mine", "is a run mine already"), ("../x", "cannot name a run"), (".hidden", "cannot name a run")):
        with pytest.raises(CourseError, match=text):
            ask(base, name=name)
    with pytest.raises(CourseError, match="no training run nothing") as error:
        open_run("nothing")
    assert "mine, sft-1, sft-2" in error.value.remedy
    with pytest.raises(CourseError, match="sft-1 is a sft run"):
        resumable("dpo", "sft-1")
    with pytest.raises(CourseError, match="has no adapter yet"):
        ask(base, kind="dpo", before="sft-1")


def test_an_adapter_is_continued_on_its_own_base_only(data_dir, base, tmp_path):
    train(ask(base, steps=1), CONSOLE, None)
    other = make_base(tmp_path / "other", "qwen2")
    with pytest.raises(CourseError, match="was trained on"):
        ask(other, kind="dpo", before="sft-1")


def test_a_damaged_manifest_is_named(data_dir, base):
    run = ask(base)
    (run.folder / "manifest.json").write_text("{")
    with pytest.raises(CourseError, match="is not a training run"):
        _ = run.manifest
    (run.folder / "manifest.json").unlink()
    with pytest.raises(CourseError, match="There is no training run"):
        open_run(run.name)
