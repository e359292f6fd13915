"""`lectern screen`, `lectern check` and `lectern guard`: what the guards would say, and what they have done."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from knowledge.errors import CourseError

if TYPE_CHECKING:
    from course_guard.grounding import Support
    from course_guard.question import Screening

app = typer.Typer(help="What the guards have done, and what they are told to do.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
_PASSAGES = 30  # of the file, the best by BM25: to embed the sentences of a whole book would take minutes


def screen(
    text: Annotated[str, typer.Argument(help="A question, in quotes; - reads it from standard input.")],
    as_json: AsJson = False,
) -> None:
    """Say what the guards make of a question, without asking it. Nothing is kept.

    Exit code: 0 when it may pass, 1 when it is blocked.

    Examples:
        lectern screen "What is SQL injection?"

        lectern screen - --json < question.txt
    """
    screening = _screened(_typed(text))
    if as_json:
        _print_json(_screening_json(screening))
    else:
        _show_screening(screening)
    raise typer.Exit(1 if screening.blocked else 0)


def check(
    claim: Annotated[str, typer.Argument(help="One sentence, in quotes; - reads it from standard input.")],
    source: Annotated[
        Path, typer.Option("--source", "-s", help="The file that should support it, of any format of the course.")
    ],
    as_json: AsJson = False,
) -> None:
    """Say whether a file supports a claim, by the check that every sentence of an answer goes through.

    Exit code: 0 when it does, 1 when it does not.

    Examples:
        lectern check "Dropout is switched off at test time." --source lecture7.pdf

        lectern check "Each unit is kept with probability 0.5." -s notes.md --json
    """
    support = _supported(_typed(claim), source)
    if as_json:
        from assistant.answer import citation_json

        citation = citation_json(support.citations[0]) if support.citations else None
        _print_json(
            {
                "supported": bool(support.citations),
                "probability": round(support.probability, 3),
                "citation": citation,
                "reason": support.reason or None,
            }
        )
    else:
        _show_support(support)
    raise typer.Exit(0 if support.citations else 1)


@app.command("policy")
def show_policy(as_json: AsJson = False) -> None:
    """Show what follows from a finding of each rule, and whether Lectern or your own file says so.

    Example: lectern guard policy
    """
    from assistant.settings import load_settings
    from course_guard.policy import load_policy, own_values

    file = load_settings().policy_file
    policy, own = load_policy(file), own_values(file)
    rows = {name: table.model_dump(mode="json") for name, table in policy.rules().items()}
    yours = {name: _own_keys(own, name) for name in rows}
    if as_json:
        said = {
            name: {key: {"value": value, "from": str(file) if key in yours[name] else "lectern"} for key, value in row.items()}
            for name, row in rows.items()
        }
        _print_json(said)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    for name, row in rows.items():
        line = Text(f"{name:<19}", "bold")
        for key, value in row.items():
            if key == "message":
                continue
            line.append(f" {value}" if key == "action" else f", {key} {value:g}", "" if key in yours[name] else "dim")
            line.append("*" if key in yours[name] else "", "cyan")
        console.print(line)
        star = "* " if "message" in yours[name] else ""
        console.print(Text(f"    {star}{row['message'] or '{reason}'}", "" if star else "dim"))
    state = "" if file.is_file() else ", which is not there"
    console.print(Text(f"\n* from {file}{state}; all else is Lectern's own."))


@app.command("report")
def report(
    days: Annotated[int | None, typer.Option("--days", "-d", min=1, help="Only the turns of the last days.")] = None,
    as_json: AsJson = False,
) -> None:
    """Sum up what the guards have done: blocks, warnings, what shadow rules would have done, appeals, time taken.

    An appeal is a thumb down on a question that a rule refused: `lectern history rate ID down --comment "..."`, or the thumb
    in the page. A rule with many appeals wants a higher threshold, or shadow, in your policy.toml.

    Examples:
        lectern guard report --days 7

        lectern guard report --json
    """
    from assistant.commands.guard_report import show_report, summed_up
    from assistant.history import History
    from assistant.settings import load_settings

    summary = summed_up(History(load_settings().history_file).turns(), days)
    if as_json:
        _print_json(summary)
    else:
        show_report(summary)


def _typed(text: str) -> str:
    """What is meant: the text itself, or standard input for "-"; bytes that are no text become question marks."""
    typed = sys.stdin.buffer.read().decode("utf-8", "replace") if text == "-" else text.encode("utf-8", "replace").decode()
    if not typed.strip():
        raise CourseError("The text is empty.", "Type one in quotes, or give - and pipe it in.")
    return typed.removesuffix("\n")


def _screened(text: str) -> "Screening":
    from rich.console import Console

    from assistant.settings import load_settings
    from course_guard.policy import load_policy

    settings = load_settings()
    policy = load_policy(settings.policy_file)
    with Console(stderr=True).status("Loading the guards"), redirect_stdout(sys.stderr):
        from assistant.models import model_path
        from course_guard.question import question_screen
        from knowledge.embedding import SentenceEmbedder

        embedder = SentenceEmbedder(model_path(settings.embedder))
        return question_screen(embedder, policy).screen(text)


def _supported(claim: str, source: Path) -> "Support":
    from rich.console import Console

    from assistant.models import model_path
    from assistant.runtime import chat_model
    from assistant.settings import load_settings
    from course_guard.verifier import make_verifier
    from knowledge.chunking import chunk
    from knowledge.embedding import SentenceEmbedder
    from knowledge.lexical import LexicalIndex
    from knowledge.loaders.load import load

    settings = load_settings()
    document = load(source)
    with Console(stderr=True).status("Reading the file"), redirect_stdout(sys.stderr):
        embedder = SentenceEmbedder(model_path(settings.embedder))
        _, passages = chunk(document, embedder.count_tokens, settings.chunking)
        if not passages:
            raise CourseError(f"{source} has no text to check against.", "Give a file that has some.")
        if len(passages) > _PASSAGES:
            lexical = LexicalIndex([passage.id for passage in passages], [passage.searchable for passage in passages])
            best = {id_ for id_, _ in lexical.search(claim, _PASSAGES)}
            passages = [passage for passage in passages if passage.id in best] or passages[:_PASSAGES]
        model = chat_model(settings) if settings.grounding.verifier == "reread" else None
        return make_verifier(settings.grounding, embedder, model=model).against(passages, "").check(claim)


def _screening_json(screening: "Screening") -> dict[str, Any]:
    """allowed, rule, reason and spans of the verdict that counts; then what would be kept of the text, and every verdict."""
    from assistant.answer import verdict_json

    decisive = screening.blocked or next(iter(screening.warnings), None)
    return {
        "allowed": screening.blocked is None,
        "rule": decisive.rule if decisive else None,
        "reason": decisive.reason if decisive else None,
        "spans": list(decisive.spans) if decisive else [],
        "text": screening.text,
        "verdicts": [verdict_json(verdict) for verdict in screening.verdicts],
    }


def _show_screening(screening: "Screening") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    console.print(Text("Blocked.", "bold red") if screening.blocked else Text("It may pass.", "green"))
    for verdict in screening.verdicts:
        note = ", in shadow: nothing follows" if verdict.action == "shadow" else ""
        console.print(Text.assemble((verdict.rule, "cyan"), f" ({verdict.score:.2f}{note}): {verdict.reason}"))
    if screening.originals:
        console.print(Text.assemble("It goes on as: ", screening.text))


def _show_support(support: "Support") -> None:
    from rich.console import Console
    from rich.text import Text

    from assistant.commands.show import place

    console = Console(soft_wrap=True)
    said = Text("Supported", "green") if support.citations else Text("Not supported", "yellow")
    console.print(said.append(f" (probability {support.probability:.2f}). {support.reason}".rstrip()))
    for citation in support.citations:
        console.print(Text(f"  {place(citation.passage)}: {citation.quote}"))


def _own_keys(own: dict[str, Any], name: str) -> set[str]:
    """The keys of a rule's table that the teacher's file sets."""
    kind, rule = name.split(".")
    return set(own.get(kind, {}).get(rule, {}))


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)
