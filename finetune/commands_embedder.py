"""`lectern finetune embedder`: a search that knows the course's own words better, or the proof that it does not need one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from knowledge.errors import CourseError

if TYPE_CHECKING:
    from finetune.embedder.gate import Verdict
    from finetune.embedder.run import TuningRun

# Seconds of one core (Xeon with AVX-512): to learn from a triplet; to embed a passage with its sentences, and to judge
_S_PER_TRIPLET, _S_PER_PASSAGE = 0.45, 0.3
_MEMORY_GB = 2.5


def add(app: typer.Typer) -> None:
    """Add the command to `lectern finetune`."""
    app.command()(embedder)


def embedder(
    questions: Annotated[
        Path | None,
        typer.Option(help='Learn from these too: JSON lines {"question", "evidence"}, the evidence verbatim from the course.'),
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(help="Be judged by these, of the same form; without evidence: not covered by the course.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of public sets, of which cranfield and squad2 are taken for general search.")
    ] = None,
    count: Annotated[int, typer.Option(min=60, max=20_000, help="How many questions to make from the course.")] = 600,
    epochs: Annotated[int, typer.Option(min=1, max=20, help="How often each is learnt from.")] = 1,
    learning_rate: Annotated[float, typer.Option(min=1e-7, max=1e-3, help="Its peak.")] = 2e-5,
    held: Annotated[float, typer.Option(min=0.1, max=0.7, help="Share of the lessons that are kept for the judgement.")] = 0.33,
    seed: Annotated[int, typer.Option(help="Of lessons, questions and training.")] = 0,
    name: Annotated[
        str, typer.Option(help="Of the run; else embedder and a number. The name of one that was cut off goes on.")
    ] = "",
    promote: Annotated[bool, typer.Option(help="Use it at once if it passes the gate.")] = True,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the index before the last promotion, and no more.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Tune the search's embedder on questions about the course, and use it only if the search gets better.

    Questions are made from the lessons by rule; a third of the lessons is kept back. The course is indexed anew with the tuned
    embedder, beside the index in use, and both are asked: people's questions about the lessons kept back must find their
    passage higher up, beyond chance, and nothing else may get worse beyond a margin: refusals, other subjects, public sets,
    the check of answers. Only then the new index takes the place of the old one, which is kept for --rollback.

    Ctrl-C loses at most ten steps: give the same --name to go on. Exit code: 0 promoted, 1 refused by the gate, 2 you can mend
    it, 130 stopped.

    Examples:
        lectern finetune embedder --dry-run

        lectern finetune embedder --data ~/public-sets --no-promote

        lectern finetune embedder --rollback
    """
    from assistant.settings import load_settings
    from finetune.embedder.promote import mend
    from finetune.embedder.promote import rollback as go_back
    from finetune.embedder.run import TuningRun, Wanted
    from finetune.embedder.train import TuneConfig, require_packages

    settings, console = load_settings(), Console(highlight=False, soft_wrap=True)
    mend(settings)
    if rollback:
        console.print(f"{go_back(settings)} is out of use. Start a running assistant again.")
        return
    require_packages()
    given = [path.absolute() if path else None for path in (questions, cases, data)]
    wanted = Wanted(TuneConfig(epochs=epochs, learning_rate=learning_rate, seed=seed), count, held, *given)
    chosen = _name(settings.finetune_dir / "runs", name)
    run = TuningRun(settings, chosen, wanted)
    if dry_run:
        _show_plan(run, console)
        return
    try:
        verdict = _judged(run)
    except KeyboardInterrupt:
        console.print(f"\nStopped. Go on with: lectern finetune embedder --name {chosen}", style="yellow")
        raise typer.Exit(130) from None
    _show(verdict, console)
    if not verdict.passed:
        console.print(f"\nRefused: {'; '.join(verdict.failed)}. The embedder in use stays.", style="bold yellow")
        raise typer.Exit(1)
    if promote:
        _promote(run)
        console.print(
            f"\n{chosen} is in use. Start a running assistant again; back: lectern finetune embedder --rollback",
            style="bold green",
        )


def _judged(run: "TuningRun") -> "Verdict":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task("", total=None)

        def tell(what: str, done: int, total: int) -> None:
            bars.update(bar, description=what, completed=done, total=total or None)

        run.begin()
        run.train(run.triplets(tell), tell)
        return run.judge(tell)


def _promote(run: "TuningRun") -> None:
    from assistant.runtime import build
    from finetune.embedder.promote import promote, staged_folder

    promote(run.settings, staged_folder(run.settings, run.name), run.tuned, lambda: build(run.settings))


def _show_plan(run: "TuningRun", console: Console) -> None:
    questions, cores = run.questions(), _cores()
    sources = {passage.source for passage in run.passages}
    steps = run.wanted.config.steps(len(questions))
    seconds = (len(questions) * run.wanted.config.epochs * _S_PER_TRIPLET + len(run.passages) * _S_PER_PASSAGE) / cores
    batch, kept = run.wanted.config.batch, ", ".join(sorted(run.held))
    console.print(
        f"{len(sources) - len(run.held)} lessons to learn from, {len(run.held)} kept for the judgement: {kept}.\n"
        f"Up to {len(questions)} questions (fewer, where no safe negative is found), {steps} steps of {batch}; "
        f"{len(run.passages)} passages to index anew.\n"
        f"About {_MEMORY_GB} GB of memory and {max(1, round(seconds / 60))} minutes on {cores} cores; public sets take longer."
    )
    for asked in questions[:: max(1, len(questions) // 8)]:
        console.print(f"  {asked.kind}: {asked.text}", style="dim", markup=False)


def _cores() -> int:
    from assistant.settings import core_count

    return core_count()


def _name(runs: Path, name: str) -> str:
    if name:
        if Path(name).name != name or name.startswith("."):
            raise CourseError(f"{name} is no name for a run.", "Use letters, digits and dashes.")
        return name
    taken = [int(path.name[8:]) for path in runs.glob("embedder[0-9]*") if path.name[8:].isdigit()]
    return f"embedder{max(taken, default=0) + 1}"


def _show(verdict: "Verdict", console: Console) -> None:
    from rich.table import Table

    table = Table("", "n", "before", "after", "difference (95%)", "may lose", "", box=None, header_style="bold")
    for criterion in (*verdict.criteria, *verdict.told):
        told = criterion in verdict.told
        mark = "" if told else "[green]ok[/]" if criterion.passed else "[red]no[/]"
        limit = "" if told else f"{criterion.margin:.2f}" if criterion.margin else "must rise"
        change = f"{criterion.difference:+.3f} ({criterion.low:+.3f} to {criterion.high:+.3f})"
        row = (criterion.name, str(criterion.n), f"{criterion.before:.3f}", f"{criterion.after:.3f}", change, limit, mark)
        table.add_row(*row, style="dim" if told else None)
    console.print(table)
