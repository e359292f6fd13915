"""One pre-training from course files to a report: data, tokeniser, model, loop, baselines, sample."""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from finetune.pretrain.baselines import Baselines, baselines
from finetune.pretrain.config import Plan, Shape
from finetune.pretrain.data import Texts, read_course
from finetune.pretrain.loop import Look, Training
from finetune.pretrain.sample import sample
from finetune.pretrain.tokens import encode, load_tokeniser, train_tokeniser
from knowledge.errors import CourseError

_TOKENISER, _MANIFEST = "tokenizer.json", "manifest.json"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Text as tokens: `train` of shape (N,) and `held` of shape (M,), and how many bytes the held-out text has."""

    texts: Texts
    tokeniser: Tokenizer
    train: torch.Tensor
    held: torch.Tensor
    held_bytes: int

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the text that is learnt from."""
        return sha256("\0".join(self.texts.train.values()).encode()).hexdigest()


def prepare(paths: Sequence[Path], shape: Shape, seed: int, tokeniser: Tokenizer | None = None) -> Prepared:
    """Read the course and cut it into tokens, with a new tokeniser or a run's own.

    Raises:
        CourseError: too little text.
    """
    texts = read_course(paths, seed)
    tokeniser = tokeniser or train_tokeniser(texts.train.values(), shape.vocabulary)
    train, held = encode(tokeniser, texts.train.values()), encode(tokeniser, texts.held.values())
    if min(len(train), len(held)) <= shape.context + 1:
        raise CourseError("There are fewer tokens than one window has.", "Give more text.")
    return Prepared(texts, tokeniser, train, held, sum(len(text.encode()) for text in texts.held.values()))


def steps_in(minutes: float, shape: Shape, train: torch.Tensor) -> int:
    """How many steps fit into so many minutes on this machine now, from the fastest of five that are thrown away."""
    trial, seconds = Training(shape, Plan(steps=5)), list[float]()
    for _ in range(5):
        began = time.perf_counter()
        trial.update(train)
        seconds.append(time.perf_counter() - began)
    return max(20, int(minutes * 60 / min(seconds)))


def start(folder: Path, paths: Sequence[Path], prepared: Prepared, shape: Shape, plan: Plan) -> Training:
    """A new training in a folder, which is written so that `resume` can go on with it.

    Raises:
        CourseError: the folder holds a run.
    """
    if (folder / _MANIFEST).exists():
        raise CourseError(f"There is a run in {folder}.", "Give another --name, or go on with it: --resume")
    folder.mkdir(parents=True, exist_ok=True)
    prepared.tokeniser.save(str(folder / _TOKENISER))
    vocabulary = prepared.tokeniser.get_vocab_size()  # smaller than asked for where the course has not so many pieces
    training = Training(replace(shape, vocabulary=vocabulary), plan, folder)
    training.save()
    made = {"kind": "pretrain", "base": None, "data_sha256": prepared.fingerprint, "paths": [str(path) for path in paths]}
    _write(folder, {**made, "config": {"shape": asdict(training.shape), "plan": plan.as_json()}, "done": False})
    return training


def resume(folder: Path) -> tuple[Training, Prepared]:
    """The training of a folder where it stood, with its text.

    Raises:
        CourseError: there is no run to go on with, or the course has changed since.
    """
    if not (folder / "checkpoint.pt").is_file() or not (folder / _MANIFEST).is_file():
        raise CourseError(f"There is no run to go on with in {folder}.", "Start one: lectern finetune pretrain")
    manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    training = Training.resumed(folder)
    paths = [Path(path) for path in manifest["paths"]]
    prepared = prepare(paths, training.shape, training.plan.seed, load_tokeniser(folder / _TOKENISER))
    if prepared.fingerprint != manifest["data_sha256"]:
        raise CourseError("The course has changed since this run began.", "Start a new one: lectern finetune pretrain")
    return training, prepared


def finish(
    training: Training, prepared: Prepared, folder: Path, prompt: str, tell: Callable[[int, float | None], None]
) -> "Report":
    """Train to the end, and write curve, picture, sample and manifest.

    Returns:
        Figures of the weights at the look that was best on the held-out text.
    """
    from finetune.pretrain.picture import draw

    began = time.monotonic()
    guesses = baselines(prepared.train, prepared.held, training.shape.vocabulary)
    training.run(prepared.train, prepared.held, tell)
    lines = (json.dumps(asdict(look)) + "\n" for look in training.looks)
    (folder / "loss.jsonl").write_text("".join(lines), encoding="utf-8")
    draw(training.looks, guesses, folder / "loss.png")
    training.model.load_state_dict(torch.load(folder / "best.pt", weights_only=True))
    best = min(training.looks, key=lambda look: look.held)
    text = sample(training.model, prepared.tokeniser, prompt, seed=training.plan.seed)
    per_byte = best.held * (len(prepared.held) - 1) / math.log(2) / prepared.held_bytes
    report = Report(folder, training.model.parameters_in_all, best, training.looks[-1], guesses, per_byte, text)
    manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    seconds = manifest.get("seconds", 0.0) + time.monotonic() - began
    _write(folder, {**manifest, "done": True, "steps": training.step, "seconds": round(seconds, 1), "losses": report.losses()})
    return report


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run; losses in nats per token, `bits_per_byte` is comparable between tokenisers."""

    folder: Path
    parameters: int
    best: Look
    last: Look
    baselines: Baselines
    bits_per_byte: float
    sample: str

    def losses(self) -> dict[str, float]:
        """Held-out cross-entropy by what made it, the worst first."""
        return {**asdict(self.baselines), "model": self.best.held, "model at the end": self.last.held}


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    part = folder / f"{_MANIFEST}.{os.getpid()}"
    part.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    part.replace(folder / _MANIFEST)
