"""What a reader would see if answers that people have labelled had passed the check of support: the price of each threshold.

    lectern eval run judge/ragtruth-qa --judge trained --split all --data FOLDER
    python -m evals.judges.displayed RUN

A sentence below the threshold is left out. An answer of which nothing is left is not shown. Of those that are shown, some
still have a sentence that people marked as unsupported. The threshold is the lowest of the table whose share of those is at
most 5% on the dev half; what it does is told of the test half. Intervals are drawn over sources.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from evals.figures.resampling import drawn_rows, percentiles
from evals.judges.quality import TASK
from evals.running.runs import find_run
from evals.task import Row
from knowledge.errors import CourseError

THRESHOLDS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
MOST_WRONG = 0.05
FIGURES = ("answers shown", "shown with an unsupported sentence", "supported sentences shown")


@dataclass(frozen=True, slots=True)
class _Answer:
    group: str
    support: np.ndarray
    unsupported: np.ndarray


def figures(answers: Sequence[_Answer], threshold: float) -> dict[str, float]:
    """Shares at one threshold; NaN where nothing is shown."""
    shown = [answer.support >= threshold for answer in answers]
    visible = [place for place, kept in enumerate(shown) if kept.any()]
    wrong = [place for place in visible if (answers[place].unsupported & shown[place]).any()]
    right = sum(int((~answer.unsupported).sum()) for answer in answers)
    kept = sum(int((~answer.unsupported & mask).sum()) for answer, mask in zip(answers, shown, strict=True))
    shares = (len(visible) / len(answers), len(wrong) / len(visible) if visible else np.nan, kept / right if right else np.nan)
    return dict(zip(FIGURES, shares, strict=True))


def chosen(dev: Sequence[_Answer]) -> float | None:
    """The lowest threshold that keeps the promise on the dev half; None if none does."""
    return next((t for t in THRESHOLDS if figures(dev, t)[FIGURES[1]] <= MOST_WRONG), None)


def read(rows: Sequence[Row], split: str) -> list[_Answer]:
    """The answers of one half."""
    return [
        _Answer(row.sample.group, np.array(row.output["support"]), np.array(row.sample.target["unsupported"], dtype=bool))
        for row in rows
        if not row.error and row.sample.split == split
    ]


def table(dev: Sequence[_Answer], test: Sequence[_Answer]) -> Iterator[str]:
    """Both halves as Markdown, and the chosen threshold."""
    yield f"| threshold | {' | '.join(f'{name}: {half}' for half in ('dev', 'test') for name in FIGURES)} |"
    yield "|---" * (1 + 2 * len(FIGURES)) + "|"
    for threshold in THRESHOLDS:
        ours = [*figures(dev, threshold).values(), *figures(test, threshold).values()]
        yield f"| {threshold:.2f} | {' | '.join(f'{value:.3f}' for value in ours)} |"
    yield ""
    best = chosen(dev)
    if best is None:
        yield f"No threshold keeps answers with an unsupported sentence below {MOST_WRONG:.0%} on the dev half."
        return
    members: dict[str, list[int]] = {}
    for place, answer in enumerate(test):
        members.setdefault(answer.group, []).append(place)
    yield f"Chosen on dev: {best}. On the test half, {len(test)} answers about {len(members)} sources:"
    for name in FIGURES:
        compute = partial(_drawn, test, best, name)
        lower, upper = percentiles(drawn_rows(compute, list(members.values()), seed=0))
        before = figures(test, 0.0)[name]
        yield f"- {name}: {figures(test, best)[name]:.3f} ({lower:.3f} to {upper:.3f}), before {before:.3f}"


def _drawn(answers: Sequence[_Answer], threshold: float, name: str, places: Sequence[int]) -> float:
    return figures([answers[place] for place in places], threshold)[name]


def main(arguments: Sequence[str]) -> int:
    """Print the table of a run."""
    if len(arguments) != 1:
        print("usage: python -m evals.judges.displayed RUN", file=sys.stderr)
        return 2
    try:
        rows = find_run(arguments[0]).rows(TASK)
        dev, test = read(rows, "dev"), read(rows, "test")
        if not dev or not test:
            raise CourseError("The run lacks one of the halves.", f"Run: lectern eval run {TASK} --split all --data FOLDER")
        print("\n".join(table(dev, test)))
    except CourseError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
