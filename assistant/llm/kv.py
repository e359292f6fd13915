"""Saved KV states of token sequences on disk: found by their content, checked when loaded, bounded by a budget.

One file a state (kv_file.py), named after the SHA-256 of (engine, token ids). A file takes its name only when all of it is on
the disk, so a reader sees the whole or nothing, and any number of threads and processes may read, write and remove in one
folder: a state that is gone is a state to compute again.
"""

import errno
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from assistant.llm.kv_file import BadState, contents, read_header, read_payload, token_bytes

_RESERVE = 256 << 20  # bytes of the disk left to others: a cache must not be what stops the history from being written
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SavedState:
    """What is known of a stored state without reading its payload.

    Attributes:
        label: as it was given to `StateStore.save`.
        tokens: how many.
        bytes: of the file.
        used_at: when it was last saved or loaded, in seconds since 1970.
    """

    label: str
    tokens: int
    bytes: int
    used_at: float


class _Entry(NamedTuple):
    used_at: int  # nanoseconds; first, so that entries sort by it
    name: str  # making 10,000 Paths takes longer than listing the folder
    size: int


class StateStore:
    """States of one engine in a folder that it may share with other engines and processes.

    Nothing here raises because of the disk: what cannot be read is absent, what cannot be written is not saved, a file that is
    not what was saved is deleted, and the log says why.

    Args:
        folder: created at the first save, for this user alone: states hold text of the course and of conversations.
        budget: bytes that all states in the folder, of other engines too, may take; the least recently used go first.
        engine: identity of everything that a state depends on besides its tokens. States of another never load.
    """

    def __init__(self, folder: Path, budget: int, engine: str) -> None:
        self._folder = folder
        self._budget = budget
        self._engine = engine.encode()
        self._hash = hashlib.sha256(len(self._engine).to_bytes(8, "little") + self._engine)
        self._remove_orphans()
        self._evict(budget)

    def of(self, engine: str) -> Self:
        """The states of another engine in the same folder."""
        return type(self)(self._folder, self._budget, engine)

    def has(self, tokens: Sequence[int]) -> bool:
        """Whether there is a state of exactly these tokens; it may still turn out bad, or be gone, when it is loaded."""
        return _exists(self._path(token_bytes(tokens)))

    def longest(self, tokens: Sequence[int], lengths: Iterable[int]) -> int:
        """The longest of these lengths for which `has(tokens[:length])`, or 0."""
        ids = token_bytes(tokens)
        within = {length for length in lengths if 0 < length <= len(tokens)}
        return next((length for length in sorted(within, reverse=True) if _exists(self._path(ids[: 4 * length]))), 0)

    def load(self, tokens: Sequence[int]) -> NDArray[np.uint8] | None:
        """The payload saved for exactly these tokens, shape (bytes,), now the most recently used; else None."""
        ids = token_bytes(tokens)
        path = self._path(ids)
        payload = _checked(path, lambda file: read_payload(file, self._engine, ids))
        if payload is not None:
            with suppress(OSError):  # removed by another process since
                os.utime(path)
        return payload

    def save(self, tokens: Sequence[int], payload: NDArray[np.uint8] | bytes | memoryview, label: str) -> bool:
        """Store a state, replacing one of the same tokens; the least recently used make room for it.

        The folder may grow to the budget, or until only `_RESERVE` bytes of the disk are free. Files of others may take the
        disk from us, but not make us empty the store: for the disk's sake a save removes the oldest states only if that
        suffices, and never more of them than it needs itself. Where the disk turns out to be full on the way, as a quota may
        show itself no earlier, as much is removed for the next save to succeed.

        Args:
            tokens: what the state is of.
            payload: a C-contiguous buffer, which must not change meanwhile.
            label: what `saved` and `discard` know it by.

        Returns:
            Whether it is stored. If not, the log names the reason, and nothing is left of the attempt.
        """
        ids = token_bytes(tokens)
        parts = contents(self._engine, label, ids, np.frombuffer(payload, dtype=np.uint8).data)
        size = sum(map(len, parts))
        path = self._path(ids)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room(size)
            self._write(path, parts)
        except OSError as error:
            _log.warning("The state of %s (%d tokens, %d bytes) is not saved: %s.", label, len(tokens), size, error.strerror)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._evict(self.used() - size)
            return False
        self._evict(self._budget, spare=path.name)  # another process may have written meanwhile
        return True

    def saved(self) -> list[SavedState]:
        """The states of this engine, the most recently used first; reads the beginning of every file."""
        return [
            SavedState(header.label, header.tokens, entry.size, entry.used_at / 1e9)
            for entry in reversed(self._entries())
            if (header := _checked(self._folder / entry.name, read_header)) and header.engine == self._engine
        ]

    def discard(self, keep: Callable[[str], bool]) -> int:
        """Remove the states, of any engine, whose label is not kept; return how many."""
        paths = [self._folder / entry.name for entry in self._entries()]
        return sum(_remove(path) for path in paths if (header := _checked(path, read_header)) and not keep(header.label))

    def used(self) -> int:
        """Bytes of all states in the folder, those of other engines too."""
        return sum(entry.size for entry in self._entries())

    def _path(self, ids: bytes) -> Path:
        key = self._hash.copy()
        key.update(ids)
        return self._folder / f"{key.hexdigest()}.kv"

    def _make_room(self, size: int) -> None:
        """Remove the oldest states until `size` bytes fit; OSError, and none removed, if they could not even then."""
        used, free = self.used(), shutil.disk_usage(self._folder).free
        limit = min(self._budget, used + max(0, free - _RESERVE))
        if size > limit:
            raise OSError(errno.EFBIG, f"the budget is {self._budget} bytes, and {free} bytes of the disk are free")
        self._evict(limit - size)

    def _write(self, path: Path, parts: Iterable[bytes | memoryview]) -> None:
        handle, name = tempfile.mkstemp(prefix=f"{os.getpid()}-", suffix=".tmp", dir=self._folder)  # for this user alone
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)  # PermissionError on Windows while another process reads the old file
        except BaseException:
            _remove(Path(name))
            raise

    def _evict(self, limit: int, spare: str = "") -> None:
        """Remove the least recently used states until all take `limit` bytes at most."""
        entries = self._entries()
        total = sum(entry.size for entry in entries)
        for entry in entries:
            if total <= limit:
                return
            if entry.name != spare and _remove(self._folder / entry.name):
                total -= entry.size

    def _remove_orphans(self) -> None:
        """Remove files that nobody will finish, because their writer was killed."""
        for entry in self._entries(".tmp"):
            pid = entry.name.partition("-")[0]
            if pid.isdecimal() and not _may_be_writing(int(pid), entry.used_at / 1e9):
                _remove(self._folder / entry.name)

    def _entries(self, suffix: str = ".kv") -> list[_Entry]:
        """The files as they are now, the least recently used first."""
        entries = []
        try:
            with os.scandir(self._folder) as found:
                for item in found:
                    if item.name.endswith(suffix):
                        with suppress(FileNotFoundError):  # removed by another process since
                            status = item.stat()
                            entries.append(_Entry(status.st_mtime_ns, item.name, status.st_size))
        except FileNotFoundError:  # nothing was saved yet
            return []
        except OSError as error:
            _log.warning("The folder of saved states %s cannot be read: %s.", self._folder, error.strerror)
        return sorted(entries)


def _exists(path: Path) -> bool:
    return os.access(path, os.R_OK)  # unlike Path.exists, it does not raise where the folder may not be entered


def _checked(path: Path, read: Callable[[BufferedReader], _T]) -> _T | None:
    """What `read` makes of the file; None if it is absent, or cannot be read, or is bad, which removes it."""
    try:
        with path.open("rb") as file:
            return read(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("The saved state %s cannot be read: %s.", path, error.strerror)
    except BadState as reason:
        _log.warning("The saved state %s is removed: %s.", path, reason)
        _remove(path)
    return None


def _remove(path: Path) -> bool:
    """Whether the file is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # on Windows, while another process reads it
        _log.info("%s cannot be removed: %s.", path, error.strerror)
        return False
    return True


def _may_be_writing(pid: int, written_at: float) -> bool:
    """Whether the process that wrote at that time, in seconds since 1970, still runs: its number may be another's by now."""
    import psutil

    try:
        return bool(psutil.Process(pid).create_time() <= written_at + 2)  # psutil may be a second wrong
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
