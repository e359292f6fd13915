"""Trains the verifier: a MiniLM cross-encoder that reads a text and a claim and says whether the text supports the claim.

    python -m finetune.guards.verifier.train --rows FOLDER --out FOLDER --minutes 60 [--threads 2]

The learning rate rises over the first 6% of the time and then falls in a straight line to zero at its end, so the run makes
the best of the minutes that it is given, however fast the machine is. They are minutes of computing with all threads: what the
machine does for others in between does not count. It saves a checkpoint every few minutes; the same command
goes on from there, and what was trained before counts. The best weights on check.jsonl are kept in OUT/best.

The word embeddings are frozen: they are half of the weights, their gradient is dense, and a fine-tuning of this length hardly
moves them.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from knowledge.errors import CourseError

LONGEST = 256  # tokens of text and claim together
_CHECKED = 1200  # rows of check.jsonl that the watching takes
_WARM_UP = 0.06


@dataclass(frozen=True, slots=True)
class Options:
    """What a run depends on."""

    minutes: float
    rate: float
    batch: int = 32
    smoothing: float = 0.05  # made rows and HaluEval hold wrong labels
    every: float = 6.0  # minutes between two looks at check.jsonl
    seed: int = 0
    threads: int = 2


class Trainer:
    """One run, resumable.

    Args:
        base: folder of the MiniLM weights to start from.
        rows: folder with train.jsonl and check.jsonl.
        out: folder for checkpoint and weights.
        options: of the run.
    """

    def __init__(self, base: Path, rows: Path, out: Path, options: Options) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar, set_verbosity_error

        disable_progress_bar()
        set_verbosity_error()  # it warns that the head is new

        torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        self._torch, self._options, self._out = torch, options, out
        self._tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        self._model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, local_files_only=True)
        self._model.config.id2label = {0: "support"}
        self._model.get_input_embeddings().weight.requires_grad_(False)
        self._train, self._check = _read(rows / "train.jsonl"), _read(rows / "check.jsonl")[:_CHECKED]
        decayed = [p for p in self._model.parameters() if p.requires_grad and p.dim() > 1]
        plain = [p for p in self._model.parameters() if p.requires_grad and p.dim() == 1]
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, lr=options.rate)
        self._step, self._spent, self._best = 0, 0.0, 0.0
        if (out / "checkpoint.pt").is_file():
            self._resume()

    def run(self, most_steps: int | None = None) -> float:
        """Train until the minutes are spent, or for `most_steps` more steps; returns the best AUROC on the checked rows."""
        options, started, before = self._options, time.process_time(), self._spent
        budget, looked, losses, first = options.minutes * 60, self._spent, [], self._step
        self._model.train()
        for batch in self._batches(self._step):
            self._spent = before + (time.process_time() - started) / options.threads
            done = self._spent / budget
            if done >= 1 or (most_steps is not None and self._step - first >= most_steps):
                break
            losses.append(self._learn(batch, min(done / _WARM_UP, 1.0) * (1 - done) + 1e-3))
            self._step += 1
            if self._step % 50 == 0:
                pace = (self._step - first) * options.batch / (self._spent - before + 1e-9)
                rows = self._step * options.batch
                expected = rows + pace * (budget - self._spent)
                left = (budget - self._spent) / 60
                epochs = f"{rows / len(self._train):.2f} of {expected / len(self._train):.2f} epochs"
                print(
                    f"step {self._step}, {epochs}, {pace:.1f} rows/s, loss {np.mean(losses[-50:]):.3f}, {left:.0f} min left",
                    flush=True,
                )
            if self._spent - looked > options.every * 60:
                self._look()
                looked = self._spent
        return self._look()

    def _learn(self, batch: Sequence[dict[str, Any]], factor: float) -> float:
        torch, smoothing = self._torch, self._options.smoothing
        for group in self._optimiser.param_groups:
            group["lr"] = self._options.rate * factor
        labels = torch.tensor([row["supported"] * (1 - smoothing) + smoothing / 2 for row in batch])
        logits = self._model(**self._encoded(batch)).logits[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return float(loss.item())

    def _look(self) -> float:
        """AUROC on the checked rows, in all and by source; keeps the weights if they are the best, and a checkpoint."""
        from sklearn.metrics import roc_auc_score

        self._model.eval()
        scores = np.zeros(len(self._check))
        order = sorted(range(len(self._check)), key=lambda n: _length(self._check[n]))
        with self._torch.inference_mode():
            for start in range(0, len(order), 32):
                places = order[start : start + 32]
                scores[places] = self._model(**self._encoded([self._check[n] for n in places])).logits[:, 0].numpy()
        self._model.train()
        labels = np.array([row["supported"] for row in self._check])
        found = float(roc_auc_score(labels, scores))
        kinds = np.array([row["source"].partition("/")[0] for row in self._check])
        parts = {
            str(kind): round(float(roc_auc_score(labels[kinds == kind], scores[kinds == kind])), 3)
            for kind in np.unique(kinds)
            if 0 < labels[kinds == kind].mean() < 1
        }
        print(f"checked: AUROC {found:.4f} (best before {self._best:.4f}) {json.dumps(parts)}", flush=True)
        if found > self._best:
            self._best = found
            self._model.save_pretrained(self._out / "best")
            self._tokenizer.save_pretrained(self._out / "best")
        self._save()
        return self._best

    def _encoded(self, batch: Sequence[dict[str, Any]]) -> Any:
        premises, claims = [row["premise"] for row in batch], [row["claim"] for row in batch]
        return self._tokenizer(
            premises, claims, truncation="longest_first", max_length=LONGEST, padding=True, return_tensors="pt"
        )

    def _batches(self, skip: int) -> Iterator[list[dict[str, Any]]]:
        """Batches of rows of similar length, in random order, epoch after epoch, from batch number `skip` on."""
        size, epoch = self._options.batch, 0
        while True:
            draw = random.Random(self._options.seed + epoch)
            order = sorted(range(len(self._train)), key=lambda n: _length(self._train[n]) + draw.random() * 20)
            batches = [order[start : start + size] for start in range(0, len(order), size)]
            draw.shuffle(batches)
            for batch in batches[skip:]:
                yield [self._train[n] for n in batch]
            skip, epoch = max(0, skip - len(batches)), epoch + 1

    def _save(self) -> None:
        self._out.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self._model.state_dict(), "optimiser": self._optimiser.state_dict(), "step": self._step,
            "spent": self._spent, "best": self._best,
        }  # fmt: skip
        self._torch.save(state, self._out / "checkpoint.tmp")
        (self._out / "checkpoint.tmp").replace(self._out / "checkpoint.pt")

    def _resume(self) -> None:
        state = self._torch.load(self._out / "checkpoint.pt", map_location="cpu", weights_only=True)
        self._model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._step, self._spent, self._best = state["step"], state["spent"], state["best"]
        print(f"goes on from step {self._step}, {self._spent / 60:.1f} minutes spent, AUROC {self._best:.4f}", flush=True)


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise CourseError(f"{path} is not there.", "Run: python -m finetune.guards.verifier.data")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _length(row: dict[str, Any]) -> int:
    return len(row["premise"].split()) + len(row["claim"].split())


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description="Train the groundedness verifier's encoder.")
    parser.add_argument("--rows", type=Path, required=True, help="folder that finetune.guards.verifier.data has written")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint and weights")
    parser.add_argument("--minutes", type=float, default=60.0, help="of computing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rate", type=float, default=8e-5, help="highest learning rate")
    parser.add_argument("--steps", type=int, help="stop after so many steps, to try it")
    given = parser.parse_args(arguments)
    try:
        from assistant.models import model_path

        base = model_path("all-minilm-l6-v2")
        given.out.mkdir(parents=True, exist_ok=True)
        options = Options(given.minutes, rate=given.rate, threads=given.threads)
        best = Trainer(base, given.rows, given.out, options).run(given.steps)
    except CourseError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"best AUROC on the checked rows: {best:.4f}; weights in {given.out / 'best'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
