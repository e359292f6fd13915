"""`lectern finetune data` and `lectern finetune rows`: what a model learns from, and a look at it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from knowledge.errors import CourseError

if TYPE_CHECKING:
    from assistant.settings import Settings
    from finetune.data.build import Tell, Wanted
    from finetune.data.decontaminate import AnyRow
    from finetune.data.samples import Sampler

_KINDS = ("oracle", "removed", "contradicted", "follow_up", "plain", "answer", "refusal", "thumb")


def add(app: typer.Typer) -> None:
    """Add the commands of this part to `lectern finetune`."""
    app.command("data")(data)
    app.command("rows")(rows)


def data(
    count: Annotated[int, typer.Option("--rows", min=20, max=100_000, help="Rows of questions and answers, at most.")] = 500,
    pairs: Annotated[int, typer.Option(min=0, max=100_000, help="Preference pairs, at most; half of them decline.")] = 200,
    samples: Annotated[
        int, typer.Option(min=0, help="Prompts that the served model answers four times, for pairs of its own words. Slow.")
    ] = 0,
    questions: Annotated[
        int, typer.Option(min=0, help="Sentences about which the chat model writes a question, as people do. Slow.")
    ] = 0,
    answers: Annotated[
        int, typer.Option(min=0, help="Rows whose answer the chat model writes, if the check lets all of it pass. Slow.")
    ] = 0,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Ask this model instead of the served one.")] = None,
    seed: Annotated[int, typer.Option(help="The same course and seed give the same rows and held-out lessons.")] = 0,
    held: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the lessons that is kept from training.")] = 0.33,
    sections: Annotated[float, typer.Option(min=0, max=1, help="Share of the prompts that have a whole section.")] = 0.2,
    folder: Annotated[
        Path | None, typer.Option("--data", help="Folder of public test sets; rows that stand in one are left out.")
    ] = None,
    evidence: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Make rows to train on from the course, and from the thumbs of those who allow it.

    Every question is asked of the assistant itself, so each row has the prompt of production with the search's own distractors;
    its answer is kept only if the check of support lets every sentence through. Kinds: oracle (the answer is there), removed
    (it is not, so decline), contradicted (an unchecked source says otherwise), follow_up, plain (help with finding one's way);
    answer, refusal and thumb are preference pairs. Whole lessons are held out, and nothing that evals/cases ask is left in.

    Without --questions, --answers and --samples no model is asked and it takes about a minute. With them, Ctrl-C loses nothing:
    run it again to go on.

    Conversations count only where the reader's switch, or finetune.conversations in the settings, said so at the time. Personal
    data is masked. A thumbs-down whose comment is an answer that the course supports becomes a pair with that answer.

    Exit code: 0 done, 2 the course is empty or something is missing.

    Examples:
        lectern finetune data

        lectern finetune data --questions 400  # questions as people ask them, not only as rules do: about twenty minutes

        lectern finetune data --rows 330 --answers 250  # answers in the chat model's words: a quarter of an hour

        lectern finetune data --samples 40  # about 160 answers of the served model, for pairs of its own words

        lectern finetune data --rows 200 --seed 7 --data ~/public-sets
    """
    from assistant.settings import load_settings
    from finetune.data.build import Wanted

    settings = load_settings()
    wanted = Wanted(count, questions, answers, pairs, samples, seed, held, sections, folder)
    console = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total or None)
            progress.update(tasks[what], completed=done)

        manifest = _build(settings, wanted, model, tell)
    if evidence:
        import json

        print(json.dumps(manifest, ensure_ascii=False))
    else:
        _tell_manifest(manifest, Console())


