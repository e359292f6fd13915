"""`lectern finetune pretrain`: a language model from nothing but the course."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from knowledge.errors import CourseError

if TYPE_CHECKING:
    from finetune.pretrain.run import Report

_PROMPT = "The learning rate"


def add(app: typer.Typer) -> None:
    """Add the command to `lectern finetune`."""
    app.command()(pretrain)


def pretrain(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files or folders to learn from; without any, the course.")] = None,
    minutes: Annotated[float, typer.Option(min=0.1, max=1440, help="About how long to train.")] = 5,
    steps: Annotated[int | None, typer.Option(min=1, help="Train for so many steps instead.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, batches, held-out documents and sample.")] = 0,
    prompt: Annotated[str, typer.Option(help="What the sample begins with.")] = _PROMPT,
    name: Annotated[str, typer.Option(help="Of the run; else pretrain and a number.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run of that --name, or the last one.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Train a small language model on the course's own text, the working twin of the lesson "Building a language model".

    A tokeniser, a decoder of about a million parameters, a training loop, held-out documents, and what trivial guesses get on
    them. It will not answer questions: a course is a thousand times too little text for that. It shows how the models that do
    were made, in seven short files below finetune/pretrain. Ctrl-C loses at most 25 steps; --resume goes on.

    Examples:
        lectern finetune pretrain --minutes 5

        lectern finetune pretrain ~/lectures --steps 1000 --prompt "An eigenvector"

        lectern finetune pretrain --resume
    """
    from importlib.util import find_spec

    from assistant.settings import load_settings

    if find_spec("matplotlib") is None:
        raise CourseError("The picture of the curve needs matplotlib.", "Run: make finetune")
    runs = load_settings().finetune_dir / "runs"
    console = Console(highlight=False, soft_wrap=True)
    folder = _folder(runs, name, resume)
    try:
        _run(folder, paths or [], minutes, steps, seed, prompt or _PROMPT, resume, dry_run, console)
    except KeyboardInterrupt:
        console.print(f"\nStopped. Go on with: lectern finetune pretrain --resume --name {folder.name}", style="yellow")
        raise typer.Exit(130) from None


def _run(
    folder: Path,
    paths: list[Path],
    minutes: float,
    steps: int | None,
    seed: int,
    prompt: str,
    again: bool,
    dry: bool,
    console: Console,
) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with console.status("Reading the course"):
        from finetune.pretrain import run
        from finetune.pretrain.config import Plan, Shape

        if again:
            training, prepared = run.resume(folder)
            plan, shape = training.plan, training.shape
        else:
            shape, paths = Shape(), [path.absolute() for path in paths] or _course()
            prepared = run.prepare(paths, shape, seed)
            plan = Plan(steps=steps or run.steps_in(minutes, shape, prepared.train), seed=seed)
    passes = plan.steps * plan.batch * shape.context / len(prepared.train)
    console.print(
        f"{len(prepared.texts.train)} documents to learn from ({len(prepared.train)} tokens), {len(prepared.texts.held)} held "
        f"out ({len(prepared.held)} tokens); {plan.steps} steps, which read the text {passes:.1f} times."
    )
    if dry:
        return
    if not again:
        training = run.start(folder, paths, prepared, shape, plan)
    columns = [
        TextColumn("Training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task("", total=plan.steps, completed=training.step, loss="")

        def tell(done: int, held: float | None) -> None:
            bars.update(bar, completed=done, loss="" if held is None else f"held-out loss {held:.2f}")

        report = run.finish(training, prepared, folder, prompt, tell)
    _show(report, console)


def _course() -> list[Path]:
    """The files that the course was made from; the starter course where there is none."""
    from assistant.course import recorded_files
    from assistant.settings import load_settings
    from knowledge.ingest import STARTER_COURSE

    return [path for path in recorded_files(load_settings()) if path.exists()] or [STARTER_COURSE]


def _folder(runs: Path, name: str, resume: bool) -> Path:
    if name:
        if Path(name).name != name:
            raise CourseError(f"{name} is no name for a run.", "Use letters, digits and dashes.")
        return runs / name
    taken = [int(path.name[8:]) for path in runs.glob("pretrain[0-9]*") if path.name[8:].isdigit()]
    if resume and not taken:
        raise CourseError("There is no run to go on with.", "Start one: lectern finetune pretrain")
    return runs / f"pretrain{max(taken, default=0) + (0 if resume else 1)}"


def _show(report: "Report", console: Console) -> None:
    from math import exp

    from rich.table import Table

    table = Table("held-out text, guessed by", "loss (nats per token)", "perplexity", box=None, header_style="bold")
    for who, loss in report.losses().items():
        table.add_row(who, f"{loss:.3f}", f"{exp(loss):.1f}", style="bold" if who == "model" else None)
    console.print(table)
    console.print(
        f"{report.parameters:,} parameters; best on held-out text after {report.best.step} of {report.last.step} steps: "
        f"{report.bits_per_byte:.2f} bits per byte.\n"
    )
    console.print(report.sample, markup=False)
    console.print(f"\nCurve: {report.folder / 'loss.png'}", style="dim")
