"""A run's folder: manifest.json, samples/<task>.jsonl with one Row a line. Everything else of a run is computed from these two.

A line is written in one piece as soon as its sample is done, so a run that was killed lacks at most its last line's end.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from evals.running.request import OUT
from evals.task import Row, Sample
from knowledge.errors import CourseError

MANIFEST, SAMPLES = "manifest.json", "samples"


@dataclass(frozen=True, slots=True)
class Run:
    """One run on disk."""

    folder: Path

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.resolve().name

    def manifest(self) -> dict[str, Any]:
        """What the run was made with; evals/running/manifest.py tells the keys.

        Raises:
            CourseError: it is damaged.
        """
        path = self.folder / MANIFEST
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CourseError(f"{path} cannot be read: {error}.", "Give another run, or start this one anew.") from error
        if not isinstance(found, dict):
            raise CourseError(f"{path} is not a manifest.", "Give another run, or start this one anew.")
        return found

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest in one step."""
        _replace(self.folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")

    def tasks(self) -> list[str]:
        """Names of the tasks that have samples here, in the order in which they ran."""
        return [name for name in self.manifest()["tasks"] if self.samples_file(name).is_file()]

    def samples_file(self, task: str) -> Path:
        """Where the rows of a task are."""
        return self.folder / SAMPLES / f"{task.replace('/', '_')}.jsonl"

    def rows(self, task: str) -> list[Row]:
        """The rows of a task, in the order in which they were done; a last line without its end is left out.

        Raises:
            CourseError: a line is damaged; the text names it.
        """
        path = self.samples_file(task)
        return list(_rows(path)) if path.is_file() else []

    def append(self, task: str, row: Row) -> None:
        """Add a row.

        Raises:
            ValueError: it holds a number that JSON does not know.
        """
        line = json.dumps(row_json(row), ensure_ascii=False, allow_nan=False) + "\n"
        path = self.samples_file(task)
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line)

    def mend(self, task: str) -> list[Row]:
        """Drop failed rows and a last line without its end; the rows that are left."""
        rows = [row for row in self.rows(task) if not row.error]
        path = self.samples_file(task)
        if path.is_file():
            lines = (json.dumps(row_json(row), ensure_ascii=False) + "\n" for row in rows)
            _replace(path, "".join(lines))
        return rows


def new_run(out: Path, started: datetime, name: str = "") -> Run:
    """Make the folder of a run: <out>/<YYYYmmdd-HHMMSS>[-name].

    Raises:
        CourseError: the name is not fit for a folder, or the folder cannot be made.
    """
    if not re.fullmatch(r"[\w.-]*", name, re.ASCII):
        raise CourseError(f"The name {name!r} is not fit for a folder.", "Use letters, digits, dots, - and _.")
    stem = f"{started:%Y%m%d-%H%M%S}{'-' if name else ''}{name}"
    for number in range(1, 100):
        folder = out / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue  # another one was started in the same second
        except OSError as error:
            raise CourseError(f"{folder} cannot be made: {error}.", "Give a folder that can be written with --out.") from error
        return Run(folder)
    raise CourseError(f"{out} has too many runs called {stem}.", "Give another --name.")


def find_run(which: str, out: Path = OUT) -> Run:
    """The run that `which` names: a path, a folder's name below `out`, the last one that was given this --name, or "latest".

    Raises:
        CourseError: there is no such run; the text names some that there are.
    """
    for folder in (Path(which), out / which):
        if (folder / MANIFEST).is_file():
            return Run(folder)
    runs = sorted((Run(path.parent) for path in out.glob(f"*/{MANIFEST}")), key=lambda run: (_started(run), run.name))
    so_called = [run for run in runs if which == "latest" or run.name[len("YYYYmmdd-HHMMSS-") :] == which]
    if so_called and which:
        return so_called[-1]
    some = ", ".join(run.name for run in runs[-5:])
    remedy = f"The last ones in {out}: {some}." if some else f"{out} has none yet; start with: lectern eval quick"
    raise CourseError(f"There is no run {which}.", remedy)


def _started(run: Run) -> str:
    return str(run.manifest().get("started", ""))


def row_json(row: Row) -> dict[str, Any]:
    """The object of a line."""
    sample = row.sample
    return {
        "id": sample.id,
        "group": sample.group,
        "split": sample.split,
        "input": dict(sample.input),
        "target": dict(sample.target),
        "output": row.output,
        "scores": row.scores,
        "seconds": row.seconds,
        "cached": row.cached,
        "error": row.error,
    }


def row_of(line: dict[str, Any]) -> Row:
    """The row of such an object.

    Raises:
        KeyError: a key is missing.
    """
    sample = Sample(line["id"], line["input"], line["target"], line["group"], line["split"])
    return Row(sample, line["output"], line["scores"], line["seconds"], line["cached"], line["error"])


def _rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:  # not as text: a kill may have cut a character in two
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield row_of(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise CourseError(
                    f"{path}, line {number} is damaged: {error!r}.", "Delete that line, then --resume."
                ) from error


def _replace(path: Path, text: str) -> None:
    scratch = path.with_name(f"{path.name}.part")
    scratch.write_text(text, encoding="utf-8", errors="backslashreplace")
    scratch.replace(path)