def _build(settings: "Settings", wanted: "Wanted", model: str | None, tell: "Tell") -> dict[str, Any]:
    from assistant.course import open_index
    from assistant.history import History
    from finetune.data.build import make_pairs, make_rows, open_course
    from finetune.data.conversations import gather
    from finetune.data.decontaminate import read_cases
    from finetune.data.imitated import imitated
    from finetune.data.production import Production
    from finetune.data.reworded import reworded
    from finetune.data.save import save
    from finetune.rows import data_folder, read_rejected

    tell("Opening the course", 0, 0)
    folder = data_folder(settings.finetune_dir)
    skip, cases = frozenset(row.id for row in read_rejected(folder)), read_cases()
    index = open_index(settings)
    production = Production(index, settings)
    asks = wanted.samples or wanted.questions or wanted.answers
    sampler, name = _sampler(settings, folder, model) if asks else (None, "")
    course, asked = open_course(production, cases, wanted, sampler, tell)
    made = make_rows(course, asked, skip, tell)
    if sampler and wanted.answers:
        made = reworded(production, made, sampler, name, wanted.answers, course.held, skip, tell)
    pairs = make_pairs(course, made, sampler, name, skip, tell)
    said = gather(production, History(settings.history_file).turns() if settings.history_file.exists() else [])
    about = {
        "index": {"generation": index.catalogue.generation, "embedder": index.embedder.identity},
        "questions": len(asked),
        "sampled": name or None,
        "verifier": settings.grounding.verifier,
        "judgements_left_out": dict(said.left_out),
        "decontamination": dict(course.left_out),
    }
    rows: list[AnyRow] = [*(one.row for one in imitated(made)), *pairs, *said.pairs, *said.thumbs]
    return save(folder, rows, course.held, cases, wanted, about, lambda file: tell("Comparing with public sets", 0, 0))


def _sampler(settings: "Settings", folder: Path, model: str | None) -> "tuple[Sampler, str]":
    """The model to sample, with the adapter that it is served with, and how it is called."""
    from assistant.adapters import chosen_adapter, label
    from assistant.llm.backend import make_model
    from finetune.data.samples import Sampler

    name = model or settings.model.name
    adapter = chosen_adapter(settings, name)
    chat = make_model(settings, name, adapter.path if adapter else None)
    called = label(name, adapter)
    return Sampler(folder, chat, f"{called} {adapter.sha256 if adapter else ''}", settings.answer.max_tokens), called


def _tell_manifest(manifest: dict[str, Any], console: Console) -> None:
    table = Table("file", "rows", "of these", box=None, header_style="bold")
    for name, kinds in manifest["counts"].items():
        table.add_row(name, str(sum(kinds.values())), ", ".join(f"{number} {kind}" for kind, number in kinds.items()))
    console.print(table)
    for why, number in (manifest["decontamination"] | manifest["judgements_left_out"]).items():
        console.print(f"Left out: {number}, {why}.", style="dim", highlight=False)
    console.print(
        f"{len(manifest['held_lessons'])} lessons are held out. Look at samples: lectern finetune rows --html rows.html"
    )


def rows(
    kind: Annotated[str | None, typer.Option("--kind", "-k", help=f"Only these: {', '.join(_KINDS)}.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many of each kind.")] = 3,
    reject: Annotated[
        list[str] | None,
        typer.Option("--reject", help="Take this row out for good: its id or the beginning of it. Repeatable."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with samples of every kind to this file.")] = None,
) -> None:
    """Look at the rows that a model would learn from, with their evidence, and reject bad ones.

    A rejected row stays rejected when the rows are made anew.

    Examples:
        lectern finetune rows --kind contradicted

        lectern finetune rows --html rows.html --limit 20

        lectern finetune rows --reject 3f2a --reject 91bc
    """
    from assistant.settings import load_settings
    from finetune.data.review import page, sampled, shown
    from finetune.data.save import all_rows
    from finetune.data.save import reject as reject_rows
    from finetune.rows import data_folder, read_rejected, replace_text

    if kind is not None and kind not in _KINDS:
        raise CourseError(f"There are no rows of kind {kind}.", f"Kinds: {', '.join(_KINDS)}.")
    folder, console = data_folder(load_settings().finetune_dir), Console()
    if reject:
        for id_ in reject_rows(folder, reject):
            console.print(f"{id_} is rejected.", highlight=False)
        return
    chosen = sampled(all_rows(folder), kind, limit)
    if html is not None:
        replace_text(html, page(chosen, [row for row in read_rejected(folder) if kind is None or kind in _kinds(row)]))
        console.print(f"{html} is written.", highlight=False)
        return
    for title, found in chosen.items():
        console.print(f"\n[bold]{escape(title)}[/]")
        for row in found:
            console.print(escape(shown(row)), highlight=False)


def _kinds(row: Any) -> tuple[str, ...]:
    return (getattr(row, "kind", "thumb"),)
