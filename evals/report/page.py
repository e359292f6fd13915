"""The whole page: a run's rows and figures in, HTML out."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from evals.figures.compare import compare_runs
from evals.figures.summary import JUDGES, SUMMARY, figures
from evals.report.comparison import ComparisonView, comparison_view
from evals.report.head import Rows, head, notices
from evals.report.samples import Passages, SampleView, view
from evals.report.sections import Section, section
from evals.report.tables import plain
from evals.report.verdict import verdict
from evals.running.registry import all_tasks
from evals.running.runs import Run
from evals.task import Row, Task
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from jinja2 import Environment

_SAMPLES = 1000  # shown in all; more make a page that browsers open slowly
_LEAST = 40  # of a task
_ORDER = {"error": 0, "failed": 1, "": 2, "passed": 3}
_OUTCOMES = ("failed", "passed", "error", "refused")


def render(run: Path, against: Path | None = None, known: Sequence[Task] | None = None) -> str:
    """The report of a run as HTML; arguments as those of `write_report`.

    Raises:
        CourseError: there is no run in one of the folders, or its manifest is damaged.
    """
    found = Run(run)
    manifest = found.manifest()
    tasks = {task.name: task for task in (all_tasks() if known is None else known)}
    rows, problems = _rows(found, manifest)
    summary = _summary(found, rows, tasks, problems)
    sections = [section(name, part, tasks.get(name), summary, manifest) for name, part in rows.items()]
    comparison = _comparison(run, against, tasks, problems) if against else None
    passages = Passages()
    samples, left_out = _samples(rows, tasks, passages)
    outcomes = Counter(outcome for sample in samples for outcome in sample.outcomes)
    script = _beside("report.js")
    return (
        _templates()
        .get_template("report.html.j2")
        .render(
            title=found.name,
            head=head(manifest, rows),
            notices=[*problems, *notices(manifest, rows, list(tasks))],
            sections=sections,
            comparison=comparison,
            samples=samples,
            sampled=list(dict.fromkeys(sample.task for sample in samples)),
            left_out=left_out,
            outcomes=[(name, outcomes[name]) for name in _OUTCOMES],
            passages=list(passages.stored.values()),
            methods=_methods(sections),
            style=Markup(_beside("report.css")),
            script=Markup(script),
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        )
    )


def _rows(run: Run, manifest: Mapping[str, Any]) -> tuple[Rows, list[str]]:
    rows: dict[str, list[Row]] = {}
    problems = []
    for name in manifest.get("tasks") or {}:
        try:
            rows[name] = run.rows(name)
        except CourseError as error:
            rows[name] = []
            problems.append(f"{name} cannot be shown. {error}")
    return rows, problems


def _summary(run: Run, rows: Rows, tasks: Mapping[str, Task], problems: list[str]) -> dict[str, Any]:
    """summary.json, or the figures computed again where it is missing, damaged or older than the rows."""
    path = run.folder / SUMMARY
    try:
        written = path.stat().st_mtime
        if all(run.samples_file(name).stat().st_mtime <= written for name, part in rows.items() if part):
            return dict(json.loads(path.read_text(encoding="utf-8")))
        problems.append(f"{SUMMARY} is older than the samples; its figures were computed again for this report.")
    except FileNotFoundError:
        problems.append(f"{SUMMARY} is missing; the figures were computed for this report.")
    except ValueError as error:
        problems.append(f"{SUMMARY} is damaged ({error}); the figures were computed again for this report.")
    summary: dict[str, Any] = {name: figures(part, tasks[name].metrics) for name, part in rows.items() if name in tasks}
    return summary | {"judge_quality": {name: found for name, found in summary.items() if name.startswith(JUDGES)}}


def _comparison(run: Path, against: Path, tasks: Mapping[str, Task], problems: list[str]) -> ComparisonView | None:
    Run(against).manifest()
    try:
        return comparison_view(compare_runs(against, run, list(tasks.values())), tasks)
    except CourseError as error:
        problems.append(f"It cannot be compared with {Run(against).name}. {error}")
        return None


def _samples(rows: Rows, tasks: Mapping[str, Task], passages: Passages) -> tuple[list[SampleView], list[str]]:
    """The rows to show, failures first, and what was left out, in words."""
    shown: list[SampleView] = []
    left_out = []
    share = max(_LEAST, _SAMPLES // max(1, len(rows)))
    spare = _SAMPLES - sum(min(share, len(part)) for part in rows.values())
    for name, part in rows.items():
        task = tasks.get(name)
        most = min(len(part), share + max(0, spare))
        spare -= max(0, most - share)
        ordered = sorted(part, key=lambda row: _ORDER[verdict(row, task)[0]])
        shown += [view(name, row, task, passages) for row in ordered[:most]]
        if most < len(part):
            left_out.append(f"{name}: {most:,} of {len(part):,} samples, failures first; samples/ has all of them.")
    return shown, left_out


def _methods(sections: Sequence[Section]) -> str:
    named = dict.fromkeys(figure.method for section in sections for figure in (*section.test, *section.dev) if figure.method)
    return ", ".join(named) or "none"


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["plain"] = plain
    return templates


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
