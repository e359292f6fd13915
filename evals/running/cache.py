"""What was computed before, by the hash of everything that it was computed from, so that a rerun costs seconds."""

import json
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knowledge.errors import CourseError

if TYPE_CHECKING:
    import diskcache

FOLDER = ".cache"
_BYTES = 4 << 30  # what is used least recently goes first


class Cache:
    """JSON values under JSON keys, on disk; any number of processes may share it.

    Args:
        folder: created if it does not exist; None keeps nothing, so that everything is computed anew.

    Raises:
        CourseError: the folder cannot be written, or is damaged.
    """

    def __init__(self, folder: Path | None) -> None:
        self._store = None if folder is None else _open(folder)

    def get(self, key: object) -> Any | None:
        """What was set under `key`, or None."""
        return None if self._store is None else self._store.get(digest(key))

    def set(self, key: object, value: object) -> None:
        """Keep `value` under `key`."""
        if self._store is not None:
            self._store.set(digest(key), value)

    def close(self) -> None:
        """Let go of the file."""
        if self._store is not None:
            self._store.close()


def digest(key: object) -> str:
    """SHA-256 in hex of a JSON value, the same in every process whatever the order of its keys.

    Raises:
        TypeError: it is not JSON.
    """
    return sha256(json.dumps(key, sort_keys=True, default=_plain).encode()).hexdigest()


_MAKES_OUTPUT = (".py", ".toml", ".json", ".onnx")


def code_version(*packages: str) -> str:
    """Hash of the code, tables and weights of packages, for identities: an output is stale once what made it changed."""
    found = sha256()
    for package in packages:
        spec = find_spec(package)
        for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
            for path in sorted(path for path in folder.rglob("*") if path.suffix in _MAKES_OUTPUT):
                found.update(f"{package}/{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()[:12]


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _open(folder: Path) -> "diskcache.Cache":
    import sqlite3

    import diskcache

    try:
        return diskcache.Cache(str(folder), disk=diskcache.JSONDisk, size_limit=_BYTES, eviction_policy="least-recently-used")
    except (OSError, sqlite3.DatabaseError) as error:
        remedy = "Check its permissions and the free disk space. If it is damaged, delete it; --no-cache does without."
        raise CourseError(f"The cache {folder} cannot be opened: {error}.", remedy) from error
