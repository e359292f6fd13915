"""`lectern calibrate`: where to stop answering, for this course."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from assistant.settings import load_settings
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from knowledge.calibrated import Calibration, Point
    from knowledge.index import CourseIndex

_WIDTH = 30  # characters of a bar that stands for everything


def calibrate(
    questions: Annotated[int, typer.Option(min=20, max=5000, help="How many questions to make from the course.")] = 240,
    false_refusals: Annotated[
        float, typer.Option(min=0.005, max=0.5, help="Share of the questions it covers that may be refused.")
    ] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit to your course how sure the search must be before Lectern answers at all.

    Questions are made from the course's own sentences and searched for twice: as the course is, and with every passage hidden
    that knows their subject, which makes a question that the course just fails to cover. Refuse too eagerly, and students who
    ask about the course are sent away; too seldom, and what it does not cover reaches the model. The table shows this trade
    for each threshold, and which one was chosen: as shipped, or as much laxer as it takes to refuse no more than you allow.

    It is never stricter than shipped, because made questions are easier to find than those of students. If you want that, or
    if students are refused too often all the same, set `retrieval.threshold`, which has the last word. Adding and removing
    documents calibrates by itself when more than a fifth of the course has changed. No model is asked, nothing leaves this
    machine; it takes seconds.

    Exit code: 0 done, 2 the course is empty or too small.

    Examples:
        lectern calibrate

        lectern calibrate --false-refusals 0.02  # rather answer once too often

        lectern calibrate --questions 1000 --json
    """
    from assistant.course import open_index
    from knowledge import calibrated

    settings = load_settings()
    index = open_index(settings)
    if not index.sources():
        raise CourseError("The course is empty.", "Add material: lectern ingest --starter, or lectern ingest PATH...")
    found = _run(index, questions, false_refusals)
    calibrated.write(index.folder, found)
    if as_json:
        typer.echo(found.model_dump_json(exclude={"sample"}))
    else:
        _show(found, settings.retrieval.threshold, Console())


def _run(index: "CourseIndex", questions: int, false_refusals: float) -> "Calibration":
    from knowledge.calibration import calibrate as run

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("questions")]
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task("Searching", total=None)
        return run(
            index,
            load_settings().retrieval,
            questions,
            false_refusals,
            lambda done, total: bars.update(bar, completed=done, total=total),
        )


def _show(found: "Calibration", in_use: float, console: Console) -> None:
    table = Table("threshold", "covered, but refused", "not covered, let through", "", box=None, header_style="bold")
    for point in found.curve:
        chosen = point.threshold == found.chosen.threshold
        row = (f"{point.threshold:.1f}", f"{point.false_refusals:.1%}", f"{point.let_through:.1%}", _bars(point))
        table.add_row(*row, style="bold green" if chosen else None)
    console.print(table)
    console.print("[red]█[/] covered, but refused   [yellow]░[/] not covered, but let through\n", highlight=False)
    before, after = found.before, found.chosen
    console.print(
        f"Chosen: 0.5, which every relevance was moved for by {found.shift:+.2f} (logit). Of {found.questions} made questions "
        f"that the course covers it refuses {after.false_refusals:.1%} (allowed: {found.target:.1%}; as shipped: "
        f"{before.false_refusals:.1%}), and lets through {after.let_through:.1%} of those that it just does not cover (as "
        f"shipped: {before.let_through:.1%}).",
        highlight=False,
    )
    if in_use != after.threshold:
        console.print(
            f"[yellow]Your settings say retrieval.threshold = {in_use:g}, and that is what is used.[/]", highlight=False
        )


def _bars(point: "Point") -> str:
    refused, through = (round(share * _WIDTH) for share in (point.false_refusals, point.let_through))
    return f"[red]{'█' * refused}[/][yellow]{'░' * through}[/]"
