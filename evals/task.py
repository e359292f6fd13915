"""What an evaluation is made of: a task joins samples, a solver that answers them and scorers that turn answers into numbers.

Everything that a run writes down is made of the types in this file, so a report, a comparison or a gate needs nothing else.
The shape is that of inspect_ai's tasks: a new one is a file of some twenty lines in evals/tasks/.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from evals.cases import Case
    from evals.environment import Environment

Split = Literal["dev", "test"]
Output = dict[str, Any]  # JSON: what a solver made of a sample
Scores = dict[str, float | None]  # by name; None where a score does not apply to the sample
Pooled = Callable[[Sequence[Scores]], float | None]


@dataclass(frozen=True, slots=True)
class Sample:
    """One case as the harness sees it.

    Attributes:
        id: unique within the task, the same in every run.
        input: JSON; all that the solver may see.
        target: JSON; what only scorers may see.
        group: samples of one group (a source document, a conversation) are not independent; intervals are drawn over groups.
        split: thresholds are fitted on dev only, quoted figures come from test only.
    """

    id: str
    input: Mapping[str, Any]
    target: Mapping[str, Any]
    group: str
    split: Split


@dataclass(frozen=True, slots=True)
class Row:
    """One sample of a run with what came of it: a line of samples/<task>.jsonl.

    Attributes:
        output: of the solver; empty if it failed.
        seconds: that the solver took; for a cached output, that it took when it was computed.
        cached: whether the output was computed in an earlier run.
        error: what went wrong in the solver or a scorer, or empty; such a row has no scores.
    """

    sample: Sample
    output: Output
    scores: Scores
    seconds: float
    cached: bool = False
    error: str = ""


class Solver(Protocol):
    """Answers samples, one at a time."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON that changes whenever outputs may: model, index, prompt version, settings. Part of the key of the cache."""

    def solve(self, sample: Sample) -> Output:
        """The output for one sample; it sees nothing but `sample.input`."""

    def close(self) -> None:
        """Let go of what it holds."""


class Scorer(Protocol):
    """Numbers for one output; the same output gives the same numbers."""

    def __call__(self, sample: Sample, output: Output) -> Scores:
        """Scores by name; names are unique within a task."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a task, computed from the scores of its rows.

    Attributes:
        name: as tables and gate.toml call it.
        compute: the figure from the scores of rows, None where there is nothing to compute it from.
        higher_is_better: which direction is better; None where neither is.
        key: the score that it averages; empty for a pooled metric such as F1 or AUROC, which needs all rows together.
        binary: whether that score is only ever 0 or 1, so that the mean is a rate.
        unit: printed after the figure, such as "ms"; "" for shares of 1.
        about: the definition in one line, with its source.
        needs: scores that a sample must have to count in a pooled metric; without them every sample counts in its n.
    """

    name: str
    compute: Pooled
    higher_is_better: bool | None = True
    key: str = ""
    binary: bool = False
    unit: str = ""
    about: str = ""
    needs: tuple[str, ...] = ()


def rate(key: str, about: str, name: str = "", higher_is_better: bool | None = True) -> Metric:
    """Share of the samples whose score `key` is 1; None scores are left out."""
    return Metric(name or key, _mean_of(key), higher_is_better, key, True, "", about)


def mean(key: str, about: str, name: str = "", higher_is_better: bool | None = True, unit: str = "") -> Metric:
    """Mean of score `key`; None scores are left out."""
    return Metric(name or key, _mean_of(key), higher_is_better, key, False, unit, about)


def pooled(
    name: str, compute: Pooled, about: str, higher_is_better: bool | None = True, unit: str = "", needs: tuple[str, ...] = ()
) -> Metric:
    """A figure that only all rows together have; `needs` are the scores that a row must have to count in it."""
    return Metric(name, compute, higher_is_better, "", False, unit, about, needs)


def _mean_of(key: str) -> Pooled:
    def compute(rows: Sequence[Scores]) -> float | None:
        values = [value for scores in rows if (value := scores.get(key)) is not None]
        return sum(values) / len(values) if values else None

    return compute


@dataclass(frozen=True, slots=True)
class Task:
    """Cases, solver and scorers under one name.

    Attributes:
        name: on the command line: lower case, words joined by "-", families by "/", such as "course/answers".
        about: what it measures, one line.
        samples: reads them; receives the folder given by --data (None without) and must not compute anything heavy.
        solver: makes the solver; receives the environment of the run.
        scorers: makes the scorers likewise.
        metrics: what is reported, most important first.
        data: names of the folders under --data that it reads; it is skipped, with a line that says so, where one is missing.
        source: where the cases come from, their licence and which part of them.
        quick: how many samples `lectern eval quick` takes, drawn with the seed; 0 leaves the task out.
        whole_groups: whether a limited run draws whole groups, such as conversations, instead of single samples.
        seconds: about how long one sample takes on two cores, for the estimate before the first has been measured.
        judged: whether its figures depend on the groundedness judge, whose own quality is then printed beside them.
        probability: names of two scores, a probability and the 0 or 1 that it foretells, for a reliability diagram.
        own: makes samples of somebody's own cases, given by --cases, in the place of `samples`; None if the task takes none.
    """

    name: str
    about: str
    samples: Callable[[Path | None], Iterable[Sample]]
    solver: "Callable[[Environment], Solver]"
    scorers: "Callable[[Environment], Sequence[Scorer]]"
    metrics: Sequence[Metric]
    data: tuple[str, ...] = ()
    source: str = "written for Lectern, Apache-2.0"
    quick: int = 0
    seconds: float = 1.0
    judged: bool = False
    probability: tuple[str, str] | None = field(default=None)
    whole_groups: bool = False
    own: "Callable[[Sequence[tuple[Case, Split]]], Iterable[Sample]] | None" = None

    def asking(self, cases: "Sequence[tuple[Case, Split]]") -> "Task":
        """The task with these cases in the place of its samples; it must take some."""
        assert self.own is not None
        make = self.own
        return replace(self, samples=lambda _: make(cases))


def split_of(key: str) -> Split:
    """The half that a group of cases belongs to: dev where the SHA-256 of its key is even, test where it is odd."""
    return "test" if sha256(key.encode()).digest()[-1] % 2 else "dev"
