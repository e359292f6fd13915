"""`lectern`: joins the commands and turns errors into one readable line and an exit code.

Packages above this one add commands through the entry-point group "lectern.commands": each entry names a function that
takes the typer app and adds to it.
"""

import logging
import sys
from importlib.metadata import entry_points, version
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from assistant.commands import ask, calibrate, doctor, guard, history, ingest, models, say, serve, transcribe, voice, warm
from assistant.settings import go_offline
from knowledge.errors import CourseError

app = typer.Typer(
    name="lectern",
    help="A course assistant that shows its evidence. Everything runs on this machine.\n\n"
    "First time: `lectern models pull`, `lectern ingest --starter`, then `lectern serve` or `lectern ask`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lectern {version('lectern')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    go_offline()
    logging.getLogger("chromadb").setLevel(logging.ERROR)
    logging.getLogger("bm25s").propagate = False  # it sets itself to DEBUG


app.command()(ask.ask)
app.command()(ask.chat)
app.command()(serve.serve)
app.command()(ingest.ingest)
app.add_typer(ingest.sources, name="sources")
app.command()(warm.warm)
app.command()(calibrate.calibrate)
app.add_typer(models.app, name="models")
app.add_typer(history.app, name="history")
app.command()(guard.screen)
app.command()(guard.check)
app.add_typer(guard.app, name="guard")
app.command()(say.say)
app.command()(transcribe.transcribe)
app.command()(voice.voice)
app.command()(doctor.doctor)


def main() -> None:
    """Run `lectern`; exit codes: 0 done, 1 partly done or failed, 2 the user can mend it, 130 interrupted."""
    try:
        for entry in entry_points(group="lectern.commands"):
            entry.load()(app)
        app(prog_name="lectern")
    except CourseError as error:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[bold red]Error:[/] {escape(error.problem)}")
        if error.remedy:
            console.print(f"       {escape(error.remedy)}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # typer sees to most of them
        sys.exit(130)
