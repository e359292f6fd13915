"""What a run was made with, so that its figures can be trusted later: manifest.json.

| key | meaning |
|---|---|
| name, command | of the folder; what was typed, folders of this machine left out |
| started, finished | ISO 8601 in UTC; finished is null until the run is whole |
| tasks | by name: {samples, content (their hash), judged}, in the order in which they run |
| skipped | by name: why a task that was asked for does not run |
| failed, stopped | by name: how many samples failed; why a task was given up |
| split, limit, quick, seed | which samples: limit null takes all; quick limits each task to its own number too |
| lessons | only samples about these, or about none; null takes all |
| cases | name of the file that was asked in the place of the starter course's cases, or null |
| settings | the whole tree, folders of this machine left out |
| model | {name, sha256} of the chat model's file, sha256 null if it is not here |
| adapter | {id, sha256}, null for the model by itself |
| embedder, index | identity; {generation, documents, content (a hash)}, null without an index |
| prompt_version, code | of assistant/prompts.py; hash of Lectern's Python files |
| judge | {name, identity} if a task is judged, else null |
| data | names of the folders of public data that were read |
| git | {commit, dirty}, null outside a checkout |
| machine, python, packages | one line; versions |
"""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path, PurePath
from platform import python_version
from typing import Any

from assistant.adapters import chosen_adapter
from assistant.course import open_index
from assistant.models import HF, model_path, sha256_of
from assistant.prompts import PROMPT_VERSION
from assistant.settings import Settings
from evals.bench.machine import machine
from evals.environment import Environment
from evals.running.cache import Cache, code_version, digest
from evals.solvers.identity import weights
from knowledge.errors import CourseError, IndexMismatch, MissingModel

# Two parts of one run must agree in these.
_SAME = (
    "tasks", "split", "limit", "quick", "seed", "lessons", "settings", "model", "adapter", "embedder", "index",
    "prompt_version", "code", "judge", "data",
)  # fmt: skip
_ROOTED = re.compile(r"(^|[=:])((?:~|/(?!/)).*)$")  # also in --data=/folder and nli:/folder, but not in http://host


def describe(environment: Environment, tasks: Mapping[str, Any], judged: bool) -> dict[str, Any]:
    """What outputs and scores of a run depend on, and what it ran on.

    Args:
        environment: of the run.
        tasks: the manifest's object of that name.
        judged: whether the judge has a say.

    Raises:
        CourseError: there is no such judge.
    """
    settings = environment.settings
    embedder, index = _course(settings)
    return {
        "tasks": dict(tasks),
        "settings": portable(settings.model_dump(mode="json", exclude={"data_dir"})),
        "model": _model(settings, environment.cache),
        "adapter": of_adapter(settings),
        "embedder": embedder,
        "index": index,
        "prompt_version": PROMPT_VERSION,
        "code": code_version("knowledge", "course_guard", "assistant", "evals"),
        "judge": {"name": portable(environment.judge_name), "identity": environment.judge.identity} if judged else None,
        "git": _git(Path(__file__).parent),
        "machine": machine(),
        "python": python_version(),
        "packages": _packages(),
    }


def of_adapter(settings: Settings) -> dict[str, str] | None:
    """The adapter that answers.

    Raises:
        BadAdapter: the settings name one that cannot be used.
    """
    try:
        adapter = chosen_adapter(settings)
    except MissingModel:  # tasks that need it say so themselves
        return None
    return {"id": adapter.id, "sha256": adapter.sha256} if adapter else None


def pinned(settings: Settings) -> Settings:
    """The settings with the name of the adapter in the place of "promoted", which another process may change meanwhile."""
    adapter = of_adapter(settings)
    model = settings.model.model_copy(update={"adapter": adapter["id"] if adapter else "none"})
    return settings.model_copy(update={"model": model})


def check_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """See that a run can go on.

    Raises:
        CourseError: something that figures depend on has changed since it began; the text names what.
    """
    changes = [line for key in _SAME for line in _changes(key, before.get(key), now.get(key))]
    if changes:
        shown = "; ".join(changes[:5]) + ("; and more" if len(changes) > 5 else "")
        began = before.get("command")
        remedy = f"Give what it began with ({began}), or begin anew: what is in the cache is not computed again."
        raise CourseError(f"This run cannot go on, it began with something else: {shown}.", remedy)


def portable(value: Any) -> Any:
    """JSON without the folders of this machine: of a path from the root or from home only the last name is kept."""
    if isinstance(value, Mapping):
        return {key: portable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [portable(part) for part in value]
    if isinstance(value, str):
        return _ROOTED.sub(lambda found: found[1] + PurePath(found[2]).name, value)
    return value


def _changes(key: str, before: Any, now: Any) -> Sequence[str]:
    if before == now:
        return ()
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return [line for part in {**before, **now} for line in _changes(f"{key}.{part}", before.get(part), now.get(part))]
    return (f"{key} was {_short(before)}, is {_short(now)}",)


def _short(value: Any) -> str:
    text = "nothing" if value is None else "there" if isinstance(value, Mapping) else str(value)
    return f"{text[:12]}..." if re.fullmatch(r"[0-9a-f]{32,}", text) else text


def _model(settings: Settings, cache: Cache) -> dict[str, Any]:
    name = settings.model.name
    try:
        if name.startswith(HF):
            return {"name": portable(name), "sha256": weights(settings)}
        path = model_path(name)
    except MissingModel:  # tasks that need it say so themselves, or it is on a server
        return {"name": portable(name), "sha256": None}
    seen = path.stat()
    key = {"sha256 of": str(path), "bytes": seen.st_size, "changed": seen.st_mtime_ns}  # reading a GB takes seconds
    found = cache.get(key)
    if found is None:
        found = sha256_of(path, lambda _: None)
        cache.set(key, found)
    return {"name": portable(name), "sha256": found}


def _course(settings: Settings) -> tuple[str | None, dict[str, Any] | None]:
    if not settings.index_dir.is_dir():  # opening would make one
        return _embedder(settings), None
    try:
        index = open_index(settings)
    except (MissingModel, IndexMismatch):  # tasks that need it say so themselves
        return _embedder(settings), None
    hashes = index.catalogue.hashes()
    content = digest([hashes, index.catalogue.passage_ids()])[:12]
    return index.embedder.identity, {"generation": index.catalogue.generation, "documents": len(hashes), "content": content}


def _embedder(settings: Settings) -> str | None:
    from knowledge.embedding import SentenceEmbedder

    try:
        return SentenceEmbedder(model_path(settings.embedder)).identity
    except MissingModel:
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that this very file is tracked in; an environment may lie in somebody else's checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _packages() -> dict[str, str]:
    """Versions of Lectern and of what it asks for, as far as it is installed."""
    found = {}
    for line in ["lectern", *(requires("lectern") or ())]:
        if name := re.match(r"[\w.-]+", line):
            try:
                found[name[0]] = version(name[0])
            except PackageNotFoundError:
                continue  # of an extra
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))
