"""`lectern ingest` and `lectern sources`: what the course consists of."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from assistant.settings import load_settings
from knowledge.errors import CourseError
from knowledge.ingest import STARTER_COURSE, IngestReport
from knowledge.ingest import Progress as IngestProgress

_LONGEST_NAME = 40
sources = typer.Typer(help="List and remove the documents of the course.", no_args_is_help=True)


def ingest(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files, or folders to take recursively.")] = None,
    starter: Annotated[bool, typer.Option("--starter", help="Take the course that ships with Lectern.")] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Throw the index away first; without paths, take again every file that is in it."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Add course material: Markdown, text, HTML, PDF, DOCX, PPTX, EPUB, notebooks, CSV, source code, recordings.

    Files that have not changed cost nothing, changed ones replace their passages, bad ones are named and skipped. It can be
    interrupted at any time: the course stays usable, and the same command goes on from there. Recordings (wav, mp3, m4a, ogg,
    opus, flac, webm, aac, mp4, mkv) need `make voice` once; what is said in them is cited with its minute.

    Exit code: 0 everything was taken, 1 something was skipped, 2 nothing could be done.

    Examples:
        lectern ingest --starter

        lectern ingest ~/lectures slides.pdf

        lectern ingest lecture.mp3

        lectern ingest --rebuild  # after a change of the embedder, or of Lectern
    """
    from assistant.course import recorded_files

    wanted = [*([STARTER_COURSE] if starter else []), *(paths or [])]
    if rebuild and not wanted:
        wanted = recorded_files(load_settings())
    if not wanted:
        raise CourseError("Nothing to ingest.", "Give files or folders, or --starter for the course that ships with Lectern.")
    if rebuild and (missing := next((path for path in wanted if not path.exists()), None)):
        raise CourseError(f"There is no {missing}, so the index was left as it is.", "Give the paths that there are.")
    console = Console(stderr=True)
    report = _run(wanted, rebuild, console)
    if as_json:
        print(json.dumps(_as_json(report), ensure_ascii=False))
    else:
        _print_report(report, console)
    raise typer.Exit(1 if report.skipped else 0)


def _run(paths: list[Path], rebuild: bool, console: Console) -> IngestReport:
    from assistant.course import open_index
    from assistant.guards import inspector
    from assistant.voice.recordings import transcriber
    from knowledge.calibration import recalibrate_if_stale
    from knowledge.ingest import ingest as run

    settings = load_settings()
    index = open_index(settings, anew=rebuild)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[files]}"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task("Reading", total=None, files="", rate="")

        def tell(progress: IngestProgress) -> None:
            _advance(bar, task, progress)

        inspect, transcribe = inspector(settings.policy_file), transcriber(settings.voice, index)
        report = run(index, paths, tell, chunking=settings.chunking, inspect=inspect, transcribe=transcribe)
    if (report.added or report.replaced) and not report.stopped:
        recalibrate_if_stale(index, settings.retrieval)
    return report


def _advance(bar: Progress, task: TaskID, progress: IngestProgress) -> None:
    rate = f"{progress.passages} passages"
    if progress.passages_per_s:
        rate += f", {progress.passages_per_s:.0f}/s"
    if progress.remaining_s is not None:
        rate += f", {progress.remaining_s:.0f} s left"
    name = progress.name if len(progress.name) <= _LONGEST_NAME else f"\u2026{progress.name[1 - _LONGEST_NAME :]}"
    files = f"{progress.done_files}/{progress.total_files} files"
    heard = progress.heard_s / progress.recording_s if progress.recording_s else 0.0
    done = progress.done_files + heard
    bar.update(task, description=escape(name), completed=done, total=progress.total_files, files=files, rate=rate)


def _print_report(report: IngestReport, console: Console) -> None:
    rate = f", {report.passages / report.seconds:.0f}/s" if report.passages and report.seconds else ""
    console.print(
        f"{len(report.added)} added, {len(report.replaced)} replaced, {report.unchanged} unchanged, "
        f"{len(report.skipped)} skipped; {report.passages} passages in {report.seconds:.1f} s{rate}.",
        highlight=False,
    )
    for skipped in report.skipped:
        console.print(f"  [yellow]skipped[/] {escape(skipped.path)}: {escape(skipped.reason)}", highlight=False, soft_wrap=True)
    for suspect in report.suspects:
        console.print(f"  [yellow]look at[/] {escape(suspect.path)}: {escape(str(suspect))}", highlight=False, soft_wrap=True)


def _as_json(report: IngestReport) -> dict[str, object]:
    return {
        "added": report.added,
        "replaced": report.replaced,
        "unchanged": report.unchanged,
        "skipped": [{"path": s.path, "reason": s.reason} for s in report.skipped],
        "suspects": [asdict(suspect) for suspect in report.suspects],
        "passages": report.passages,
        "seconds": round(report.seconds, 2),
    }


@sources.command("list")
def list_sources(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every document with its number of passages.

    Example: lectern sources list --json
    """
    from assistant.course import open_index

    infos = open_index(load_settings()).sources()
    if as_json:
        print(json.dumps([{"source": i.source, "title": i.title, "passages": i.passages, "tokens": i.tokens} for i in infos]))
        return
    table = Table("title", "source", "passages", "added", box=None, header_style="bold")
    for info in infos:
        table.add_row(escape(info.title), escape(info.source), str(info.passages), info.added_at[:10])
    console = Console()
    console.print(table if infos else "The course is empty. Add material: lectern ingest --starter, or lectern ingest PATH...")


@sources.command("remove")
def remove_source(
    names: Annotated[list[str], typer.Argument(help="Sources as `lectern sources list` shows them, or their titles.")],
) -> None:
    """Forget documents; the files themselves are left alone. A name that is unknown or not unique removes nothing.

    Example: lectern sources remove course/09-clustering.md
    """
    from assistant.course import open_index
    from knowledge.calibration import recalibrate_if_stale

    settings = load_settings()
    index = open_index(settings)
    infos, wanted = index.sources(), list[str]()
    for name in names:
        matching = [info.source for info in infos if name in (info.source, info.title)]
        if len(matching) != 1:
            raise CourseError(f"{len(matching) or 'No'} sources are called {name!r}.", "See: lectern sources list")
        wanted += matching
    for source in dict.fromkeys(wanted):
        index.remove(source)
        Console().print(f"Removed {source}.", highlight=False, markup=False)
    recalibrate_if_stale(index, settings.retrieval)
