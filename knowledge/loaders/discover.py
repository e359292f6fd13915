"""Which files of the given files and folders are course material, and why the others are not."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from knowledge.loaders.load import SUFFIXES

_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True, slots=True)
class Found:
    """A file to load; `source` is its resolved path and identifies the document."""

    path: Path
    source: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A path that cannot be course material, and a sentence why."""

    path: Path
    reason: str


def discover(paths: Sequence[Path]) -> Iterator[Found | Rejected]:
    """Yield the files at `paths` in the given order, folders recursively in the order of names; each file once.

    Hidden files and folders, `__pycache__` and `node_modules` inside a folder are skipped without a word. A link inside a
    folder counts only if it stays inside: a course must not read files that its author did not put there.
    """
    seen: set[Path] = set()
    for given in paths:
        for outcome in _under(given):
            if isinstance(outcome, Found):
                real = Path(outcome.source)
                if real in seen:
                    continue
                seen.add(real)
            yield outcome


def _under(given: Path) -> Iterator[Found | Rejected]:
    try:
        root = given.resolve(strict=True)
    except FileNotFoundError:
        yield Rejected(given, "There is no such file or folder.")
        return
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links, before Python 3.13
        yield Rejected(given, f"It cannot be opened: {_reason(error)}.")
        return
    stack = [given]
    while stack:
        path = stack.pop()
        if path.is_symlink() and path != given:
            outcome = _link(path, root)
            if outcome is not None:
                yield outcome
        elif path.is_dir():
            try:
                entries = sorted(entry.name for entry in os.scandir(path) if not _is_skipped(entry))
            except OSError as error:
                yield Rejected(path, f"The folder cannot be opened: {_reason(error)}.")
                continue
            stack.extend(path / name for name in reversed(entries))
        else:
            yield _file(path)


def _is_skipped(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".") or (entry.name in _SKIPPED_FOLDERS and entry.is_dir(follow_symlinks=False))


def _link(path: Path, root: Path) -> Found | Rejected | None:
    """Judge a link inside the folder `root`; a link to a folder inside it is nothing new."""
    try:
        target = path.resolve(strict=True)
    except FileNotFoundError:
        return Rejected(path, "The link leads nowhere.")
    except (OSError, RuntimeError):
        return Rejected(path, "The link leads back to itself.")
    if not target.is_relative_to(root):
        return Rejected(path, "The link leads out of the folder; give the file itself if it belongs to the course.")
    return None if target.is_dir() else _file(path)


def _file(path: Path) -> Found | Rejected:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        return Rejected(path, f"Files of this kind cannot be read ({suffix or 'no ending'}).")
    if not path.is_file():
        return Rejected(path, "It is not a regular file.")
    if not os.access(path, os.R_OK):
        return Rejected(path, "There is no permission to read it.")
    return Found(path, str(path.resolve()))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
