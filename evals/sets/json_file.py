"""Reading sets that are one JSON document instead of lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evals.sets import Record
from knowledge.errors import CourseError


def read_json(path: Path) -> Any:
    """The document.

    Raises:
        CourseError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CourseError(
            f"{path} cannot be read: {error.strerror or error}.", "Name the folder of public data with --data."
        ) from error
    except ValueError as error:
        raise CourseError(f"{path} is not JSON: {error}.", "Copy the data set again.") from error


def read_object(path: Path) -> Record:
    """A document that is one object; the errors of `read_json`, and a CourseError where it is something else."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise Record(str(path), {}).fault("not a JSON object")
    return Record(str(path), found)


def read_objects(path: Path) -> Iterator[Record]:
    """A document that is a list of objects, which errors number from 1; the errors of `read_object`."""
    found = read_json(path)
    if not isinstance(found, list):
        raise Record(str(path), {}).fault("not a list")
    for number, values in enumerate(found, start=1):
        record = Record(f"{path}, item {number}", values if isinstance(values, dict) else {})
        if not isinstance(values, dict):
            raise record.fault("not a JSON object")
        yield record
