"""From what was asked on the command line to a run: plan it, make its folder, train it, say what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.settings import load_settings
from finetune.base import base_model
from finetune.config import Kind, TrainingConfig, load_config
from finetune.training.run import Run, create_run, open_run, runs_folder, versions
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from rich.console import Console

    from finetune.training.loop import Outcome
    from finetune.training.plan import Plan

_SHARE = 0.85  # of the minutes given: the rest is for loading, saving and rows longer than the median


@dataclass(frozen=True)
class Asked:
    """The options of one command; None and empty take the defaults."""

    kind: Kind
    name: str | None = None
    base: str | None = None
    before: str | None = None
    steps: int | None = None
    minutes: float | None = None
    config: Path | None = None
    changes: Sequence[str] = ()


def planned(asked: Asked, console: "Console", measure: bool) -> tuple["Plan", TrainingConfig, str]:
    """Plan, hyperparameters and base of a new run; with `minutes` as many steps as fit, so that the learning rate ends low.

    Args:
        asked: the options.
        console: told before what takes a while.
        measure: also say how long it takes, which loads the model.

    Raises:
        CourseError: an option is wrong, rows or weights are missing, or there is no room.
    """
    versions()  # a missing extra is said before anything else
    from finetune.training.examples import load_examples
    from finetune.training.model import load_tokenizer
    from finetune.training.plan import make_plan, measure_seconds, require_room
    from finetune.training.session import hush, keep_freed_memory

    hush()
    keep_freed_memory()
    config = load_config(asked.config, asked.changes)
    base = asked.base or (open_run(asked.before).manifest["base"] if asked.before else config.base)
    stage, settings = config.stage(asked.kind), load_settings()
    folder = base_model(base, lambda text: console.print(text, highlight=False))
    tokenizer = load_tokenizer(folder)
    examples = load_examples(asked.kind, settings, tokenizer, stage.max_length, stage.held, config.seed)
    plan = make_plan(asked.kind, config, folder, examples, asked.steps)
    if not measure and asked.minutes is None:
        return plan, config, base
    if plan.memory > plan.free_memory:
        return plan, config, base  # without a time: measuring would fail; starting does, with a remedy
    console.print("Measuring how long a row takes ...", highlight=False)
    row = measure_seconds(asked.kind, config, folder, plan.median_row)
    if asked.minutes is not None:
        require_room(plan, settings.finetune_dir)
        fitting = max(1, int(asked.minutes * 60 * _SHARE / (row * plan.batch)))
        plan = replace(plan, steps=min(plan.steps, fitting))
    mean = plan.tokens / plan.rows / plan.median_row
    return replace(plan, seconds=plan.rows_seen * row * mean), config, base


def start(asked: Asked, console: "Console") -> Run:
    """Make the folder of a new run."""
    plan, config, base = planned(asked, console, measure=False)
    show(plan, config, base, console)
    return create_run(asked.kind, asked.name, base, asked.before, config, plan.recorded())


def train(run: Run, console: "Console", minutes: float | None) -> "Outcome":
    """Train a run, from its last checkpoint if it has one, and say what came of it."""
    script: Callable[..., Outcome] = import_module(f"finetune.training.{run.kind}").train
    outcome = script(run, console, minutes)
    done = f"step {outcome.steps} of {outcome.planned}"
    if outcome.ending == "asked":
        console.print(f"Stopped after {done}. Go on with: {run.resume_command}", highlight=False)
        return outcome
    if outcome.ending == "time":
        console.print(f"The time is over after {done}; there is more in: {run.resume_command}", highlight=False)
    curve = ", ".join(f"{name} {value}" for name, value in outcome.losses.items())
    console.print(f"{run.adapter}\nLoss: {curve}; {run.folder / 'loss.png'}", highlight=False)
    follow = f"lectern finetune dpo --from {run.name}, or " if run.kind == "sft" else ""
    console.print(f"Next: {follow}lectern finetune export {run.name}", highlight=False)
    return outcome


def resumable(kind: Kind, name: str) -> Run:
    """The unfinished run of that name.

    Raises:
        CourseError: there is none, or it is of another kind.
    """
    run = open_run(name)
    if run.kind != kind:
        raise CourseError(f"{name} is a {run.kind} run.", f"Go on with it: {run.resume_command}")
    return run


def show(plan: "Plan", config: TrainingConfig, base: str, console: "Console") -> None:
    """Print what a training will need."""
    from rich.table import Table

    from finetune.training.model import in_bf16, on_gpu
    from finetune.training.plan import free_disk

    number = "four bits" if config.qlora else "bf16" if in_bf16() else "float32"
    rows = f"{plan.rows:,}" + (f", {plan.too_long:,} too long left out" if plan.too_long else "")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row(
        "base", f"{base}, {plan.parameters / 1e6:,.0f} M parameters in {number} on the {'GPU' if on_gpu() else 'CPU'}"
    )
    table.add_row("adapter", f"rank {config.lora.rank}, {plan.trainable / 1e6:.2f} M parameters")
    table.add_row("rows", f"{rows}; {plan.held:,} of held-out lessons")
    table.add_row(
        "tokens", f"{plan.tokens:,} an epoch; a row has {plan.median_row:,} (median), the longest sequence {plan.longest:,}"
    )
    table.add_row("steps", f"{plan.steps:,} of {plan.batch} rows ({plan.steps / plan.steps_per_epoch:.1f} epochs)")
    table.add_row("memory", f"about {plan.memory / 1e9:.1f} GB at most; {plan.free_memory / 1e9:.1f} GB are free")
    table.add_row("disk", f"{plan.disk / 1e9:.2f} GB; {free_disk(runs_folder()) / 1e9:.0f} GB are free")
    if plan.seconds is not None:
        table.add_row("time", f"about {_duration(plan.seconds)}, as fast as the machine is now")
    console.print(table)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
