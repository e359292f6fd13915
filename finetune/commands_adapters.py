"""`lectern finetune promote|rollback|list`: adapters, and which of them the chat answers with."""

import json
from pathlib import Path
from typing import Annotated

import typer

Target = Annotated[str, typer.Argument(metavar="RUN|ADAPTER", help="A finished training run, or an adapter of the list.")]
Base = Annotated[
    str | None, typer.Option("--base", help="The GGUF that it is for, where the run was trained on a Hugging Face folder.")
]


def add(app: typer.Typer) -> None:
    """Add the commands to `lectern finetune`."""
    app.command()(promote)
    app.command()(rollback)
    app.command("list")(list_them)


def promote(
    target: Target,
    base: Base = None,
    quick: Annotated[bool, typer.Option("--quick", help="Rehearse with a few questions; they decide nothing.")] = False,
    lessons: Annotated[
        Path | None, typer.Option("--lessons", dir_okay=False, help="Held-out lessons, one a line, in place of the run's own.")
    ] = None,
    cases: Annotated[
        Path | None,
        typer.Option(
            "--cases",
            dir_okay=False,
            exists=True,
            help="Questions about your course with known answers, not drafted ones.",
        ),
    ] = None,
    gate: Annotated[
        Path | None, typer.Option("--gate", dir_okay=False, exists=True, help="Another file than finetune/promotion.toml.")
    ] = None,
    judge: Annotated[str, typer.Option("--judge", help="As `lectern eval --judge` takes it.")] = "overlap",
    as_json: Annotated[bool, typer.Option("--json", help="Print the trial as JSON instead of a table.")] = False,
) -> None:
    """Let the chat answer with an adapter, if it is better on lessons that it has not seen.

    `lectern eval` runs on what answers now and on the candidate, with the same questions. It is promoted if groundedness rises
    by more than chance, and neither accuracy nor false refusals get worse than finetune/promotion.toml allows. A running chat
    answers with it from its next question on. The starter course is asked what evals/cases holds, another course what `lectern
    finetune data` drafted from its held-out lessons, or --cases. Exit codes: 0 promoted, 1 refused, 2 you can mend it.

    Examples:
        lectern finetune promote dpo-1

        lectern finetune promote sft-1 --quick
    """
    from rich.console import Console

    from assistant.settings import load_settings
    from finetune.promote import Wish, try_and_promote
    from finetune.trial import GATE
    from finetune.trial_text import print_trial

    settings, wish = load_settings(), Wish(target, base, lessons, quick, gate or GATE, judge, cases)
    adapter, trial = try_and_promote(settings, wish, lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo(json.dumps({"adapter": adapter.id, **trial}, indent=2))
    else:
        print_trial(adapter, trial, Console())
    if trial["passed"] and settings.model.name != adapter.base:
        typer.echo(f"Your settings name {settings.model.name}; to use it: LECTERN_MODEL__NAME={adapter.base}", err=True)
    raise typer.Exit(0 if trial["passed"] else 1)


def rollback() -> None:
    """Take the last promotion back; a running chat follows at its next question. Again: the one before.

    Example: lectern finetune rollback
    """
    from assistant.settings import load_settings
    from finetune.adapters import rollback as go_back

    taken_back, again = go_back(load_settings())
    typer.echo(f"{taken_back} is taken back; answers come from {again or 'the model by itself'} again.")


def list_them(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """Show every adapter with its base, its last trial and which one is promoted (*).

    Example: lectern finetune list
    """
    from rich.console import Console

    from assistant.adapters import check, current_id, list_adapters, promotion_log
    from assistant.settings import load_settings
    from finetune.trial_text import print_adapters
    from knowledge.errors import CourseError

    settings = load_settings()
    adapters, current, faults = list_adapters(settings), current_id(settings), {}
    for adapter in adapters:
        try:
            check(adapter, adapter.base)
        except CourseError as error:
            faults[adapter.id] = error.problem
    if as_json:
        rows = [{**each.manifest, "id": each.id, "fault": faults.get(each.id, "")} for each in adapters]
        typer.echo(json.dumps({"current": current, "adapters": rows, "history": promotion_log(settings)}, indent=2))
        return
    if not adapters:
        typer.echo("There are no adapters yet. Make one: lectern finetune data, sft, export.")
        return
    print_adapters(adapters, current, faults, Console())
