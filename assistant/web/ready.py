"""The runtime on its way: the page is there before the course is open, and the course before the model is warm."""

import asyncio
import logging
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import TYPE_CHECKING

from knowledge.errors import CourseError

if TYPE_CHECKING:
    from assistant.runtime import Runtime

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Load:
    opened: "Future[Runtime]" = field(default_factory=Future)
    warmed: "Future[Runtime]" = field(default_factory=Future)


_lock = Lock()
_load: _Load | None = None


def start() -> _Load:
    """Load in the background unless somebody has; a load that failed is tried anew, since the cause may be mended."""
    global _load
    with _lock:
        if _load is None or any(future.done() and future.exception() for future in (_load.opened, _load.warmed)):
            _load = _Load()
            for future in (_load.opened, _load.warmed):
                future.set_running_or_notify_cancel()  # a visitor who leaves must not cancel it for the others
            # A daemon, so that Ctrl-C need not wait for weights that are still being read.
            Thread(target=_work, args=(_load,), name="loading", daemon=True).start()
        return _load


async def opened() -> "Runtime":
    """The runtime as soon as index and history are open.

    Raises:
        CourseError: what `runtime()` raised, for instance MissingModel.
    """
    return await asyncio.wrap_future(start().opened)


async def warmed() -> "Runtime":
    """The runtime once its weights are loaded; raises what `opened` or loading the weights raised."""
    return await asyncio.wrap_future(start().warmed)


def is_warm() -> bool:
    """Whether `warmed` would return at once."""
    return _load is not None and _load.warmed.done() and not _load.warmed.exception()


def _work(load: _Load) -> None:
    try:
        import assistant.runtime as module  # seconds of imports, hence here

        runtime = module.runtime()
        load.opened.set_result(runtime)
        module.warm(runtime)
        load.warmed.set_result(runtime)
        runtime.read_ahead()
    except BaseException as error:  # every waiting visitor gets it; nobody could catch it in this thread
        if isinstance(error, CourseError):
            _log.error("%s", error)
        else:
            _log.exception("loading failed")
        for future in (load.opened, load.warmed):
            if not future.done():
                future.set_exception(error)
