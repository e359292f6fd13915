"""`lectern bench` and `lectern eval`. assistant/cli.py finds `add` through the entry-point group "lectern.commands"."""

import json
import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from evals import eval_commands


def add(app: typer.Typer) -> None:
    """Add the commands of this package to `lectern`."""
    app.command()(bench)
    app.add_typer(eval_commands.app, name="eval")


def bench(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Measure this model of `lectern models list`, or a .gguf file.")
    ] = None,
    prompts: Annotated[int, typer.Option("--prompts", min=1, max=40, help="How many sections to ask about.")] = 3,
    sweep: Annotated[bool, typer.Option("--sweep", help="Try other settings of the engine too.")] = False,
) -> None:
    """Measure how fast this machine answers, and what keeps it from answering faster.

    Takes about three minutes on two cores and wants the machine for itself. Your course, history and saved state stay as they
    are.

    Examples:
        lectern bench

        lectern bench --json > bench.json
    """
    from assistant.settings import load_settings
    from evals.bench.overview import measure
    from evals.bench.overview_text import lines

    settings = load_settings()
    if model is not None:
        settings = settings.model_copy(update={"model": settings.model.model_copy(update={"name": model})})
    with redirect_stdout(sys.stderr):  # whatever a library prints, standard output is for our figures
        seen = measure(settings, prompts, sweep, lambda step: typer.echo(f"{step} ...", err=True))
    if as_json:
        typer.echo(json.dumps(seen.as_json()))
        return
    for line in lines(seen):
        typer.echo(line)
