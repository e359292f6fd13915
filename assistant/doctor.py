"""Is everything here that an answer needs, and does nothing leave the machine? Each check says what to do."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from assistant.adapters import PROMOTED, Choice, chosen_adapter, promoted_adapter
from assistant.models import HF, OPENAI, hf_folder, manifest, model_path
from assistant.settings import Settings, core_count
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from knowledge.index import CourseIndex

_PACKAGES = ("langchain-core", "langchain-chroma", "chromadb", "llama-cpp-python", "sentence-transformers", "torch", "chainlit")
_MEMORY_NEEDED = 3.0  # GB: 1.1 of weights, 0.7 repacked, 0.2 of cache, torch and the page
_DISK_NEEDED = 2.0  # GB


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    state: Literal["ok", "warning", "fault"]
    what: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Run every check, cheap ones first."""
    yield Finding("ok", f"Python {platform.python_version()}")
    yield from _packages()
    yield from _models(settings)
    yield from _adapter(settings)
    yield from _machine(settings.data_dir)
    yield _switches()
    yield from _index(settings)


def _packages() -> Iterator[Finding]:
    for name in _PACKAGES:
        try:
            yield Finding("ok", f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding("fault", f"{name} is not installed", "Run: make setup")


def _models(settings: Settings) -> Iterator[Finding]:
    chat, bases = settings.model.name, settings.finetune_dir / "bases"
    for name in (chat, settings.embedder):
        try:
            if name.startswith(OPENAI):
                yield from _server(name)
            elif name.startswith(HF):
                hf_folder(name, bases)
            else:
                model_path(name)
        except CourseError as error:
            yield Finding("fault", error.problem, error.remedy)
        else:
            size = f" ({manifest()[name].bytes / 1e9:.2f} GB)" if name in manifest() else ""
            yield Finding("ok", f"model {name}{size}")
    if chat.startswith(HF):
        yield _gpu()
    if chat.startswith(OPENAI):
        yield from _what_leaves(chat, "questions, conversations and passages of the course")
    if settings.grounding.verifier.startswith(OPENAI):
        yield from _what_leaves(settings.grounding.verifier, "questions, answers and passages of the course")


def _server(name: str) -> Iterator[Finding]:
    from assistant.llm.chat_openai import chat_server

    server = chat_server(name.removeprefix(OPENAI))
    known = server.models()
    if server.model not in known:
        yield Finding("warning", f"{server.url} lists no model {server.model}", f"It lists: {', '.join(known[:5]) or 'none'}.")


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("ok", f"answers are computed on {torch.cuda.get_device_name()}")
    remedy = "Answers will be slow: on a processor, the GGUF models of `lectern models list` are several times faster."
    return Finding("warning", "torch finds no GPU", remedy)


def _what_leaves(name: str, what: str) -> Iterator[Finding]:
    from course_guard.support.endpoint import is_local

    url = name.removeprefix(OPENAI).partition("#")[0]
    if not is_local(url):
        plain = "" if url.startswith("https:") else ", and not encrypted"
        remedy = "Nobody may be surprised by that: tell those who chat, or choose a model on this machine."
        yield Finding("warning", f"{what} leave this machine for {url}{plain}", remedy)


def _adapter(settings: Settings) -> Iterator[Finding]:
    """Whether the adapter that shall answer does; without one there is nothing to say."""
    promoted = settings.model.adapter == PROMOTED
    try:
        choice = promoted_adapter(settings) if promoted else Choice(chosen_adapter(settings))
    except CourseError as error:
        yield Finding("fault", error.problem, error.remedy)
        return
    if choice.notice:
        yield Finding("warning", choice.notice, "See: lectern finetune list")
    if choice.adapter:
        yield Finding("ok", f"adapter {choice.adapter.id} ({choice.adapter.path.stat().st_size / 1e6:.1f} MB)")


def _machine(data_dir: Path) -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory().available / 1e9
    yield _advised(
        memory >= _MEMORY_NEEDED, f"{memory:.1f} GB memory free", f"Close something: {_MEMORY_NEEDED} GB are needed."
    )
    existing = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
    disk = shutil.disk_usage(existing).free / 1e9
    yield _advised(disk >= _DISK_NEEDED, f"{disk:.1f} GB disk free at {existing}", f"{_DISK_NEEDED} GB are advisable.")
    cores = core_count()
    yield _advised(cores > 1, f"{cores} cores", "Answers will be slow on one core.")


def _advised(good: bool, what: str, remedy: str) -> Finding:
    return Finding("ok", what) if good else Finding("warning", what, remedy)


def _switches() -> Finding:
    wanted = {"ANONYMIZED_TELEMETRY": "False", "HF_HUB_OFFLINE": "1", "LANGSMITH_TRACING": "false"}
    wrong = [name for name, value in wanted.items() if os.environ.get(name) != value]
    if wrong:
        return Finding("fault", f"offline switches not set: {', '.join(wrong)}", "Start Lectern through the `lectern` command.")
    return Finding("ok", "offline switches set")


def _index(settings: Settings) -> Iterator[Finding]:
    from assistant.course import open_index
    from knowledge.retrieval import CourseRetriever

    try:
        with _watching_connections() as outside:
            index = open_index(settings)
            sources = index.sources()
            if not sources:
                yield Finding("fault", "the course is empty", "Run: lectern ingest --starter, or lectern ingest PATH...")
                return
            found = CourseRetriever(index=index, settings=settings.retrieval).retrieve(sources[0].title)
    except CourseError as error:
        yield Finding("fault", error.problem, error.remedy)
        return
    passages = sum(info.passages for info in sources)
    yield Finding("ok", f"index with {len(sources)} documents and {passages} passages")
    if not found.passages:
        yield Finding("fault", "a search for a document's title finds nothing", "Build anew: lectern ingest --rebuild")
    if outside:
        what = f"a search tried to reach {', '.join(sorted(outside))}"
        yield Finding("fault", what, "Report this: nothing may leave the machine.")
    else:
        yield Finding("ok", "a search opened no connection to the outside")
    yield _calibration(index)


def _calibration(index: "CourseIndex") -> Finding:
    """Whether the threshold that decides what the course covers was fitted to this course, and how much has changed since."""
    from knowledge import calibrated, calibration
    from knowledge.retrieval import RELEVANCE_WEIGHTS

    remedy = "Run: lectern calibrate"
    found = calibrated.read(index.folder, index.embedder.identity, RELEVANCE_WEIGHTS)
    if found is None and not calibration.is_possible(index):
        return Finding("ok", "the course is too small to fit the threshold of relevance to it; the one that ships is used")
    if found is None:
        return Finding("warning", "the threshold of relevance is not fitted to this course; the one that ships is used", remedy)
    changed = found.changed(index.catalogue.passage_ids())
    what = f"threshold of relevance fitted to this course on {found.made[:10]}; {changed:.0%} of its passages changed since"
    return _advised(changed <= calibration.STALE, what, remedy)


_listening: list[set[str]] = []


@contextmanager
def _watching_connections() -> Iterator[set[str]]:
    """Collect every address outside this machine that the process tries to reach while the block runs."""
    _install_hook()
    outside: set[str] = set()
    _listening.append(outside)
    try:
        yield outside
    finally:
        _listening.remove(outside)


@cache
def _install_hook() -> None:
    sys.addaudithook(_hear)  # once: an audit hook can never be removed


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if not _listening:
        return
    host = None
    if event in ("socket.connect", "socket.sendto") and isinstance(args[1], tuple):  # otherwise a path on this machine
        host = args[1][0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):  # without a network it gets no further than this
        host = args[0].decode() if isinstance(args[0], bytes) else args[0]
    if isinstance(host, str) and not _is_local(host):
        for outside in _listening:
            outside.add(host)


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in ("", "localhost")
