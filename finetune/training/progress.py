"""How a training goes: a bar on standard error, a line of loss.jsonl for each step, and loss.png at the end."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

LOG, PICTURE = "loss.jsonl", "loss.png"
_KEPT = (
    "loss",
    "eval_loss",
    "eval_rewards/margins",
    "eval_rewards/accuracies",
    "learning_rate",
    "grad_norm",
    "rewards/margins",
    "rewards/accuracies",
    "mean_token_accuracy",
)


class Watch(TrainerCallback):  # type: ignore[misc]
    """Shows and writes down each step; under `accelerate launch` the first process alone does."""

    def __init__(self, folder: Path, console: Console) -> None:
        self._log = folder / LOG
        self._console = console
        self._loss = ""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("step {task.fields[step]}"),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            disable=not console.is_terminal,
        )

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        keep = [
            line for line in read_log(self._log) if line["step"] <= state.global_step
        ]  # a kill may fall behind a checkpoint
        part = self._log.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in keep), encoding="utf-8")
        part.replace(self._log)
        size = args.gradient_accumulation_steps
        shown = f"{state.global_step}/{state.max_steps}"
        self._bar = self._progress.add_task(
            "training", total=state.max_steps * size, completed=state.global_step * size, step=shown, loss=""
        )
        self._progress.start()

    def on_substep_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            self._progress.advance(self._bar)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            done = state.global_step * args.gradient_accumulation_steps
            self._progress.update(self._bar, completed=done, step=f"{state.global_step}/{state.max_steps}")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        line = {name: logs[name] for name in _KEPT if logs and name in logs} if state.is_world_process_zero else {}
        if not line:
            return
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": state.global_step, "epoch": round(state.epoch or 0, 3), **line}) + "\n")
        name = "held-out loss" if "eval_loss" in line else "loss"
        shown = f"{name} {line.get('eval_loss', line.get('loss', 0)):.3f}"
        self._progress.update(self._bar, loss=shown)
        if not self._console.is_terminal:
            self._console.print(f"step {state.global_step}/{state.max_steps}: {shown}", highlight=False)

    def stop(self) -> None:
        """Take the bar off the screen, however training ended."""
        self._progress.stop()


def read_log(file: Path) -> list[dict[str, float]]:
    """Lines of loss.jsonl, each with `step`; a line that a kill cut short is left out."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def losses(log: Iterable[dict[str, float]]) -> dict[str, float]:
    """What a manifest says about a curve: the first and last loss (means of up to three steps), the last on held-out rows."""
    log = list(log)
    train = [line["loss"] for line in log if "loss" in line]
    few = max(1, min(3, len(train) // 2))
    held = [line["eval_loss"] for line in log if "eval_loss" in line]
    found = {"first": _mean(train[:few]), "last": _mean(train[-few:])} if train else {}
    return found | ({"held": held[-1]} if held else {})


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)


def draw(folder: Path, title: str) -> None:
    """Write loss.png beside loss.jsonl: loss on training and held-out rows over steps; for preferences the margin below it."""
    from matplotlib.figure import Figure

    log = read_log(folder / LOG)
    margins = [line for line in log if "rewards/margins" in line]
    figure = Figure(figsize=(7, 6 if margins else 3.6), layout="constrained")
    axes = figure.subplots(2 if margins else 1, 1, sharex=True, squeeze=False)[:, 0]
    for name, label, style in (("loss", "training rows", "-"), ("eval_loss", "held-out lessons", "o--")):
        points = [line for line in log if name in line]
        if points:
            axes[0].plot([line["step"] for line in points], [line[name] for line in points], style, label=label)
    axes[0].set(title=title, ylabel="loss")
    if axes[0].lines:
        axes[0].legend()
    if margins:
        axes[1].plot([line["step"] for line in margins], [line["rewards/margins"] for line in margins])
        axes[1].axhline(0, color="0.7", linewidth=0.8)
        axes[1].set(ylabel="reward margin")
    axes[-1].set(xlabel="step")
    part = folder / f"{PICTURE}.part"
    figure.savefig(part, dpi=120, format="png")
    part.replace(folder / PICTURE)
