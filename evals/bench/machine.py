"""What a figure was measured on; every benchmark prints it first."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from assistant.settings import core_count

_DECIDE_SPEED = ("torch", "sentence-transformers", "chromadb", "llama-cpp-python")


def machine() -> str:
    """Processor, cores, memory, Python and the versions that decide speed, in one line."""
    import psutil

    versions = ", ".join(f"{name} {version(name)}" for name in _DECIDE_SPEED)
    memory = psutil.virtual_memory().total / 2**30
    return f"{_processor()}, {core_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, {versions}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def spread(values: Sequence[float], unit: str = "") -> str:
    """Median with the quartiles, for people."""
    if len(values) < 2:
        return f"{_figure(values[0])}{unit} (n = 1)" if values else "none"
    low, middle, high = (_figure(quantile(values, share)) for share in (0.25, 0.5, 0.75))
    return f"{middle}{unit} ({low} to {high}, n = {len(values)})"


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values (0 to 1) do not exceed, between neighbours by linear interpolation.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("A quantile of nothing.")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
