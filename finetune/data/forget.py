"""What readers have deleted, or no longer allow, leaves the rows too."""

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

from assistant.history import History
from assistant.settings import Settings
from finetune.rows import MANIFEST, REJECTED, TYPES, Line, data_folder, read, read_manifest, replace_text
from knowledge.errors import CourseError


def training_rows(settings: Settings, name: str, kind: type[Line]) -> list[Line]:
    """The rows of one file, to train on.

    Args:
        settings: say where the rows and the history are.
        name: such as rows.SFT_TRAIN.
        kind: what the file holds.

    Raises:
        CourseError: there are no rows, or the file is not the one that was built.
    """
    forget_deleted(settings)
    folder = data_folder(settings.finetune_dir)
    wanted = read_manifest(folder)["files"].get(name)
    path = folder / name
    if wanted is not None and (not path.exists() or sha256(path.read_bytes()).hexdigest() != wanted):
        raise CourseError(f"{path} is not what was built.", "Build the rows anew: lectern finetune data")
    return read(path, kind)


def forget_deleted(settings: Settings) -> int:
    """Take the rows of turns that are gone, or were never allowed, off the disk; returns how many there were.

    Every command of `lectern finetune` begins with it. A line that cannot be read goes as well, since nobody knows whose it is.
    """
    folder = data_folder(settings.finetune_dir)
    files = {path: _lines(path) for name in (*TYPES, REJECTED) if (path := folder / name).exists()}
    if all(_is_nobodys(line) for lines in files.values() for line in lines):
        return 0
    allowed = History(settings.history_file).consented() if settings.history_file.exists() else frozenset()
    gone = 0
    for path, lines in files.items():
        kept = [line for line in lines if line is not None and allowed.issuperset(_turns(line))]
        if len(kept) < len(lines):
            gone += len(lines) - len(kept)
            replace_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
            _correct_manifest(folder, path.name, kept)
    return gone


def _lines(path: Path) -> list[dict[str, Any] | None]:
    """The objects of a file, None for a line that is none."""
    found: list[dict[str, Any] | None] = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    for line in text.splitlines():
        try:
            values = json.loads(line)
            _turns(values)
            found.append(values)
        except (ValueError, KeyError, TypeError):
            found.append(None)
    return found


def _turns(line: dict[str, Any]) -> list[str]:
    return list(line["origin"]["turns"])


def _is_nobodys(line: dict[str, Any] | None) -> bool:
    return line is not None and not _turns(line)


def _correct_manifest(folder: Path, name: str, lines: list[dict[str, Any]]) -> None:
    if name == REJECTED or not (folder / MANIFEST).exists():
        return
    manifest = read_manifest(folder)
    manifest["files"][name] = sha256((folder / name).read_bytes()).hexdigest()
    manifest["counts"][name] = dict(
        Counter(str(line.get("kind", f"thumb {'up' if line.get('label') else 'down'}")) for line in lines)
    )
    replace_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
