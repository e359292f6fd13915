"""`lectern ask` and `lectern chat`: questions in the terminal."""

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer
from rich.console import Console
from rich.progress import track

from assistant.answer import Answer, collect
from assistant.commands.show import show
from assistant.events import Exchange, Turn, TurnEvent
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from assistant.runtime import Runtime

Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Answer with this model of `lectern models list`, or a .gguf file.")
]
Sources = Annotated[
    int | None,
    typer.Option("--sources", "-s", min=1, max=100, help="How many of the best passages to draw on."),
]


def ask(
    question: Annotated[str | None, typer.Argument(help="Your question, in quotes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    batch: Annotated[
        Path | None,
        typer.Option("--batch", help="A file with one question a line (- for standard input); prints one object a line."),
    ] = None,
    model: Model = None,
    sources: Sources = None,
) -> None:
    """Ask one question and get a cited answer, or an honest refusal.

    Examples:
        lectern ask "What does dropout do during training?"

        lectern ask "Who proposed LoRA?" --json

        lectern ask --batch questions.txt > answers.jsonl
    """
    if (question is None) == (batch is None):
        raise CourseError("Give either a question or --batch FILE.", 'For example: lectern ask "What is an eigenvalue?"')
    questions = [_readable(question)] if question is not None else _questions(batch or Path("-"))
    ready = open_course(model)
    if batch is not None:
        progress = track(questions, description="Answering", console=Console(stderr=True), disable=not sys.stderr.isatty())
        for text in progress:
            _print_json(ready, text, sources)
    elif as_json:
        _print_json(ready, questions[0], sources)
    else:
        show(ready.stream(_turn(ready, questions[0], uuid4().hex, sources=sources)), Console())


def _readable(question: str) -> str:
    if not question.strip():
        raise CourseError("The question is empty.", "Type one in quotes.")
    return question.encode("utf-8", "replace").decode()  # the shell may pass bytes that are no text


def chat(model: Model = None, sources: Sources = None) -> None:
    """Talk with the course in the terminal; follow-up questions are understood.

    /new starts afresh, /up and /down judge the last answer, /quit leaves. Ctrl-C stops an answer.

    Example: lectern chat --sources 3
    """
    console = Console()
    ready = open_course(model)
    ready.read_ahead()
    conversation, last = uuid4().hex, None
    earlier: tuple[Exchange, ...] = ()
    console.print(f"Ask about the course ({len(ready.index.sources())} documents). /new, /up, /down, /quit.", style="dim")
    while True:
        try:
            text = console.input("\n[bold]> [/]").strip()
        except (EOFError, KeyboardInterrupt):
            console.print()
            return
        match text.split(maxsplit=1):
            case []:
                continue
            case ["/quit" | "/exit"]:
                return
            case ["/new"]:
                conversation, earlier, last = uuid4().hex, (), None
                console.print("New conversation.", style="dim")
            case ["/up" | "/down" as thumb, *comment]:
                if last is None:
                    console.print("There is no answer to judge yet.", style="yellow")
                else:
                    ready.history.rate(last, int(thumb == "/up"), comment[0] if comment else None)
                    console.print("Kept.", style="dim")
            case _ if text.startswith("/"):
                console.print("Commands: /new, /up [comment], /down [comment], /quit.", style="yellow", markup=False)
            case _:
                turn = _turn(ready, text, conversation, earlier, sources)
                answer = _answer(ready, turn, console)
                last = answer.done.turn_id if answer.done else None
                if answer.done and answer.done.exchange:
                    earlier = (*earlier, answer.done.exchange)


def _turn(
    ready: "Runtime", question: str, conversation: str, earlier: tuple[Exchange, ...] = (), sources: int | None = None
) -> Turn:
    """In the terminal nobody else asks: the setting is the consent."""
    return Turn(question, conversation, earlier, sources, consent=ready.settings.finetune.conversations)


def _answer(ready: "Runtime", turn: Turn, console: Console) -> Answer:
    """Show a turn while gathering it; Ctrl-C stops the answer, not the conversation."""
    answer = Answer(turn)

    def gathered() -> Iterator[TurnEvent]:
        for event in ready.stream(turn):
            answer.add(event)
            yield event

    try:
        show(gathered(), console)
    except KeyboardInterrupt:
        turn.stop.set()
        console.print("\nStopped.", style="yellow")
    return answer


def open_course(model: str | None) -> "Runtime":
    """The runtime with its weights loaded; says so meanwhile.

    Raises:
        CourseError: the course is empty, or weights are missing.
    """
    with Console(stderr=True).status("Loading the index and the model"), redirect_stdout(sys.stderr):
        from assistant.runtime import runtime, warm

        ready = runtime()
        if not ready.index.sources():
            raise CourseError("The course is empty.", "Add material: lectern ingest --starter, or lectern ingest PATH...")
        if model is not None:
            ready.choose_model(model)
        warm(ready)
    return ready


def _print_json(ready: "Runtime", question: str, sources: int | None) -> None:
    with redirect_stdout(sys.stderr):  # whatever a library prints, standard output is for our JSON
        turn = _turn(ready, question, uuid4().hex, sources=sources)
        answer = collect(turn, ready.stream(turn))
    print(json.dumps(answer.as_json(), ensure_ascii=False), flush=True)


def _questions(path: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} cannot be read: {error}.", "Give a UTF-8 text file with one question a line.") from error
    questions = [line.strip() for line in text.splitlines() if line.strip()]
    if not questions:
        raise CourseError(f"{path} has no questions.", "Write one a line.")
    return questions
