"""How good the judge is, measured on people's labels and printed beside every figure that it makes.

evals/judge_quality.json holds what was measured, by the judge's identity: RAGTruth-QA, test half. Whoever changes a judge or
brings another one measures it anew:

    lectern eval run judge/ragtruth-qa --judge NAME --split all --data FOLDER
    python -m evals.judges.quality RUN --record

The dev half is needed for the thresholds of the detectors that it is compared with: each has the one with its best F1 there.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from evals.figures.resampling import drawn_rows, percentiles
from evals.judges.trivial import coverage
from evals.running.runs import Run, find_run
from evals.scorers.detection import AT_THRESHOLD, RANKING, Floats, counts, fitted
from evals.task import Row
from knowledge.errors import CourseError

FILE = Path(__file__).parents[1] / "judge_quality.json"
TASK = "judge/ragtruth-qa"
LEVELS = ("response", "sentence")
FIGURES = (*AT_THRESHOLD, *RANKING)
DETECTORS = ("judge", "coverage", "length")
Figure = list[float | None]  # value, low and high end of the 95% interval


@dataclass(frozen=True, slots=True)
class _Item:
    """A response or a sentence: what people say, and what makes each detector suspicious of it."""

    group: str
    dev: bool
    truth: float
    suspicion: dict[str, float]


def judge_quality(identity: str) -> dict[str, Any] | None:
    """What was measured of the judge, as `measure` returns it; None if nothing was."""
    found = _known().get(identity)
    return dict(found) if found else None


def quality_line(identity: str) -> str:
    """The judge's quality in one line, to print beside its figures."""
    if not (found := judge_quality(identity)):
        return f"judge {identity.partition(':')[0]}: quality not measured"
    parts = []
    for level in LEVELS:
        figures = found[level]["detectors"]["judge"]
        parts.append(f"{level} AUROC {_shown(figures['auroc'])}, F1 {_shown(figures['f1'])}, n {found[level]['n']}")
    return f"judge {identity.partition(':')[0]}, {found['data']} {found['split']} half, {found['measured']}: {'; '.join(parts)}"


def measure(rows: Sequence[Row]) -> dict[str, Any]:
    """The judge and trivial detectors on the test half of labelled rows.

    Args:
        rows: of judge/ragtruth-qa, both halves.

    Returns:
        JSON: for each level n, sources, base_rate and detectors (their figures, each with value, low and high), and by_part.

    Raises:
        CourseError: a half is missing.
    """
    good = [row for row in rows if not row.error]
    if {row.sample.split for row in good} != {"dev", "test"}:
        raise CourseError("The run lacks one of the halves.", "Run the task with --split all.")
    levels = {"response": list(_responses(good)), "sentence": list(_sentences(good))}
    return {level: _level(items, good[0].output["threshold"]) for level, items in levels.items()} | {"by_part": _by_part(good)}


def record(run: Run, path: Path = FILE) -> dict[str, Any]:
    """Measure the judge of a run of judge/ragtruth-qa and keep that in judge_quality.json.

    Raises:
        CourseError: the run has no such task, or no dev half.
    """
    identity, found = measured(run)
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    text = json.dumps(known | {identity: found}, indent=1, sort_keys=True) + "\n"
    path.write_text(text, encoding="utf-8")
    _known.cache_clear()
    return found


def measured(run: Run) -> tuple[str, dict[str, Any]]:
    """Identity and measured quality of the judge of a run; the same errors as `record`."""
    judge, rows = run.manifest().get("judge"), run.rows(TASK)
    if not judge or not rows:
        raise CourseError(f"{run.name} has no rows of {TASK}.", f"Run: lectern eval run {TASK} --split all --data FOLDER")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    about = {"data": "RAGTruth-QA", "split": "test", "measured": today}
    return judge["identity"], about | measure(rows)


def table(found: dict[str, Any]) -> Iterator[str]:
    """The measured quality as Markdown."""
    for level in LEVELS:
        seen = found[level]
        yield f"{level}s: n {seen['n']}, {seen['sources']} sources, {seen['base_rate']:.1%} unsupported"
        yield ""
        yield f"| detector | {' | '.join(FIGURES)} |"
        yield f"|---|{'---|' * len(FIGURES)}"
        for detector, figures in seen["detectors"].items():
            yield f"| {detector.replace('_', ' ')} | {' | '.join(_shown(figures[name]) for name in FIGURES)} |"
        yield ""
    yield "| responses of | n | unsupported | AUROC of the judge | of coverage | of length |"
    yield "|---|---|---|---|---|---|"
    for part, seen in found["by_part"].items():
        scores = " | ".join(_shown(seen[name]) for name in ("judge", "coverage", "length"))
        yield f"| {part} | {seen['n']} | {seen['base_rate']:.1%} | {scores} |"


