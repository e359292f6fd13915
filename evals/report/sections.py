"""One task of a run: its figures, its pictures, and the quality of the judge that its figures rest on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from evals.figures.summary import JUDGES
from evals.judges.quality import quality_line
from evals.report import charts
from evals.report.charts import Chart
from evals.report.numbers import TIMES, Confusion, confusion, pairs, reliability, trade_off, values
from evals.report.tables import Figure, figures, interval, label, number
from evals.task import Row, Scores, Task

_FEW = 8  # values below which a distribution is a list, not a picture
_JUDGE_FIGURE = "auroc"


@dataclass(frozen=True, slots=True)
class Section:
    """A task as the template wants it.

    Attributes:
        counts: how many samples, in words.
        problem: why there are no figures, or empty.
        judge: whose verdicts the figures rest on and how good it is, or empty.
        half: what the pictures are of, in words.
    """

    name: str
    about: str
    source: str
    counts: str
    problem: str
    judge: str
    test: Sequence[Figure]
    dev: Sequence[Figure]
    half: str
    confusion: Confusion | None
    charts: Sequence[Chart]

    @property
    def anchor(self) -> str:
        """Unique within the report."""
        return "t-" + sha256(self.name.encode()).hexdigest()[:12]

    @property
    def pictured(self) -> bool:
        """Whether there is anything to look at."""
        return self.confusion is not None or bool(self.charts)


def section(
    name: str, rows: Sequence[Row], task: Task | None, summary: Mapping[str, Any], manifest: Mapping[str, Any]
) -> Section:
    """One task.

    Args:
        name: of the task.
        rows: all of the task.
        task: None where this version of Lectern has no such task.
        summary: of the whole run.
        manifest: of the run.
    """
    scored = [row for row in rows if not row.error]
    halves = {row.sample.split for row in scored}
    only = next(iter(halves)) if len(halves) == 1 else None
    found = summary.get(name, {})
    pictured = [row for row in scored if row.sample.split == "test"] or scored
    of = "test" if "test" in halves else "development"
    half = f"{of} half, n = {len(pictured):,}"
    return Section(
        name=name,
        about=task.about if task else "This version of Lectern has no such task.",
        source=task.source if task else "",
        counts=_counts(rows),
        problem=_problem(rows, found),
        judge=judge_line(summary, manifest) if task and task.judged and not name.startswith(JUDGES) else "",
        test=figures(found, "test", only),
        dev=figures(found, "dev", only),
        half=half,
        confusion=confusion([row.scores for row in pictured]),
        charts=list(_charts(name, pictured, task, manifest, half)),
    )


def judge_line(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Which judge, how good it was when it was last measured, and what this run measured of it."""
    judge = manifest.get("judge") or {}
    identity = str(judge.get("identity") or "unknown")
    measured = []
    for name, found in summary.get("judge_quality", {}).items():
        if whole := found.get(_JUDGE_FIGURE):
            part = whole.get("splits", {}).get("test", whole)  # its threshold was fitted on the other half
            measured.append(f"{name.removeprefix(JUDGES)} {number(part['value'])} ({interval(part['low'], part['high'])})")
    in_this_run = f" AUROC in this run: {', '.join(measured)}." if measured else ""
    return f"Figures of groundedness and citations rest on the {quality_line(identity)}.{in_this_run}"


def _counts(rows: Sequence[Row]) -> str:
    errors = sum(bool(row.error) for row in rows)
    return f"{len(rows):,} samples" + (f", {errors:,} failed" if errors else "") + "."


def _problem(rows: Sequence[Row], found: Mapping[str, Any]) -> str:
    if not rows:
        return "No samples."
    if all(row.error for row in rows):
        return f"All {len(rows):,} samples failed."
    return "" if found else "Its samples have no scores that a figure could be made of."


def _charts(name: str, rows: Sequence[Row], task: Task | None, manifest: Mapping[str, Any], half: str) -> Iterator[Chart]:
    scores: list[Scores] = [row.scores for row in rows]
    settings = manifest.get("settings") or {}
    refuses_below = settings.get("retrieval", {}).get("threshold")
    if refuses_below is not None and (curve := trade_off(scores, refuses_below)):
        yield charts.trade_off(name, curve, half)
    relevance = _relevance(scores)
    if sum(len(found) for _, found in relevance) >= _FEW:
        caption = "How likely the search thinks that the material covers a question; below the threshold it is refused"
        yield charts.distribution(name, "Relevance", relevance, refuses_below, f"{caption} ({half}).")
    sentences = [sentence for row in rows for sentence in row.output.get("sentences") or ()]
    support = [float(by) for sentence in sentences if isinstance(by := sentence.get("support"), int | float)]
    if len(support) >= _FEW:
        caption = "How well its citations support each sentence that was shown; those below the threshold were left out"
        shown_from = settings.get("grounding", {}).get("threshold")
        yield charts.distribution(name, "Support", [("sentences", support)], shown_from, f"{caption} ({half}).")
    if task and task.probability:
        probability, outcome = task.probability
        if calibration := reliability(pairs(scores, probability, outcome)):
            yield charts.reliability(name, label(probability), label(outcome), calibration, half)
    times = [(label(key).removesuffix(" ms"), values(scores, key)) for key in TIMES]
    if timed := [(key, found) for key, found in times if len(found) >= _FEW]:
        yield charts.latency(name, timed, half)


def _relevance(scores: Sequence[Scores]) -> list[tuple[str, list[float]]]:
    """By whether the question is covered, where that is known."""
    known = {"covered": 1.0, "not covered": 0.0}
    parts = {word: [row for row in scores if row.get("answerable") == kind] for word, kind in known.items()}
    series = parts if any(parts.values()) else {"questions": list(scores)}
    return [(word, found) for word, part in series.items() if (found := values(part, "relevance"))]
