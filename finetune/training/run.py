"""A run's folder: what was asked, what came of it, and what it can go on from.

runs/<name>/manifest.json   what it is made of; `state` says prepared, training, stopped (Ctrl-C) or done
runs/<name>/checkpoints/    the last two, until all steps are done
runs/<name>/loss.jsonl, loss.png
runs/<name>/adapter/        the result, in PEFT's form
"""

import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from assistant.settings import core_count, load_settings
from finetune.base import base_model, base_sha256
from finetune.config import Kind, TrainingConfig, parse_config
from finetune.rows import data_folder, read_manifest, replace_text
from finetune.training.examples import data_sha256
from knowledge.errors import CourseError

MANIFEST, ADAPTER, CHECKPOINTS = "manifest.json", "adapter", "checkpoints"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


@dataclass(frozen=True)
class Run:
    """One training, finished or not."""

    folder: Path

    @property
    def name(self) -> str:
        """As --resume, --from and `lectern finetune export` take it."""
        return self.folder.name

    @property
    def manifest(self) -> dict[str, Any]:
        """What manifest.json says now.

        Raises:
            CourseError: there is none, or it is damaged.
        """
        try:
            return cast(dict[str, Any], json.loads((self.folder / MANIFEST).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise CourseError(f"{self.folder} is not a training run: {error}.", f"Choose one of: {_names()}.") from error

    def update(self, **fields: Any) -> None:
        """Change some fields of the manifest in one step."""
        replace_text(self.folder / MANIFEST, json.dumps(self.manifest | fields, indent=2, ensure_ascii=False) + "\n")

    @property
    def kind(self) -> Kind:
        """What it learns from."""
        return cast(Kind, self.manifest["kind"])

    @property
    def config(self) -> TrainingConfig:
        """Its hyperparameters."""
        return parse_config(self.manifest["config"])

    @property
    def adapter(self) -> Path:
        """Where the result lies once it is done."""
        return self.folder / ADAPTER

    @property
    def resume_command(self) -> str:
        """What goes on with it."""
        return f"lectern finetune {self.kind} --resume {self.name}"

    def base_folder(self) -> Path:
        """The Hugging Face folder of its base."""
        return base_model(self.manifest["base"])

    def start_adapter(self) -> Path | None:
        """The adapter that it continues, if any.

        Raises:
            CourseError: that run has no adapter any more.
        """
        before = self.manifest["from"]
        return finished_adapter(before) if before else None

    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint that is whole: a kill may have cut one short, and its state is written last."""
        found = [
            (int(match[1]), folder)
            for folder in (self.folder / CHECKPOINTS).glob("checkpoint-*")
            if (match := re.fullmatch(r"checkpoint-(\d+)", folder.name)) and _is_whole(folder)
        ]
        return max(found)[1] if found else None

    def require_same(self) -> None:
        """Refuse to go on with other rows or another base than it began with.

        Raises:
            CourseError: one of them differs, or all steps are done.
        """
        manifest = self.manifest
        if manifest["state"] == "done" and manifest["steps_done"] >= manifest["steps"]:
            raise CourseError(
                f"The run {self.name} is finished: {self.adapter}.", f"Start another: lectern finetune {self.kind}"
            )
        if data_sha256(self.kind, data_folder(load_settings().finetune_dir)) != manifest["data_sha256"]:
            raise CourseError(f"The rows have changed since {self.name} began.", f"Start anew: lectern finetune {self.kind}")
        if base_sha256(manifest["base"]) != manifest["base_sha256"]:
            raise CourseError(f"The base {manifest['base']} has changed since {self.name} began.", "Start a new run.")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from training the same run; under `accelerate launch` the first process holds the lock for all.

        Raises:
            CourseError: somebody trains it.
        """
        if os.environ.get("RANK", "0") != "0":
            yield
            return
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.folder / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise CourseError(f"Another process trains {self.name}.", "Wait for it, or stop it with Ctrl-C.") from error


def runs_folder() -> Path:
    """Where all runs lie."""
    return load_settings().finetune_dir / "runs"


def open_run(name: str) -> Run:
    """A run by its name, or by its folder.

    Raises:
        CourseError: there is no such run.
    """
    folder = Path(name) if os.sep in name else runs_folder() / name
    run = Run(folder.absolute())
    if not (folder / MANIFEST).is_file():
        raise CourseError(f"There is no training run {name}.", f"Choose one of: {_names()}.")
    return run


def create_run(
    kind: Kind, name: str | None, base: str, before: str | None, config: TrainingConfig, planned: dict[str, Any]
) -> Run:
    """Make the folder of a new run.

    Args:
        kind: what it learns from.
        name: of the run; None takes the kind and the next number.
        base: the model's name.
        before: the run whose adapter it continues, if any.
        config: its hyperparameters.
        planned: further fields of the manifest: steps, rows, tokens.

    Raises:
        CourseError: the name is taken or unfit, or the run that it continues has no adapter or another base.
    """
    digest = base_sha256(base)
    if before:
        earlier = open_run(before)
        finished_adapter(before)
        if earlier.manifest["base_sha256"] != digest:
            raise CourseError(f"{before} was trained on {earlier.manifest['base']}, not on {base}.", "Give the same --model.")
    name = name or _next_name(kind)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise CourseError(f"{name!r} cannot name a run.", "Use letters, digits, dots, hyphens and underscores.")
    folder = runs_folder() / name
    if (folder / MANIFEST).exists():
        raise CourseError(f"There is a run {name} already.", f"Go on with it by --resume {name}, or take another --name.")
    folder.mkdir(parents=True, exist_ok=True)
    data = data_folder(load_settings().finetune_dir)
    manifest = {
        "name": name, "kind": kind, "state": "prepared", "base": base, "base_sha256": digest, "from": before,
        "data_sha256": data_sha256(kind, data), "held_lessons": read_manifest(data)["held_lessons"], **planned, "steps_done": 0,
        "losses": {}, "seconds": 0.0, "config": config.model_dump(mode="json"), "versions": versions(), "machine": machine(),
    }  # fmt: skip
    replace_text(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    return Run(folder)


def finished_adapter(name: str) -> Path:
    """The adapter of a run.

    Raises:
        CourseError: there is no such run, or it has none yet.
    """
    run = open_run(name)
    if not all((run.adapter / file).is_file() for file in ADAPTER_FILES):
        raise CourseError(f"The run {name} has no adapter yet.", f"Go on with it: {run.resume_command}")
    return run.adapter


def versions() -> dict[str, str]:
    """Of the packages that decide what a run computes."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError as error:
            raise CourseError(f"Training needs {package}, which is not installed.", "Run: make finetune") from error
    return found


def machine() -> dict[str, Any]:
    """What it is computed on; sizes in bytes."""
    import psutil
    import torch

    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return {"system": platform.platform(), "cores": core_count(), "memory": psutil.virtual_memory().total, "gpus": gpus}


def peak_memory() -> int:
    """Most bytes that this process has held, on the GPU if there is one; 0 where the system does not tell."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _names() -> str:
    folder = runs_folder()
    names = sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))
    return ", ".join(names) or "none yet; start one with `lectern finetune sft`"


def _next_name(kind: Kind) -> str:
    taken = [int(match[1]) for path in runs_folder().glob(f"{kind}-*") if (match := re.fullmatch(rf"{kind}-(\d+)", path.name))]
    return f"{kind}-{max(taken, default=0) + 1}"
