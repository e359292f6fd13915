"""What a reader drops into the page: a spoken question is heard, files become course material, with visible progress."""

import asyncio
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from assistant.web.marking import harmless_markdown, safe_markdown
from assistant.web.show import LiveMessage
from knowledge.errors import CourseError
from knowledge.loaders.recording import SOUND, is_recording

if TYPE_CHECKING:
    import chainlit as cl
    from chainlit.element import Element

    from assistant.runtime import Runtime
    from assistant.voice.recognise import Samples
    from knowledge.ingest import IngestReport, Progress

_REFRESH_S = 0.3
_LECTURES = (
    "\n\nWhat is said in a recording is course material now, and cited with its minute."
    " To ask aloud, send one of at most {} seconds without typed words."
)
_UNSAFE = re.compile(r"[^\w.() -]+")


def safe_name(name: str) -> str:
    """A file name without folders and without characters that a file system might refuse."""
    return _UNSAFE.sub("_", Path(name.replace("\\", "/")).name).strip(" .") or "file"


def keep(files: Sequence[tuple[str, Path]], folder: Path) -> list[Path]:
    """Copy uploads into `folder` under safe names; the same name in one upload gets a number, a later one replaces.

    Args:
        files: name on the reader's machine, and where the bytes are now.
        folder: made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept: list[Path] = []
    for name, path in files:
        target = folder / safe_name(name)
        count = 1
        while target in kept:
            count += 1
            target = folder / f"{Path(safe_name(name)).stem}-{count}{target.suffix}"
        shutil.copyfile(path, target)
        kept.append(target)
    return kept


async def take_in(runtime: "Runtime", message: "cl.Message", stop: Event) -> None:
    """Take in what comes with a message. One short recording without typed words is its question; the rest is course material.

    The transcript becomes the message's text, to be answered, and to be corrected like a typed one.

    Raises:
        CourseError: nothing was said, or it was hard to understand; or as `take` and `hear_question` say.
    """
    files = [element for element in message.elements if element.path]
    spoken = None if message.content.strip() else await _spoken_question(runtime, files)
    if material := [element for element in files if spoken is None or element is not spoken[0]]:
        await take(runtime, material, stop)
    if spoken and not stop.is_set():
        await _hear(runtime, message, *spoken)


async def _spoken_question(runtime: "Runtime", files: "Sequence[Element]") -> "tuple[Element, Samples] | None":
    """The one file that is a short recording, with its sound; None if there is none or are several."""
    from assistant.voice.recordings import short_recording

    found: list[tuple[Element, Samples]] = []
    for element in files:
        if element.path and Path(element.name).suffix.lower() in SOUND:
            samples = await asyncio.to_thread(short_recording, Path(element.path), runtime.settings.voice)
            if samples is not None:
                found.append((element, samples))
    return found[0] if len(found) == 1 else None


async def _hear(runtime: "Runtime", message: "cl.Message", element: "Element", samples: "Samples") -> None:
    from assistant.voice.recordings import hear_question

    settings, name = runtime.settings.voice, safe_name(element.name)
    note = LiveMessage()
    note.message.content = f"*Listening to {name}*"
    await note.send()
    try:
        heard = await asyncio.to_thread(hear_question, samples, settings, runtime.index)
        if not heard.text.strip():
            raise CourseError(f"There is no speech in {name}.", "Record it again, nearer to the microphone.")
    except BaseException:
        await note.message.remove()
        raise
    message.content = heard.text
    # Or an edit of the question, which then has typed words, would make course material of the recording.
    message.elements = [other for other in message.elements if other is not element]
    await message.update()
    await note.change(f"**{name}** was taken as a question. With typed words, it becomes course material.", streaming=False)
    if heard.confidence < settings.sure:
        raise CourseError("That was hard to understand.", "Correct the question above and send it, or record it again.")


async def take(runtime: "Runtime", elements: Sequence["Element"], stop: Event) -> None:
    """Keep and ingest the files of a message, and report what became of each.

    Raises:
        CourseError: the index is being written by another process.
    """
    from assistant.guards import inspector
    from assistant.voice.recordings import transcriber
    from knowledge.calibration import recalibrate_if_stale
    from knowledge.ingest import ingest

    settings = runtime.settings
    uploads = [(element.name, Path(element.path)) for element in elements if element.path]
    message = LiveMessage("Ingest", phase="reading", progress=None)
    await message.send()
    latest: list[Progress] = []
    try:
        inspect, transcribe = inspector(settings.policy_file), transcriber(settings.voice, runtime.index)
        paths = await asyncio.to_thread(keep, uploads, settings.uploads_dir)
        work = asyncio.create_task(
            asyncio.to_thread(ingest, runtime.index, paths, latest.append, stop, settings.chunking, inspect, transcribe)
        )
        while not work.done():
            await asyncio.wait({work}, timeout=_REFRESH_S)
            if latest:
                await message.change(progress=asdict(latest[-1]) | {"file": latest[-1].name})
                latest.clear()
        report = work.result()
        if report.added or report.replaced:
            await asyncio.to_thread(recalibrate_if_stale, runtime.index, settings.retrieval)
    except BaseException:
        stop.set()  # a cancelled task must not leave the embedder at work
        await message.message.remove()
        raise
    for skipped in report.skipped:
        Path(skipped.path).unlink(missing_ok=True)  # our copy; a file that says nothing need not be kept
    taken = any(is_recording(Path(source)) for source in (*report.added, *report.replaced))
    text = describe(report) + (_LECTURES.format(settings.voice.longest_s) if taken else "")
    await message.change(text, streaming=False, phase="done")


def describe(report: "IngestReport") -> str:
    """An ingest's outcome in Markdown: one sentence, then a line for each file that was not taken or should be looked at."""
    counts = [(len(report.added), "added"), (len(report.replaced), "replaced"), (report.unchanged, "unchanged")]
    parts = [f"{_files(count)} {what}" for count, what in counts if count] or ["Nothing added"]
    passages = f", {report.passages} passages in {report.seconds:.0f} s" if report.passages else ""
    lines = [f"{', '.join(parts)}{passages}.{' Stopped before the end.' if report.stopped else ''}"]
    if report.skipped:
        lines.append("\nNot taken:\n")
        # A parser's complaint may quote the file.
        lines += [
            f"- **{Path(skipped.path).name}**: {safe_markdown(harmless_markdown(skipped.reason))}" for skipped in report.skipped
        ]
    if report.suspects:
        lines.append("\nPlease look at:\n")  # as code: what a file says must not become a link or a picture
        lines += [f"- **{Path(suspect.path).name}**: `{suspect}`" for suspect in report.suspects]
    return "\n".join(lines)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
