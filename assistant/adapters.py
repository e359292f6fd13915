"""The adapters on this machine, and which of them the chat model answers with.

    adapters/<id>/adapter.gguf, manifest.json, peft/    one adapter; peft/ is the same for transformers
    adapters/current                                    the id of the promoted one, one line; absent: none is
    adapters/history.jsonl                              what was promoted before, so that there is a way back

`lectern finetune` writes them (finetune/adapters.py). Here they are read, and each is held against the hashes of its manifest
before it is used: a damaged adapter, or one of another model, never stops the chat.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from assistant.models import HF, OPENAI, find_spec, hf_folder, model_path, sha256_of
from assistant.settings import Settings
from knowledge.errors import CourseError

PROMOTED, NONE = "promoted", "none"  # what settings.model.adapter may say besides an id
FILE, MANIFEST, PEFT, CURRENT, HISTORY = "adapter.gguf", "manifest.json", "peft", "current", "history.jsonl"
MADE_FROM = "lectern.json"  # in a Hugging Face folder that finetune/base.py made
_ID = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_NEEDED = ("base", "base_sha256", "sha256")  # of a manifest
_SEE = "See: lectern finetune list"


class BadAdapter(CourseError):
    """An adapter that cannot be used: missing, damaged, or made for another model."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter on disk.

    Attributes:
        id: the name of its folder.
        manifest: {kind, base, base_sha256, sha256, made, ...}; finetune/adapters.py tells the keys. Empty if it is damaged.
    """

    id: str
    folder: Path
    manifest: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def path(self) -> Path:
        """The weights, as llama.cpp reads them."""
        return self.folder / FILE

    @property
    def base(self) -> str:
        """The chat model that it was trained on, a name of `lectern models list`; empty if it is damaged."""
        return str(self.manifest.get("base", ""))

    @property
    def sha256(self) -> str:
        """Of the weights, as the manifest has it; empty if it is damaged."""
        return str(self.manifest.get("sha256", ""))


@dataclass(frozen=True, slots=True)
class Choice:
    """What to answer with.

    Attributes:
        adapter: None is the model by itself.
        notice: why it is not the promoted one, for the reader; empty if it is.
    """

    adapter: Adapter | None
    notice: str = ""


def adapters_dir(settings: Settings) -> Path:
    """Where the adapters lie."""
    return settings.finetune_dir / "adapters"


def list_adapters(settings: Settings) -> list[Adapter]:
    """Every adapter, the oldest first; those with a damaged manifest are among them, at the beginning."""
    folders = [path for path in adapters_dir(settings).glob("*/") if _ID.fullmatch(path.name)]
    return sorted(map(_read, folders), key=lambda adapter: (str(adapter.manifest.get("made", "")), adapter.id))


def find_adapter(settings: Settings, id_: str) -> Adapter:
    """The adapter of that id.

    Raises:
        BadAdapter: there is none; the text names those that there are.
    """
    folder = adapters_dir(settings) / id_
    if not _ID.fullmatch(id_) or not folder.is_dir():
        known = ", ".join(adapter.id for adapter in list_adapters(settings))
        there = f"There are: {known}." if known else "There are none yet: lectern finetune export RUN makes one."
        raise BadAdapter(f"There is no adapter {id_!r}.", there)
    return _read(folder)


def check(adapter: Adapter, model: str) -> None:
    """See that an adapter is whole and was made for a chat model.

    Args:
        adapter: any of `list_adapters`.
        model: its name, or a .gguf file.

    Raises:
        BadAdapter: it is not; the text says why.
        MissingModel: there is no such model.
    """
    if lacking := [key for key in _NEEDED if not isinstance(adapter.manifest.get(key), str)]:
        what = f"lacks {', '.join(lacking)}" if adapter.manifest else "is missing or damaged"
        raise BadAdapter(f"The manifest of the adapter {adapter.id} {what}.", _again(adapter))
    if model.startswith(OPENAI):
        raise BadAdapter(f"The adapter {adapter.id} cannot be put on {model}.", "That server loads its own adapters.")
    if adapter.manifest["base_sha256"] not in base_hashes(model, adapter.folder.parents[1] / "bases"):
        remedy = f"Answer with its own model (model.name in the settings), or train one for {model}."
        raise BadAdapter(f"The adapter {adapter.id} belongs to {adapter.base}, not to {model}.", remedy)
    try:
        found = _hashed(adapter.path)
    except OSError as error:
        raise BadAdapter(f"The file of the adapter {adapter.id} cannot be read: {error}.", _again(adapter)) from error
    if found != adapter.sha256:
        problem = f"The file of the adapter {adapter.id} is damaged: its SHA-256 is not that of its manifest."
        raise BadAdapter(problem, _again(adapter))


def chosen_adapter(settings: Settings, model: str | None = None) -> Adapter | None:
    """The adapter that the settings ask for, checked; None for the model by itself.

    "promoted" never fails: what cannot be used is passed over, see `promoted_adapter`.

    Args:
        settings: of this process.
        model: another one than that of the settings.

    Raises:
        BadAdapter: the settings name an adapter that is not there, damaged, or of another model.
        MissingModel: there is no such model.
    """
    name, wish = model or settings.model.name, settings.model.adapter
    if wish == NONE:
        return None
    if wish == PROMOTED:
        return promoted_adapter(settings, name).adapter
    adapter = find_adapter(settings, wish)
    check(adapter, name)
    return adapter


def promoted_adapter(settings: Settings, model: str | None = None) -> Choice:
    """The promoted adapter; if it cannot be used, the last one before it that can; else the model by itself."""
    name = model or settings.model.name
    if settings.model.adapter != PROMOTED or name.startswith(OPENAI):  # a server has adapters of its own
        return Choice(None)
    faults = ""
    for id_ in reversed(promotions(settings)):
        if id_ is None:
            return Choice(None, faults and f"{faults} Answers come from {name} alone.")
        try:
            adapter = find_adapter(settings, id_)
            check(adapter, name)
        except CourseError as error:
            faults = faults or str(error)
        else:
            return Choice(adapter, faults and f"{faults} Answers come from {label(name, adapter)}.")
    return Choice(None, faults and f"{faults} Answers come from {name} alone.")


def current_id(settings: Settings) -> str | None:
    """The id that the pointer names, whether or not there is such an adapter; None without a pointer."""
    try:
        return (adapters_dir(settings) / CURRENT).read_text(encoding="utf-8", errors="replace").strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None


def pointer_state(settings: Settings) -> tuple[int, int] | None:
    """Changes whenever another adapter is promoted; costs one look at the disk."""
    try:
        seen = (adapters_dir(settings) / CURRENT).stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_ino


def promotions(settings: Settings) -> list[str | None]:
    """What was promoted one after the other and not taken back; the current one is the last, None is the model by itself.

    Each line of the history holds such a list as it was meant to be from then on. It is written before the pointer is replaced,
    so one that does not end with what the pointer names was never put into force.
    """
    current = current_id(settings)
    kept = [entry["stack"] for entry in promotion_log(settings) if entry["stack"][-1] == current]
    return kept[-1] if kept else [None, current] if current else [None]


def promotion_log(settings: Settings) -> list[dict[str, Any]]:
    """Every line of the history: {at, by (promote or rollback), stack}; damaged lines are left out."""
    return list(_entries(adapters_dir(settings) / HISTORY))


def label(model: str, adapter: Adapter | None) -> str:
    """What answered, as page and history name it."""
    return f"{model} + {adapter.id}" if adapter else model


def base_hashes(model: str, bases: Path | None = None) -> set[str]:
    """What a base may be known by in the manifest of an adapter: the SHA-256 of its file, all of which is read once.

    Of an hf: folder that of the GGUF that it was made from, else that of its own files (as finetune/base.py has both).

    Args:
        model: its name.
        bases: folder of the hf: folders that were made from GGUF files.

    Raises:
        MissingModel: there is no such model or file.
    """
    if not model.startswith(HF):
        known = None if model.endswith(".gguf") else find_spec(model).files[0].sha256
        return {known or _hashed(model_path(model))}
    folder = hf_folder(model, bases)
    try:
        return {str(json.loads((folder / MADE_FROM).read_text(encoding="utf-8"))["sha256"])}
    except (OSError, ValueError, KeyError, TypeError):
        files = [path for path in (folder / "config.json", *sorted(folder.glob("*.safetensors"))) if path.is_file()]
        return {sha256("".join(map(_hashed, files)).encode()).hexdigest()}


def _hashed(path: Path) -> str:
    seen = path.stat()
    return _sha256(path, seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=32)
def _sha256(path: Path, size: int, changed_ns: int) -> str:
    """Hash a file once for as long as it stays the same."""
    return sha256_of(path, lambda _: None)


def _read(folder: Path) -> Adapter:
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    return Adapter(folder.name, folder, found if isinstance(found, dict) else {})


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("stack"), list) and entry["stack"]:
            yield entry


def _again(adapter: Adapter) -> str:
    return (
        f"Make it anew: lectern finetune export {adapter.manifest.get('run') or 'RUN'}, or go back: lectern finetune rollback"
    )
