"""The panel that lists the documents of the course and removes them."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.web.ready import opened
from assistant.web.show import element, open_panel
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from assistant.runtime import Runtime

OPEN_REQUEST = "lectern:sources"  # what public/lectern.js posts when the header's button is pressed


async def show_sources() -> None:
    """Open the panel with the documents of the course."""
    runtime = await opened()
    await open_panel("Sources of the course", element("Sources", documents=await documents(runtime)))


async def remove_source(source: str) -> dict[str, Any]:
    """Take a document out of the course, with its uploaded copy.

    Returns:
        What Sources.jsx draws next: `documents`, and `problem` if it could not be removed.
    """
    from knowledge.calibration import recalibrate_if_stale

    runtime = await opened()
    problem = ""
    try:
        if await asyncio.to_thread(runtime.index.remove, source):
            path = Path(source)
            if path.is_relative_to(runtime.settings.uploads_dir):
                path.unlink(missing_ok=True)
            await asyncio.to_thread(recalibrate_if_stale, runtime.index, runtime.settings.retrieval)
    except CourseError as error:
        problem = str(error)
    return {"documents": await documents(runtime), "problem": problem}


async def documents(runtime: "Runtime") -> list[dict[str, Any]]:
    """The documents of the course as plain data, by title."""
    found = await asyncio.to_thread(runtime.index.sources)
    return sorted((asdict(info) for info in found), key=lambda info: info["title"].casefold())
