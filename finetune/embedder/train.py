"""Contrastive training with sentence-transformers; nothing of the loop is ours.

Loss: multiple negatives ranking (Henderson et al., 2017), in which the passages of the other questions of a batch are negatives
too, beside the mined one. Learning rate, warm-up and scale are those of sentence-transformers' own training examples.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune.embedder.pairs import Triplet
from knowledge.errors import CourseError

_SAVE_EVERY = 10  # steps


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """Hyperparameters; `batch` counts questions."""

    epochs: int = 1
    batch: int = 32
    learning_rate: float = 2e-5
    warm_up: float = 0.1
    scale: float = 20.0
    seed: int = 0

    def steps(self, triplets: int) -> int:
        """Updates in all."""
        return max(1, -(-triplets // self.batch)) * self.epochs

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def require_packages() -> None:
    """Look before anything long begins.

    Raises:
        CourseError: an extra package is missing.
    """
    from importlib.util import find_spec

    if missing := [name for name in ("accelerate", "datasets") if find_spec(name) is None]:
        raise CourseError(f"Tuning needs {' and '.join(missing)}.", "Run: make finetune")


def tune(
    base: Path,
    triplets: Sequence[Triplet],
    config: TuneConfig,
    work: Path,
    out: Path,
    tell: Callable[[int, float | None], None],
) -> None:
    """Train, or go on from the last checkpoint in `work`, and write the model.

    Args:
        base: folder of the embedder to begin with.
        triplets: at least two.
        config: hyperparameters.
        work: gets checkpoints, which are removed at the end, and loss.jsonl.
        out: the new model's folder, which appears when it is complete.
        tell: called with (steps done, newest loss).
    """
    import torch
    from datasets import Dataset  # type: ignore[import-untyped]
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.training_args import (
        BatchSamplers,
        SentenceTransformerTrainingArguments,
    )
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback
    from transformers.trainer_utils import get_last_checkpoint
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()

    log: list[dict[str, Any]] = []

    class Listener(TrainerCallback):
        """Hands progress on."""

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            log[:] = [line for line in state.log_history if "loss" in line]
            tell(state.global_step, log[-1]["loss"] if log else None)

    gpu = torch.cuda.is_available()
    model = SentenceTransformer(str(base), device="cuda" if gpu else "cpu", local_files_only=True)
    checkpoints = work / "checkpoints"
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch,
        learning_rate=config.learning_rate,
        warmup_steps=config.warm_up,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        save_steps=_SAVE_EVERY,
        save_total_limit=2,
        logging_steps=1,
        logging_first_step=True,
        disable_tqdm=True,
        report_to="none",
        seed=config.seed,
        use_cpu=not gpu,
        bf16=gpu,
    )
    data = Dataset.from_dict({name: [getattr(t, name) for t in triplets] for name in ("anchor", "positive", "negative")})
    loss = MultipleNegativesRankingLoss(model, scale=config.scale)
    trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=loss, callbacks=[Listener()])
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None)
    (work / "loss.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log), encoding="utf-8")
    part = out.with_name(f".{out.name}.{os.getpid()}")
    model.save_pretrained(str(part), create_model_card=False)
    part.replace(out)
    shutil.rmtree(checkpoints, ignore_errors=True)
