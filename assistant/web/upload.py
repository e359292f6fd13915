"""Files that a reader drops into the page: kept in the data folder, then ingested with visible progress."""

import asyncio
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from assistant.web.show import LiveMessage

if TYPE_CHECKING:
    from chainlit.element import Element

    from assistant.runtime import Runtime
    from knowledge.ingest import IngestReport, Progress

_REFRESH_S = 0.3
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


async def take(runtime: "Runtime", elements: Sequence["Element"], stop: Event) -> None:
    """Keep and ingest the files of a message, and report what became of each.

    Raises:
        CourseError: the index is being written by another process.
    """
    from assistant.guards import inspector
    from knowledge.calibration import recalibrate_if_stale
    from knowledge.ingest import ingest

    settings = runtime.settings
    uploads = [(element.name, Path(element.path)) for element in elements if element.path]
    message = LiveMessage("Ingest", phase="reading", progress=None)
    await message.send()
    latest: list[Progress] = []
    try:
        paths = await asyncio.to_thread(keep, uploads, settings.uploads_dir)
        work = asyncio.create_task(
            asyncio.to_thread(
                ingest, runtime.index, paths, latest.append, stop, settings.chunking, inspector(settings.policy_file)
            )
        )
        while not work.done():
            await asyncio.wait({work}, timeout=_REFRESH_S)
            if latest:
                await message.change(progress=asdict(latest[-1]) | {"file": Path(latest[-1].file).name})
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
    await message.change(describe(report), streaming=False, phase="done")


def describe(report: "IngestReport") -> str:
    """An ingest's outcome in Markdown: one sentence, then a line for each file that was not taken or should be looked at."""
    counts = [(len(report.added), "added"), (len(report.replaced), "replaced"), (report.unchanged, "unchanged")]
    parts = [f"{_files(count)} {what}" for count, what in counts if count] or ["Nothing added"]
    passages = f", {report.passages} passages in {report.seconds:.0f} s" if report.passages else ""
    lines = [f"{', '.join(parts)}{passages}.{' Stopped before the end.' if report.stopped else ''}"]
    if report.skipped:
        lines.append("\nNot taken:\n")
        lines += [f"- **{Path(skipped.path).name}**: {skipped.reason}" for skipped in report.skipped]
    if report.suspects:
        lines.append("\nPlease look at:\n")  # as code: what a file says must not become a link or a picture
        lines += [f"- **{Path(suspect.path).name}**: `{suspect}`" for suspect in report.suspects]
    return "\n".join(lines)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
