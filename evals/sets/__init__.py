"""Loaders of public data sets, one file each, and the reader of JSON lines and CSV that they share; it names file and line."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from knowledge.errors import CourseError

T = TypeVar("T")
_LONGEST_FIELD = 1 << 24  # characters; the csv module's own limit of 131,072 is shorter than some web pages


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a file.

    Attributes:
        where: the file and the line, for messages.
        values: the JSON object or the row by column.
    """

    where: str
    values: Mapping[str, Any]

    def get(self, key: str, kind: type[T]) -> T:
        """The value of `key`.

        Raises:
            CourseError: it is missing or of another type.
        """
        value = self.values.get(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            found = f"is {type(value).__name__}" if key in self.values else "is missing"
            raise self.fault(f'"{key}" {found}, {kind.__name__} is expected')
        return value

    def text(self, key: str) -> str:
        """The string of `key`; the same errors as `get`."""
        return self.get(key, str)

    def inner(self, key: str) -> "list[Record]":
        """The list of objects of `key`; the same errors as `get`."""
        items = self.get(key, list)
        if not all(isinstance(item, dict) for item in items):
            raise self.fault(f'"{key}" is not a list of objects')
        return [Record(self.where, item) for item in items]

    def fault(self, what: str) -> CourseError:
        """An error that names this line."""
        return CourseError(f"{self.where}: {what}.", "Copy the data set again, or correct the line.")


def data_folder(data: Path | None, name: str) -> Path:
    """The folder of one data set below the folder given by --data.

    Raises:
        CourseError: it is not there.
    """
    if data is None or not (data / name).is_dir():
        raise CourseError(
            f"The data set {name} is not in {data or 'any folder'}.", "Name the folder of public data with --data."
        )
    return data / name


def read_jsonl(path: Path) -> Iterator[Record]:
    """The objects of a file of JSON lines; empty lines are left out.

    Raises:
        CourseError: the file cannot be read, or a line is not a JSON object.
    """
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    record = Record(_where(path, number), values := json.loads(line))
                    if not isinstance(values, dict):
                        raise record.fault("not a JSON object")
                    yield record
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:  # bad JSON or bad UTF-8
        raise Record(_where(path, number + isinstance(error, UnicodeDecodeError)), {}).fault(f"not JSON: {error}") from error


def read_csv(path: Path) -> Iterator[Record]:
    """The rows of a CSV file whose first row names the columns; a quoted value may span lines.

    Raises:
        CourseError: the file cannot be read, or a row has more or fewer values than there are columns.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    line = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            for row in rows:
                line = rows.line_num
                record = Record(_where(path, line), row)
                if None in row or None in row.values():
                    raise record.fault(f"{len(rows.fieldnames or ())} values are expected")
                yield record
    except OSError as error:
        raise _unreadable(path, error) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise Record(_where(path, line + 1), {}).fault(f"not CSV: {error}") from error


def _where(path: Path, line: int) -> str:
    return f"{path}, line {line}"


def _unreadable(path: Path, error: OSError) -> CourseError:
    return CourseError(f"{path} cannot be read: {error.strerror or error}.", "Name the folder of public data with --data.")
