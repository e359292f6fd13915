"""`lectern history`: what was asked, what was answered, what readers thought of it."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assistant.history import History, TurnRecord
from assistant.settings import load_settings
from assistant.voice.kept import forget, sounds
from knowledge.errors import CourseError

app = typer.Typer(
    help="Show, judge, export and delete past turns. They are kept in one file on this machine.", no_args_is_help=True
)
_THUMBS = {1: "up", 0: "down", None: ""}


def _history() -> History:
    return History(load_settings().history_file)


@app.command("list")
def list_turns(limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, newest first.")] = 20) -> None:
    """Show the newest turns, one a line.

    Example: lectern history list --limit 50
    """
    table = Table("id", "asked", "question", "answer", "thumb", box=None, header_style="bold")
    turns = _history().turns(limit)
    for turn in turns:
        outcome = f"[yellow]refused: {turn.refused}[/]" if turn.refused else escape(_short(turn.answer, 60) or "stopped")
        table.add_row(
            turn.id[:8], turn.asked_at[:16].replace("T", " "), escape(_short(turn.question, 50)), outcome, _THUMBS[turn.value]
        )
    Console().print(table if turns else 'No turns yet. Ask something: lectern ask "..."')


@app.command("show")
def show_turn(turn: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")]) -> None:
    """Show everything that is known of one turn, as JSON.

    Example: lectern history show 3f2a
    """
    Console().print_json(data=_as_json(_history().find(turn)))


@app.command("export")
def export() -> None:
    """Print all turns as JSON lines, oldest first: lectern history export > turns.jsonl."""
    for turn in reversed(_history().turns()):
        print(json.dumps(_as_json(turn), ensure_ascii=False))


@app.command("rate")
def rate(
    turn: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
    thumb: Annotated[str, typer.Argument(help="up, down or none")],
    comment: Annotated[str | None, typer.Option("--comment", "-c", help="Why.")] = None,
) -> None:
    """Judge an answer, or take the judgement back with `none`.

    Example: lectern history rate 3f2a down --comment "wrong page"
    """
    history = _history()
    turn_id = history.find(turn).id
    if thumb == "none":
        history.unrate(turn_id)
    elif thumb in ("up", "down"):
        history.rate(turn_id, int(thumb == "up"), comment)
    else:
        raise CourseError(f"A thumb is up, down or none, not {thumb!r}.", f"For example: lectern history rate {turn} up")


@app.command("delete")
def delete(
    turns: Annotated[list[str] | None, typer.Argument(help="Ids, or the beginnings of them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete every turn.")] = False,
) -> None:
    """Delete turns for good, with their feedback and, where it was kept, the sound of what was asked.

    Example: lectern history delete 3f2a 91bc
    """
    if bool(turns) == everything:
        raise CourseError("Give either turn ids or --all.", "See: lectern history list")
    history = _history()
    ids = None if everything else [history.find(turn).id for turn in turns or []]
    forget(sounds(load_settings().data_dir), ids)  # first: if it fails, the turns still tell what is to be deleted
    count = history.delete(ids)
    Console().print(f"{count} deleted.")


def _as_json(turn: TurnRecord) -> dict[str, Any]:
    feedback = None if turn.value is None else {"thumb": _THUMBS[turn.value], "comment": turn.comment}
    about = {"id": turn.id, "conversation": turn.conversation, "asked_at": turn.asked_at, "feedback": feedback}
    return {**turn.record, **about}


def _short(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
