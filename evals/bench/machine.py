"""What a figure was measured on; every benchmark prints it first."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

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
        return f"{values[0]:.3g}{unit} (n = 1)" if values else "none"
    low, _, high = quantiles(values, n=4)
    return f"{median(values):.3g}{unit} ({low:.3g} to {high:.3g}, n = {len(values)})"
