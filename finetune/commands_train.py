"""`lectern finetune sft|dpo|kto`: rows, pairs and thumbs to an adapter."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from finetune.training.start import Asked

Name = Annotated[str | None, typer.Option("--name", help="Call the run so; default: its kind and the next number.")]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Base: of `lectern models list`, a .gguf file, hf:FOLDER.")]
From = Annotated[str | None, typer.Option("--from", help="Continue the adapter of this run; default: start from the base.")]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="So many steps instead of whole epochs.")]
Minutes = Annotated[float | None, typer.Option("--minutes", min=0.1, help="Stop in this time, with an adapter.")]
Config = Annotated[Path | None, typer.Option("--config", help="YAML file with hyperparameters that differ.")]
Change = Annotated[list[str] | None, typer.Option("--set", help="Change one, for example sft.learning_rate=1e-4; repeatable.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say rows, steps, memory and time expected, and start nothing.")]
Prepare = Annotated[bool, typer.Option("--prepare", help="Make the run and start nothing, for `accelerate launch`.")]
Resume = Annotated[str | None, typer.Option("--resume", help="Go on with this unfinished run.")]


def add(app: typer.Typer) -> None:
    """Add the commands to `lectern finetune`."""
    app.command()(sft)
    app.command()(dpo)
    app.command()(kto)


def sft(
    name: Name = None,
    model: Model = None,
    steps: Steps = None,
    minutes: Minutes = None,
    config: Config = None,
    change: Change = None,
    dry_run: DryRun = False,
    prepare: Prepare = False,
    resume: Resume = None,
) -> None:
    """Train an adapter on the rows of `lectern finetune data`.

    Ctrl-C saves where it is; a crash costs five minutes at most. The hyperparameters and where they come from are in
    finetune/config.yaml. For several GPUs or machines see finetune/accelerate/.

    Examples:
        lectern finetune sft --dry-run

        lectern finetune sft --minutes 60

        lectern finetune sft --model smollm2-135m-instruct --set sft.epochs=1

        lectern finetune sft --resume sft-1
    """
    from finetune.training.start import Asked

    _run(Asked("sft", name, model, None, steps, minutes, config, change or ()), dry_run, prepare, resume)


def dpo(
    from_run: From = None,
    name: Name = None,
    model: Model = None,
    steps: Steps = None,
    minutes: Minutes = None,
    config: Config = None,
    change: Change = None,
    dry_run: DryRun = False,
    prepare: Prepare = False,
    resume: Resume = None,
) -> None:
    """Train an adapter on preference pairs: better answers become likelier than worse ones.

    Options are those of `lectern finetune sft`.

    Examples:
        lectern finetune dpo --from sft-1

        lectern finetune dpo --from sft-1 --set dpo.beta=0.3
    """
    from finetune.training.start import Asked

    _run(Asked("dpo", name, model, from_run, steps, minutes, config, change or ()), dry_run, prepare, resume)


def kto(
    from_run: From = None,
    name: Name = None,
    model: Model = None,
    steps: Steps = None,
    minutes: Minutes = None,
    config: Config = None,
    change: Change = None,
    dry_run: DryRun = False,
    prepare: Prepare = False,
    resume: Resume = None,
) -> None:
    """Train an adapter on lone thumbs, where no second answer was judged; both sides count the same.

    Options are those of `lectern finetune sft`.

    Examples:
        lectern finetune kto --from sft-1
    """
    from finetune.training.start import Asked

    _run(Asked("kto", name, model, from_run, steps, minutes, config, change or ()), dry_run, prepare, resume)


def _run(asked: "Asked", dry_run: bool, prepare: bool, resume: str | None) -> None:
    from rich.console import Console

    from finetune.training import start

    console = Console(stderr=True)
    if dry_run:
        start.show(*start.planned(asked, console, measure=True), Console())
        return
    run = start.resumable(asked.kind, resume) if resume else start.start(asked, console)
    if prepare:
        launch = "accelerate launch --config_file finetune/accelerate/several_gpus.yaml"
        typer.echo(f"{launch} -m finetune.training.{run.kind} --run {run.name}")
        return
    if start.train(run, console, asked.minutes).ending == "asked":
        raise typer.Exit(130)
