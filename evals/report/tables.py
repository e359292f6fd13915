"""Figures of summary.json as rows of a table, with the bar that shows the interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

Split = str
_FINE = 3  # decimals of a share


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval on a scale; positions are percent of its width.

    Attributes:
        at: of the value.
        left, width: of the interval, None where there is none.
        zero: where 0 is, if it is neither end of the scale.
    """

    at: float
    left: float | None
    width: float | None
    zero: float | None


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    about: str
    value: str
    interval: str
    n: str
    bar: Bar
    method: str


def figures(task: Mapping[str, Any], split: Split, only: Split | None) -> list[Figure]:
    """The figures of one half of a task.

    Args:
        task: by metric, as summary.json has them.
        split: the half.
        only: the half that all samples of the task belong to, None where it has samples of both.
    """
    found = []
    for name, whole in task.items():
        part = whole if only == split else whole.get("splits", {}).get(split)
        if part is None or part.get("value") is None:
            continue
        unit = str(whole.get("unit", ""))
        scale = _scale([part["value"], part.get("low"), part.get("high")], unit)
        about = str(whole.get("about", ""))
        better = {True: "higher is better", False: "lower is better"}.get(whole.get("higher_is_better"))  # type: ignore[arg-type]
        found.append(
            Figure(
                name=label(name),
                about=f"{about}; {better}" if about and better else about or better or "",
                value=number(part["value"], unit),
                interval=interval(part.get("low"), part.get("high")),
                n=clustered(part),
                bar=bar(part["value"], part.get("low"), part.get("high"), scale),
                method=str(part.get("method", "")),
            )
        )
    return found


def clustered(part: Mapping[str, Any]) -> str:
    """How many samples, and in how many groups if that is fewer."""
    n, groups = part["n"], part.get("groups", part["n"])
    return f"{n:,}" if groups == n else f"{n:,} in {groups:,}"


def label(name: str) -> str:
    """A metric's name for people."""
    return name.replace("_", " ")


def number(value: float | None, unit: str = "", sign: bool = False) -> str:
    """Three decimals for shares, three digits or so for everything else; a dash for None."""
    if value is None:
        return "–"
    if value == 0 and sign:
        return "0"
    digits = _FINE if abs(value) < 10 and not unit else 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:{'+' if sign else ''},.{digits}f}".replace("-", "−")
    return f"{text} {unit}" if unit else text


def plain(value: float | None) -> str:
    """A score of one sample; yes/no scores without decimals."""
    return f"{value:,.0f}" if value is not None and value == round(value) else number(value)


def interval(low: float | None, high: float | None, sign: bool = False) -> str:
    """Both bounds, or why there are none."""
    if low is None or high is None:
        return "not to be had"
    unit = " " if max(abs(low), abs(high)) > 1.5 else ""  # a unit only chooses the decimals here
    return f"{number(low, unit, sign).strip()} to {number(high, unit, sign).strip()}"


def bar(value: float, low: float | None, high: float | None, scale: tuple[float, float]) -> Bar:
    """Positions on a scale from its first to its second value; what lies outside is put at the edge."""
    first, last = scale

    def place(x: float) -> float:
        return round(100 * min(1.0, max(0.0, (x - first) / (last - first))), 1)

    zero = place(0) if first < 0 < last else None
    if low is None or high is None:
        return Bar(place(value), None, None, zero)
    return Bar(place(value), place(low), round(place(high) - place(low), 1), zero)


def around_zero(bounds: Sequence[float | None]) -> tuple[float, float]:
    """A round scale with 0 in the middle."""
    most = _round_up(max((abs(value) for value in bounds if value is not None), default=1.0))
    return -most, most


def _scale(values: Sequence[float | None], unit: str) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    if not unit and high <= 1:
        return (0.0, 1.0) if low >= 0 else (-1.0, 1.0)
    return (0.0, _round_up(high)) if low >= 0 else around_zero(known)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next((step * power for step in (1, 2, 5, 10) if value <= step * power), float(ceil(value)))
