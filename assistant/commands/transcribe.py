"""`lectern transcribe`: recordings into text, on this machine."""

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from assistant.settings import Settings, VoiceSettings, load_settings
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from assistant.voice.recognise import Recogniser, Segment


def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Recordings: wav, mp3, m4a, ogg, flac, webm, or videos.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a file, on one line.")] = False,
    srt: Annotated[bool, typer.Option("--srt", help="Print subtitles; takes one file.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Print the words without times.")] = False,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Listen with these weights of `lectern models list`.")
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", "-l", help="What is spoken, such as en; empty lets the model tell.")
    ] = None,
) -> None:
    """Write down what is said in recordings. Nothing leaves this machine.

    Each line has the time at which it begins. Terms of your course are spelt as the course spells them. Where nobody speaks,
    nothing is written. It can be interrupted at any time; what was printed is right.

    Exit code: 0 everything was heard, 1 a file was skipped, 2 nothing could be done.

    Examples:
        lectern transcribe lecture.mp3 --text > lecture.txt

        lectern transcribe lecture.mp4 --srt > lecture.srt

        lectern transcribe *.m4a --json --model faster-whisper-tiny.en
    """
    if as_json + srt + text > 1:
        raise CourseError("--json, --srt and --text exclude each other.", "Give one of them.")
    if srt and len(files) > 1:
        raise CourseError("--srt takes one file.", "Call it once for each.")
    settings = load_settings()
    chosen = {"model": model, "language": language}
    voice = settings.voice.model_copy(update={key: value for key, value in chosen.items() if value is not None})
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    recogniser = _open(settings, voice, console)
    skipped = 0
    for path in files:
        try:
            segments = _heard(path, recogniser, voice, console)
            _print(path, segments, as_json, srt, text, titled=len(files) > 1)
        except CourseError as error:
            if len(files) == 1:
                raise
            skipped += 1
            console.print(f"[bold red]Skipped:[/] {escape(str(error))}")
    if skipped:
        raise typer.Exit(2 if skipped == len(files) else 1)


def _open(settings: Settings, voice: VoiceSettings, console: Console) -> "Recogniser":
    """What hears, with the spelling of the course, if it can be read; a transcript is worth something without."""
    from assistant.course import open_index
    from assistant.voice.listening import course_recogniser, recogniser
    from knowledge.index import CourseIndex

    with console.status("Loading the model"), redirect_stdout(sys.stderr):
        listener = recogniser(voice)
        try:
            return course_recogniser(voice, open_index(settings)) if CourseIndex.recorded(settings.index_dir) else listener
        except CourseError as error:
            console.print(f"[yellow]Without the spelling of the course:[/] {escape(str(error))}")
            return listener


def _heard(path: Path, recogniser: "Recogniser", voice: VoiceSettings, console: Console) -> Iterator["Segment"]:
    from assistant.voice.recordings import heard

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(f"Hearing {path.name}", total=None)
        silent = True
        for segment in heard(path, recogniser, voice, lambda at, total: progress.update(bar, completed=at, total=total)):
            silent = False
            yield segment
    if silent:
        console.print(f"{escape(path.name)}: nobody speaks in it.", style="yellow")


def _print(path: Path, segments: Iterator["Segment"], as_json: bool, srt: bool, text: bool, titled: bool) -> None:
    if as_json:
        heard = list(segments)
        rows = [
            {key: round(value, 2) if isinstance(value, float) else value for key, value in asdict(s).items()} for s in heard
        ]
        whole = " ".join(segment.text for segment in heard)
        print(json.dumps({"file": str(path), "text": whole, "segments": rows}, ensure_ascii=False), flush=True)
        return
    for number, segment in enumerate(segments, start=1):
        if titled and number == 1:
            print(f"# {path}", flush=True)
        if srt:
            span = f"{_clock(segment.start_s, ',')} --> {_clock(segment.end_s, ',')}"
            print(f"{number}\n{span}\n{segment.text}\n", flush=True)
        else:
            print(segment.text if text else f"{_clock(segment.start_s)}  {segment.text}", flush=True)


def _clock(seconds: float, thousandths: str = "") -> str:
    """Hours, minutes and seconds; with a separator, thousandths too, as SubRip writes them."""
    whole, rest = divmod(round(seconds * 1000), 1000)
    clock = f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{clock}{thousandths}{rest:03}" if thousandths else clock
