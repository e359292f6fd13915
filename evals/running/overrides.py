"""`--set key=value`: any setting changed for one run, so that two variants are two commands."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from assistant.settings import Settings, load_settings
from knowledge.errors import CourseError


def changed_settings(changes: Sequence[str], model: str | None = None) -> Settings:
    """The settings of this process with some changed.

    Args:
        changes: such as "retrieval.threshold=0"; of two for the same key the later one counts.
        model: short for model.name=...; None leaves it.

    Raises:
        CourseError: no such setting (the text names the nearest), or not a value for it.
    """
    load_settings()  # what is wrong in a file or variable is reported as such
    tree: dict[str, Any] = {}
    for change in [*([f"model.name={model}"] if model is not None else []), *changes]:
        key, equals, value = change.partition("=")
        if not equals:
            raise CourseError(f"--set {change} has no value.", "Write it as key=value, for example: retrieval.threshold=0")
        branch = tree
        *above, last = _known(key.strip()).split(".")
        for part in above:
            branch = branch.setdefault(part, {})
        branch[last] = value.strip()
    try:
        return Settings(**tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise CourseError(f"--set {key}={first['input']}: {first['msg']}.", "Give a value that fits.") from error


def setting_names(kind: type[BaseModel] = Settings, above: str = "") -> Iterator[str]:
    """Every key that --set takes, such as "retrieval.threshold"."""
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from setting_names(field.annotation, f"{above}{name}.")
        else:
            yield above + name


def _known(key: str) -> str:
    names = list(setting_names())
    if key in names:
        return key
    same_end = [name for name in names if name.split(".")[-1] == key.split(".")[-1]]
    inside = [name for name in names if name.startswith(f"{key}.")]
    near = dict.fromkeys([*same_end, *inside, *get_close_matches(key, names, 3, 0.6)])
    remedy = f"Did you mean {' or '.join(near)}?" if near else f"The settings are: {', '.join(names)}."
    raise CourseError(f"There is no setting {key}.", remedy)
