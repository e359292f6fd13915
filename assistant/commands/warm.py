"""`lectern warm`: read the course before anybody asks."""

import json
import sys
import threading
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from knowledge.errors import CourseError

if TYPE_CHECKING:
    from assistant.warming import Warmer


def warm(
    status: Annotated[bool, typer.Option("--status", help="Only say how much has been read.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Let the model read the course now, so that answers begin in under a second.

    What it has read is kept on disk (engine.disk_mb says how much), section by section; a change of the course, the model or
    the prompt is noticed, and only what changed is read again. `lectern serve` and `lectern chat` do the same while nobody
    asks. Ctrl-C keeps what is done.

    Examples:
        lectern warm

        lectern warm --status
    """
    with Console(stderr=True).status("Loading the index and the model"), redirect_stdout(sys.stderr):
        from assistant.runtime import runtime

        ready = runtime()
        if not ready.index.sources():
            raise CourseError("The course is empty.", "Add material: lectern ingest --starter, or lectern ingest PATH...")
        if not ready.settings.engine.disk_mb:
            raise CourseError("Nothing is kept: engine.disk_mb is 0.", "Set it to the megabytes that computed state may take.")
        warmer = ready.warmer
        if warmer is None:
            name = ready.settings.model.name
            raise CourseError(f"{name} does not read ahead.", "There is nothing to do: it reads whole sections when asked.")
        stale = warmer.forget_changed()
    if not status:
        _read(warmer)
    _report(warmer, ready.settings.engine.disk_mb, stale, as_json)


def _read(warmer: "Warmer") -> None:
    stop = threading.Event()
    columns = [
        TextColumn("{task.description}", markup=False),  # a title may have brackets
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("sections, {task.fields[left]}"),
    ]
    try:
        with Progress(*columns, console=Console(stderr=True)) as bars:
            bar = bars.add_task("Reading", total=None, left="")
            for now in warmer.read_all(stop):
                left = "" if now.remaining_s is None else f"{_time(now.remaining_s)} left"
                bars.update(bar, total=now.total, completed=now.done, description=now.title or "Read", left=left)
    except KeyboardInterrupt:
        stop.set()
        typer.echo("Stopped. What has been read is kept; `lectern warm` goes on from here.", err=True)
        raise typer.Exit(130) from None


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _report(warmer: "Warmer", budget: int, stale: int, as_json: bool) -> None:
    done, total = warmer.count()
    store = warmer.store
    used = store.used() if store else 0
    if as_json:
        facts = {"read": done, "sections": total, "bytes": used, "budget": budget << 20, "stale": stale}
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"{done} of {total} sections read, {used / 2**20:,.0f} of {budget:,} MiB on disk.")
    if stale:
        typer.echo(f"{stale} that the course has no more were deleted.")
    if done < total:
        typer.echo("The rest is answered from its best sentences, and read when somebody asks about it.")
