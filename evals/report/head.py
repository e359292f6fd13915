"""What was run, and what is wrong with it: the lines above the figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from assistant.settings import Settings
from evals.task import Row

Rows = Mapping[str, Sequence[Row]]  # by task


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the head; wide ones take the page's whole width."""

    label: str
    text: str
    wide: bool = False


def head(manifest: Mapping[str, Any], rows: Rows) -> list[Item]:
    """What the run was made with, from its manifest and its rows."""
    every = [row for task in rows.values() for row in task]
    cached = sum(row.cached for row in every)
    share = f"{cached / len(every):.0%} of {len(every)} samples" if every else "no samples"
    shown = [
        Item("Model", _hashed(manifest.get("model"))),
        Item("Prompt version", str(manifest.get("prompt_version") or "unknown")),
        Item("Commit", _commit(manifest.get("git"))),
        Item("Judge", str((manifest.get("judge") or {}).get("identity") or "none needed")),
        Item("Date", _moment(manifest.get("started"))),
        Item("Duration", _duration(manifest, every)),
        Item("From the cache", share),
        Item("Samples", _drawn(manifest)),
        Item("Index", _index(manifest)),
        Item("Machine", str(manifest.get("machine") or "unknown")),
        Item("Settings that differ from the defaults", changed_settings(manifest.get("settings") or {}), wide=True),
    ]
    return [*shown, Item("Command", str(manifest["command"]), wide=True)] if manifest.get("command") else shown


def notices(manifest: Mapping[str, Any], rows: Rows, known: Sequence[str]) -> Iterator[str]:
    """What a reader must know before trusting a figure.

    Args:
        manifest: of the run.
        rows: of the run.
        known: names of the tasks that this version of Lectern has.
    """
    if not manifest.get("finished"):
        yield "The run is not finished: figures are of the samples that were done. The same command with --resume goes on."
    for name, why in (manifest.get("stopped") or {}).items():
        yield f"{name} was given up: {why}"
    for name, plan in (manifest.get("tasks") or {}).items():
        done = rows.get(name, ())
        errors = sum(bool(row.error) for row in done)
        if not done:
            yield f"{name} has no samples."
        elif errors == len(done):
            yield f"{name} has no figures: all {errors} samples failed, the first with: {done[0].error.splitlines()[-1]}"
        else:
            if len(done) < plan.get("samples", 0):
                yield f"{name} has {len(done)} of its {plan['samples']} samples."
            if errors:
                yield f"{name}: {errors} of {len(done)} samples failed; they are in no figure."
        if name not in known:
            yield f"{name} is not a task of this version of Lectern, so nothing tells which of its samples failed."
    for name, why in (manifest.get("skipped") or {}).items():
        yield f"{name} was skipped: it {why}."


def changed_settings(settings: Mapping[str, Any]) -> str:
    """Settings of a run whose values are not those that this version of Lectern comes with, as `--set` takes them."""
    defaults = dict(_flat(_defaults(Settings)))
    found = [f"{key}={value}" for key, value in _flat(settings) if key != "data_dir" and defaults.get(key) != value]
    return ", ".join(found) or "none"


def _defaults(kind: type[BaseModel]) -> dict[str, Any]:
    """Not `Settings()`, which would read this machine's file and variables."""
    return {
        name: _defaults(field.annotation)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        else field.get_default(call_default_factory=True)
        for name, field in kind.model_fields.items()
    }


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, value


def _hashed(model: Mapping[str, Any] | None) -> str:
    if not model:
        return "unknown"
    return f"{model.get('name')} ({str(model['sha256'])[:12]})" if model.get("sha256") else str(model.get("name"))


def _commit(git: Mapping[str, Any] | None) -> str:
    if not git:
        return "not in a checkout"
    return str(git.get("commit"))[:12] + (", with uncommitted changes" if git.get("dirty") else "")


def _index(manifest: Mapping[str, Any]) -> str:
    index = manifest.get("index")
    embedder = manifest.get("embedder") or "no embedder"
    return f"{index.get('documents')} documents ({index.get('content')}), {embedder}" if index else f"none, {embedder}"


def _drawn(manifest: Mapping[str, Any]) -> str:
    split = manifest.get("split")
    parts = ["both halves" if split == "all" else f"{split} half", f"seed {manifest.get('seed')}"]
    if manifest.get("quick"):
        parts.insert(1, "quick")
    if manifest.get("limit") is not None:
        parts.insert(1, f"at most {manifest['limit']} a task")
    return ", ".join(parts)


def _moment(iso: str | None) -> str:
    return f"{datetime.fromisoformat(iso).astimezone(UTC):%Y-%m-%d %H:%M} UTC" if iso else "unknown"


def _duration(manifest: Mapping[str, Any], rows: Sequence[Row]) -> str:
    answering = f"{minutes(sum(row.seconds for row in rows if not row.cached))} of it answering"
    if not manifest.get("started") or not manifest.get("finished"):
        return f"not finished, {answering.replace(' of it', '')} so far"
    seconds = (datetime.fromisoformat(manifest["finished"]) - datetime.fromisoformat(manifest["started"])).total_seconds()
    return f"{minutes(seconds)}, {answering}"


def minutes(seconds: float) -> str:
    """A duration for people."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"
