"""Rows -> files: split by lesson, each once, without what was rejected or stands in a test set, with a manifest."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.data.build import Wanted
from finetune.data.cases import write_draft
from finetune.data.decontaminate import AnyRow, Cases, clean
from finetune.rows import (
    MANIFEST,
    PAIRS_HELD,
    PAIRS_TRAIN,
    SFT_HELD,
    SFT_TRAIN,
    THUMBS,
    THUMBS_HELD,
    TYPES,
    Pair,
    Row,
    Thumb,
    read,
    read_manifest,
    read_rejected,
    replace_text,
    write,
    write_rejected,
)
from knowledge.errors import CourseError

_HELD = {SFT_TRAIN: SFT_HELD, PAIRS_TRAIN: PAIRS_HELD, THUMBS: THUMBS_HELD}


def save(
    folder: Path,
    rows: Sequence[AnyRow],
    held: frozenset[str],
    cases: Cases,
    wanted: Wanted,
    about: dict[str, Any],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Write everything; returns the manifest.

    Args:
        folder: of the rows.
        rows: of all sorts.
        held: sources of the held-out lessons.
        cases: of evals/.
        wanted: how the rows were made.
        about: what else the manifest should say.
        tell: is called with what is being read.

    Raises:
        CourseError: the disk is full.
    """
    gone = {row.id for row in read_rejected(folder)}
    unique = {row.id: row for row in rows if row.id not in gone}
    stay, left_out = clean(unique.values(), cases, wanted.data, tell)
    kept = [row for row in unique.values() if row.id in stay]
    files = {name: [row for row in kept if file_of(row, held) == name] for both in _HELD.items() for name in both}
    manifest = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        **about,
        "seed": wanted.seed,
        "wanted": asdict(wanted) | {"data": str(wanted.data) if wanted.data else None},
        "held_lessons": sorted(held),
        "decontamination": _sum(about.get("decontamination", {}), left_out),
        "counts": {name: counts(found) for name, found in files.items()},
        "files": {name: write(folder / name, found) for name, found in files.items()},
    }
    manifest["trial_cases"] = write_draft(folder)
    replace_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return manifest


def file_of(row: AnyRow, held: frozenset[str]) -> str:
    """The file that a row belongs to."""
    name = SFT_TRAIN if isinstance(row, Row) else PAIRS_TRAIN if isinstance(row, Pair) else THUMBS
    return _HELD[name] if row.lesson in held else name


def counts(rows: Iterable[AnyRow]) -> dict[str, int]:
    """How many rows there are of each kind."""
    return dict(sorted(Counter(kind_of(row) for row in rows).items()))


def kind_of(row: AnyRow) -> str:
    """The kind of a row, as the manifest counts it: of a Thumb, which way it points."""
    return f"thumb {'up' if row.label else 'down'}" if isinstance(row, Thumb) else row.kind


def all_rows(folder: Path) -> dict[str, list[AnyRow]]:
    """Every file with its rows.

    Raises:
        CourseError: there are none, or a file is damaged.
    """
    read_manifest(folder)
    return {name: list(read(folder / name, kind)) for name, kind in TYPES.items()}  # type: ignore[type-var]


def reject(folder: Path, ids: Sequence[str]) -> list[str]:
    """Take rows out of their files for good; returns their whole ids.

    Args:
        folder: of the rows.
        ids: whole, or their beginnings.

    Raises:
        CourseError: none or several rows have such an id; then nothing is changed.
    """
    files = all_rows(folder)
    known = {row.id: row for rows in files.values() for row in rows}
    chosen: list[str] = []
    for prefix in ids:
        found = [id_ for id_ in known if id_.startswith(prefix)]
        if len(found) != 1:
            raise CourseError(
                f"{len(found) or 'No'} rows have an id that begins with {prefix!r}.", "See: lectern finetune rows"
            )
        chosen += found
    write_rejected(folder, [*read_rejected(folder), *(known[id_] for id_ in dict.fromkeys(chosen))])
    manifest = read_manifest(folder)
    for name, rows in files.items():
        kept = [row for row in rows if row.id not in chosen]
        if len(kept) < len(rows):
            manifest["files"][name] = write(folder / name, kept)
            manifest["counts"][name] = counts(kept)
    manifest["trial_cases"] = write_draft(folder)
    replace_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return chosen


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return dict(Counter(one) + Counter(other))
