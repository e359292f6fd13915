"""report.html: one file that shows what a run found. Jinja2 fills the templates beside this file; matplotlib draws."""

from collections.abc import Sequence
from pathlib import Path

from evals.report.page import render
from evals.task import Task

REPORT = "report.html"


def write_report(run: Path, against: Path | None = None, tasks: Sequence[Task] | None = None) -> Path:
    """Write <run>/report.html, which needs nothing but itself.

    Args:
        run: folder of the run; it may be unfinished, and what is missing is said in the report.
        against: folder of an earlier run to compare it with.
        tasks: those that there are; None takes the registry's.

    Raises:
        CourseError: there is no run in one of the folders, or its manifest is damaged.
    """
    scratch = run / f"{REPORT}.part"
    # A lone surrogate, which a model can write, is no character that a file can hold.
    scratch.write_text(render(run, against, tasks), encoding="utf-8", errors="backslashreplace")
    return scratch.replace(run / REPORT)
