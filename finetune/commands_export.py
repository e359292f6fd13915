"""`lectern finetune export`: from a training run to the adapter that llama.cpp serves, and how near it is to the training."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from assistant.adapters import Adapter
    from finetune.parity import Parity

MERGED = "merged.gguf"  # beside adapter.gguf
PARITY = "parity.json"


def add(app: typer.Typer) -> None:
    """Add the command to `lectern finetune`."""
    app.command()(export)


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A finished training run.")],
    base: Annotated[
        str | None, typer.Option("--base", help="The GGUF that it is for, where the run was trained on a Hugging Face folder.")
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Also write one model with the adapter in its weights (8 bits).")
    ] = False,
    check: Annotated[bool, typer.Option(help="Compare with what was trained, token by token; takes minutes.")] = True,
) -> None:
    """Make the adapter that the chat can serve out of a training run, and measure what the export changed.

    Try it without promoting it: LECTERN_MODEL__ADAPTER=sft-1 lectern chat. Exit code 1 if llama.cpp says something else with it
    than transformers does, by more than 0.01 nats a token above what the base models differ by.

    Examples:
        lectern finetune export sft-1

        lectern finetune export sft-1 --merge
    """
    from assistant.models import model_path
    from assistant.settings import load_settings
    from finetune.adapters import export as make
    from finetune.merge import merged_q8

    adapter = make(load_settings(), run, base)
    typer.echo(f"{adapter.id}: {adapter.path} ({adapter.path.stat().st_size / 1e6:.1f} MB), for {adapter.base}")
    merged = adapter.folder / MERGED if merge else None
    if merged:
        with _bar("Merging") as tell:
            merged_q8(model_path(adapter.base), adapter.path, merged, tell)
        typer.echo(f"Merged: {merged} ({merged.stat().st_size / 1e6:.0f} MB)")
        typer.echo(f"It is a model by itself: LECTERN_MODEL__NAME={merged} LECTERN_MODEL__ADAPTER=none lectern chat")
    if check and not all([_checked(adapter, None), *([_checked(adapter, merged)] if merged else [])]):
        raise typer.Exit(1)


def _checked(adapter: "Adapter", merged: Path | None) -> bool:
    """Compare, print and keep the figures."""
    from assistant.adapters import PEFT
    from assistant.models import model_path
    from finetune.base import base_model
    from finetune.parity import course_texts, parity
    from finetune.training.session import hush

    hush()
    folder = base_model(adapter.base, lambda line: typer.echo(line, err=True))
    with _bar("Comparing") as tell:
        exported = None if merged else adapter.path
        found = parity(folder, adapter.folder / PEFT, model_path(adapter.base), exported, course_texts(), merged, tell)
    typer.echo("\n".join(["Merged model:", *found.lines()] if merged else found.lines()))
    _keep(adapter.folder / PARITY, "merged" if merged else "adapter", found)
    return found.passed


def _keep(path: Path, what: str, found: "Parity") -> None:
    from finetune.rows import replace_text

    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = {}
    kept[what] = asdict(found) | {"excess": found.excess, "passed": found.passed}
    replace_text(path, json.dumps(kept, indent=2) + "\n")


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
