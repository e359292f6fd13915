"""What SFT, DPO and KTO share around TRL's loop: its arguments, when it saves and stops, and what it leaves behind."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

from rich.console import Console
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.training.model import in_bf16, on_gpu
from finetune.training.progress import LOG, Watch, draw, losses, read_log
from finetune.training.run import ADAPTER_FILES, CHECKPOINTS, Run, peak_memory
from knowledge.errors import CourseError

Ending = Literal["done", "time", "asked"]


@dataclass(frozen=True)
class Outcome:
    """How a training ended: all steps done, the minutes over, or asked to stop (no adapter then)."""

    ending: Ending
    steps: int
    planned: int
    losses: dict[str, float]


def processes() -> int:
    """How many train together; launchers say it to each of them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def arguments(run: Run, held: int) -> dict[str, Any]:
    """Arguments that SFTConfig, DPOConfig and KTOConfig have in common; TRL's own defaults want a GPU.

    Args:
        run: whose manifest says how many steps.
        held: rows that there are for the loss after each epoch.
    """
    config, kind = run.config, run.kind
    stage, size = config.stage(kind), config.device_batch(kind, on_gpu())
    return {
        "output_dir": str(run.folder / CHECKPOINTS),
        "max_length": None,  # rows that are too long are left out before; TRL would cut off the end of their answers
        "max_steps": run.manifest["steps"],
        "per_device_train_batch_size": size,
        "per_device_eval_batch_size": size,
        "gradient_accumulation_steps": max(1, round(stage.batch / (size * processes()))),
        "learning_rate": stage.learning_rate,
        "lr_scheduler_type": stage.schedule,
        "warmup_steps": stage.warmup,  # below 1 it is a share of all steps
        "weight_decay": stage.weight_decay,
        "max_grad_norm": stage.max_grad_norm,
        "seed": config.seed,
        "data_seed": config.seed,
        "use_cpu": not on_gpu(),
        "bf16": in_bf16(),
        "gradient_checkpointing": config.gradient_checkpointing,
        "ddp_find_unused_parameters": False if processes() > 1 else None,  # every weight of an adapter has a part in every row
        "dataloader_pin_memory": on_gpu(),
        "save_strategy": "no",  # Keeper says when
        "save_total_limit": 2,
        "eval_strategy": "epoch" if held else "no",
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
    }


class Keeper(TrainerCallback):  # type: ignore[misc]
    """Saves every few minutes; stops between two micro-batches when asked to (Ctrl-C, kill) or when the time is over.

    A step that is under way then is thrown away: weights change at its end only, so what is saved is the step before it.
    """

    def __init__(self, checkpoint_minutes: float, minutes: float | None) -> None:
        self._every = checkpoint_minutes * 60
        self._deadline = time.monotonic() + minutes * 60 if minutes else None
        self._saved_at = time.monotonic()
        self._saved_step = -1
        self._asked = False
        self.ending: Ending = "done"

    @contextmanager
    def listening(self, console: Console) -> Iterator[None]:
        """Take SIGINT and SIGTERM as a wish to stop; a second one breaks off at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            if self._asked:
                raise KeyboardInterrupt
            self._asked = True
            console.print("Stopping after this row; press Ctrl-C again to break off without saving.", highlight=False)

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        due = bool(self._agreed(time.monotonic() - self._saved_at >= self._every))
        control.should_save = due and state.global_step < state.max_steps
        self._stop_if_wanted(state, control)

    def on_substep_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._stop_if_wanted(state, control)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_evaluate = control.should_evaluate and self.ending == "done"

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._saved_at, self._saved_step = time.monotonic(), state.global_step

    def _stop_if_wanted(self, state: TrainerState, control: TrainerControl) -> None:
        if state.global_step >= state.max_steps:
            return
        over = self._deadline is not None and time.monotonic() >= self._deadline
        wish = self._agreed("asked" if self._asked else "time" if over else "")
        if wish:
            self.ending = wish
            control.should_training_stop = True
            control.should_save = state.global_step not in (0, self._saved_step)

    @staticmethod
    def _agreed(wish: Any) -> Any:
        """What the first process wants: clocks and signals differ, and processes that disagree wait for each other for ever."""
        if processes() == 1:
            return wish
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([wish], from_process=0)[0]


def fit(run: Run, trainer: Any, console: Console, minutes: float | None) -> Outcome:
    """Train from the last whole checkpoint, or from the start, and leave adapter, curve and manifest behind.

    Args:
        run: whose folder takes the result.
        trainer: of TRL.
        console: for the progress.
        minutes: stop after them, with an adapter; None runs to the end.

    Raises:
        CourseError: the time was over before the first step was done.
    """
    keeper, watch = Keeper(run.config.checkpoint_minutes, minutes), Watch(run.folder, console)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watch)
    trainer.add_callback(keeper)
    first = bool(trainer.is_world_process_zero())
    checkpoint = run.last_checkpoint()
    before = run.manifest["seconds"]
    if first:
        run.update(state="training")
    began = time.monotonic()
    try:
        with keeper.listening(console):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        watch.stop()
    steps = int(trainer.state.global_step)
    if steps and keeper.ending != "asked":
        _save_adapter(run, trainer)
    outcome = Outcome(keeper.ending, steps, run.manifest["steps"], losses(read_log(run.folder / LOG)))
    if first:
        if read_log(run.folder / LOG):
            draw(run.folder, f"{run.name}: {run.kind} of {run.manifest['base']}")
        run.update(
            state="stopped" if not steps or keeper.ending == "asked" else "done",
            steps_done=steps,
            losses=outcome.losses,
            seconds=round(before + time.monotonic() - began, 1),
            peak_memory=peak_memory(),
            processes=processes(),
        )
        if keeper.ending == "done":
            shutil.rmtree(run.folder / CHECKPOINTS, ignore_errors=True)
    if not steps and keeper.ending == "time":
        raise CourseError(
            f"Not one step of {run.config.stage(run.kind).batch} rows was done in {minutes:g} minutes.",
            f"Give more --minutes, or start with a smaller batch: --set {run.kind}.batch=4",
        )
    return outcome


def _save_adapter(run: Run, trainer: Any) -> None:
    """Put PEFT's two files of the trained adapter into the run, in one step; TRL's frozen reference stays behind."""
    whole = run.folder / "adapter.whole"
    trainer.save_model(str(whole))  # every process takes part: sharded weights are gathered here
    if not trainer.is_world_process_zero():
        return
    part = run.folder / "adapter.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for file in ADAPTER_FILES:
        (whole / file).replace(part / file)
    shutil.rmtree(run.adapter, ignore_errors=True)
    part.replace(run.adapter)
    shutil.rmtree(whole)
