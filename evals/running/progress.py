"""How a run goes, on standard error: a bar with an estimate of the rest in a terminal, a line for each task elsewhere."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from evals.running.runner import Planned
from evals.task import Row

_ENOUGH = 3  # samples after which a task's own pace says more than what it foretold


class Estimate:
    """Seconds that are left, from what samples took so far."""

    def __init__(self, tasks: Sequence[Planned]) -> None:
        self._left = {planned.task.name: len(planned.samples) for planned in tasks}
        self._foretold = {planned.task.name: planned.task.seconds for planned in tasks}
        self._took: dict[str, list[float]] = {name: [] for name in self._left}

    def skip(self, name: str, count: int | None = None) -> None:
        """Some samples of a task, or all that are left, need no time."""
        self._left[name] = 0 if count is None else self._left[name] - count

    def add(self, name: str, seconds: float) -> None:
        """One sample of a task took this long."""
        self._left[name] -= 1
        self._took[name].append(seconds)

    @property
    def seconds(self) -> float:
        """The sum over all tasks."""
        return sum(count * self._pace(name) for name, count in self._left.items())

    def _pace(self, name: str) -> float:
        took = self._took[name]
        return sum(took) / len(took) if len(took) >= _ENOUGH else self._foretold[name]


class Bar:
    """Shows a run to people; speaks evals.running.runner.Watch."""

    def __init__(self, tasks: Sequence[Planned], console: Console) -> None:
        self._tasks, self._console = tasks, console
        self._estimate = Estimate(tasks)
        self._number = 0
        self._rows: list[Row] = []
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", style="dim"),
            console=console,
            disable=not console.is_terminal,
        )
        self._bar = self._progress.add_task("", total=sum(len(planned.samples) for planned in tasks), left="")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def begin(self, planned: Planned, done: int) -> None:
        self._number += 1
        self._now, self._done, self._rows = planned, done, []
        self._estimate.skip(planned.task.name, done)
        self._progress.update(self._bar, advance=done)
        self._show()
        if not self._console.is_terminal:
            before = f", {done} done before" if done else ""
            self._say(f"{self._title}: {count(len(planned.samples), 'sample')}{before}; {self._left} in all")

    def row(self, row: Row, seconds: float) -> None:
        self._estimate.add(self._now.task.name, seconds)
        if row.error and not any(earlier.error for earlier in self._rows):
            self._say(f"{self._now.task.name}: sample {row.sample.id} failed: {row.error}", "yellow")
        self._rows.append(row)
        self._progress.update(self._bar, advance=1)
        self._show()

    def end(self, problem: str) -> None:
        left_out = len(self._now.samples) - self._done - len(self._rows)
        self._estimate.skip(self._now.task.name)
        self._progress.update(self._bar, advance=left_out)
        if problem:
            self._say(f"{self._now.task.name} was given up: {problem}", "red")
            return
        cached, failed = sum(row.cached for row in self._rows), sum(bool(row.error) for row in self._rows)
        parts = (
            [count(len(self._rows), "sample")]
            + [f"{cached} from the cache"] * bool(cached)
            + [f"{failed} failed"] * bool(failed)
        )
        self._say(f"{self._now.task.name}: {', '.join(parts)}", "dim")

    @property
    def _title(self) -> str:
        return f"[{self._number}/{len(self._tasks)}] {self._now.task.name}"

    @property
    def _left(self) -> str:
        return f"about {duration(self._estimate.seconds)} left"

    def _show(self) -> None:
        self._progress.update(self._bar, description=escape(self._title), left=self._left)

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style or None, markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """A time for people, such as "40 s", "12 min" or "3.5 h"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def count(number: int, noun: str) -> str:
    """A number with its noun, such as "1 sample" or "3 samples"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