@cache
def _known() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    return found


def _responses(rows: Sequence[Row]) -> Iterator[_Item]:
    for row in rows:
        sentences = list(_sentences([row]))
        worst = {name: max(item.suspicion[name] for item in sentences) for name in ("judge", "coverage")}
        words = sum(item.suspicion["length"] for item in sentences)
        truth = max(item.truth for item in sentences)
        yield _Item(row.sample.group, row.sample.split == "dev", truth, worst | {"length": words})


def _sentences(rows: Sequence[Row]) -> Iterator[_Item]:
    for row in rows:
        seen, labels = row.sample.input, row.sample.target["unsupported"]
        covered = coverage(seen["sentences"], seen["passages"], seen["question"])
        for sentence, label, support, found in zip(seen["sentences"], labels, row.output["support"], covered, strict=True):
            suspicion = {"judge": 1 - support, "coverage": 1 - found, "length": float(len(sentence.split()))}
            yield _Item(row.sample.group, row.sample.split == "dev", float(label), suspicion)


def _level(items: Sequence[_Item], threshold: float) -> dict[str, Any]:
    dev, test = [item for item in items if item.dev], [item for item in items if not item.dev]
    best = {name: fitted(_truth(dev), _suspicion(dev, name)) for name in DETECTORS}
    ranking = {name: _figures(test, _suspicion(test, name), 0.0, tuple(RANKING)) for name in DETECTORS}
    at = {"judge": _figures(test, _suspicion(test, "judge"), 1 - threshold, tuple(AT_THRESHOLD)) | ranking["judge"]}
    for name in DETECTORS:
        figures = _figures(test, _suspicion(test, name), best[name], tuple(AT_THRESHOLD))
        at[f"{name}, fitted on dev"] = figures | ranking[name]
    at["always yes"] = _figures(test, np.ones(len(test)), 0.0)
    return {
        "n": len(test),
        "sources": len({item.group for item in test}),
        "base_rate": round(float(_truth(test).mean()), 4),
        "fitted": {name: _finite(value) for name, value in best.items()},
        "detectors": at,
    }


def _by_part(rows: Sequence[Row]) -> dict[str, Any]:
    found = {}
    test = [row for row in rows if row.sample.split == "test"]
    for part in sorted({row.sample.target["part"] for row in test}):
        items = list(_responses([row for row in test if row.sample.target["part"] == part]))
        scores = {name: _figures(items, _suspicion(items, name), 0.0, ("auroc",))["auroc"] for name in DETECTORS}
        found[part] = {"n": len(items), "base_rate": round(float(_truth(items).mean()), 4)} | scores
    return found


def _figures(items: Sequence[_Item], suspicion: Floats, most: float, names: Sequence[str] = FIGURES) -> dict[str, Figure]:
    truth = _truth(items)
    members: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        members.setdefault(item.group, []).append(place)

    def compute(name: str, places: Sequence[int]) -> float:
        chosen = np.asarray(places)
        labels, values = truth[chosen], suspicion[chosen]
        value = RANKING[name][0](labels, values) if name in RANKING else AT_THRESHOLD[name][0](counts(labels, values, most))
        return float("nan") if value is None else value

    found = {}
    for name in names:
        bounds = percentiles(drawn_rows(partial(compute, name), list(members.values()), seed=0))
        found[name] = [_finite(value) for value in (compute(name, range(len(items))), *bounds)]
    return found


def _suspicion(items: Sequence[_Item], name: str) -> Floats:
    return np.array([item.suspicion[name] for item in items], dtype=float)


def _truth(items: Sequence[_Item]) -> Floats:
    return np.array([item.truth for item in items], dtype=float)


def _finite(value: float | None) -> float | None:
    return round(value, 4) if value is not None and np.isfinite(value) else None


def _shown(figure: Figure) -> str:
    value, low, high = figure
    if value is None:
        return "-"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def main(arguments: Sequence[str]) -> int:
    """Print the table of a run's judge; with --record also keep it."""
    names = [argument for argument in arguments if argument != "--record"]
    if len(names) != 1:
        print("usage: python -m evals.judges.quality RUN [--record]", file=sys.stderr)
        return 2
    try:
        run = find_run(names[0])
        found = record(run) if "--record" in arguments else measured(run)[1]
    except CourseError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print("\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
