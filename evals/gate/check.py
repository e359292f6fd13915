"""Did a change make anything worse? Every figure of gate.toml in a run, paired with the baseline, decided one of three ways.

FELL       the paired difference is worse than the margin, and more than chance: its 95% interval excludes 0 and the paired
           test, where there is one, agrees (p <= 0.05); or the run's own 95% interval lies wholly beyond a fixed limit; or a
           sample failed that worked in the baseline.
PASSED     the difference is within the margin, and the 95% interval excludes a worsening of twice the margin.
           A figure that must rise passed if it is better, and more than chance by the same two measures.
UNDECIDED  everything else, and whatever rests on fewer samples than `least_n` or on fewer than ten groups. Never a pass.

What that promises for each figure, however many samples there are: one that is as good as before is said to have fallen in at
most about 2.5% of gates, and one that is worse by two margins passes in about 3%. A fall of just the margin is caught every
second time, so slow decline is for the fixed limits to stop. Every figure is decided by itself: an equal variant that changes
many answers meets the 2.5% once for each; a rerun changes next to none. `least_n` is where a fall of two margins is called one,
and not merely undecided, with 80% power while 5% of the answers change by chance. tests/test_evals_gate.py simulates all this.

A simpler rule, "undecided while the half-width of the interval exceeds the margin", errs as seldom where it decides, but with
120 samples, a margin of 0.05 and 10% of the answers changing by chance it leaves 90% of equal variants undecided, this one 7%.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any, Literal

from evals.figures.compare import change_of, differing, other_judge
from evals.figures.pairs import Pairs, pair
from evals.figures.stats import Difference, Estimate
from evals.figures.summary import metrics_of, of_rows
from evals.gate.accept import BASELINE
from evals.gate.file import CONFIG, Gated, read_gate
from evals.running.runs import Run
from evals.task import Metric, Task
from knowledge.errors import CourseError

LEAST_GROUPS = 10  # resampling fewer gives intervals that are far too narrow
_SLACK = 1e-9  # 0.85 - 0.80 is a hair more than 0.05
Status = Literal["passed", "fell", "undecided"]
_WORST: tuple[Status, ...] = ("fell", "undecided", "passed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one figure.

    Attributes:
        why: the reason in words; empty if it passed.
        change: against the baseline; None where it could not be paired or has no margin.
        now: the figure of the run alone, with its interval.
    """

    gated: Gated
    metric: Metric
    status: Status
    why: str
    change: Difference | None = None
    now: Estimate | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        change, metric = self.change, self.metric
        keys = ("before", "after", "low", "high", "n", "groups", "method", "p", "test")
        paired = {"difference": change.value, **{key: getattr(change, key) for key in keys}} if change else None
        now = {key: getattr(self.now, key) for key in ("value", "low", "high", "n")} if self.now else None
        told = {"unit": metric.unit, "higher_is_better": metric.higher_is_better}
        return {**self.gated.model_dump(), **told, "status": self.status, "why": self.why, "change": paired, "now": now}


@dataclass(frozen=True, slots=True)
class GateResult:
    """The outcome of a gate.

    Attributes:
        run, baseline: their names.
        failed: ids of samples by task that failed in the run and worked in the baseline.
        unpaired: how many samples of each task could not be paired, by reason, with their ids.
        differing: what the manifests do not agree in: key, baseline, run.
    """

    run: str
    baseline: str
    outcomes: tuple[Outcome, ...]
    failed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unpaired: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    differing: tuple[tuple[str, Any, Any], ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if every figure passed and no sample failed, else 1."""
        return int(bool(self.failed) or any(outcome.status != "passed" for outcome in self.outcomes))

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "run": self.run,
            "baseline": self.baseline,
            "passed": not self.exit_code,
            "figures": [outcome.as_json() for outcome in self.outcomes],
            "failed": {task: list(ids) for task, ids in self.failed.items()},
            "unpaired": {task: {why: list(ids) for why, ids in found.items()} for task, found in self.unpaired.items()},
            "differing": [{"key": key, "baseline": old, "run": new} for key, old, new in self.differing],
        }


def check(run: Path, tasks: Sequence[Task] | None = None, config: Path = CONFIG, baseline: Path = BASELINE) -> GateResult:
    """Decide every figure of gate.toml.

    `tasks` are those that there are, None takes the registry's.

    Raises:
        CourseError: the run has not finished, the baseline or gate.toml is missing or damaged, or gate.toml names a figure that
            does not exist.
    """
    metrics = metrics_of(tasks)
    gate = read_gate(config, metrics)
    new, old = Run(run), Run(baseline)
    manifest = new.manifest()
    if not manifest.get("finished"):
        raise CourseError(f"{new.name} has not finished.", "Go on with its command and --resume, then ask the gate again.")
    if not (baseline / "manifest.json").is_file():
        raise CourseError(
            f"There is no baseline in {baseline}.", f"Make this run the baseline: lectern eval gate --accept {new.name}"
        )
    before = old.manifest()
    pairs = {name: pair(old.rows(name), new.rows(name)) for name in dict.fromkeys(gated.task for gated in gate)}
    absent = {**manifest.get("skipped", {}), **manifest.get("stopped", {})}
    outcomes = []
    for gated in gate:
        metric = next(metric for metric in metrics[gated.task] if metric.name == gated.metric)
        if not (rows := new.rows(gated.task)):
            why = f"the run has no samples of {gated.task}" + (f": it {absent[gated.task]}" if gated.task in absent else "")
            outcomes.append(Outcome(gated, metric, "undecided", why))
        elif gated.is_paired and other_judge(before, manifest, gated.task):
            outcomes.append(Outcome(gated, metric, "undecided", "another judge than in the baseline judged it"))
        else:
            outcomes.append(_outcome(gated, metric, pairs[gated.task], of_rows(metric, rows)))
    return GateResult(
        new.name,
        str(before.get("name", old.name)),
        tuple(outcomes),
        {name: two.newly_failed for name, two in pairs.items() if two.newly_failed},
        {name: two.unpaired for name, two in pairs.items() if two.unpaired},
        tuple(differing(before, manifest)),
    )


def _outcome(gated: Gated, metric: Metric, pairs: Pairs, now: Estimate | None) -> Outcome:
    change = change_of(metric, pairs) if gated.is_paired and pairs.both else None
    verdicts = [limit(gated, now), *([decide(gated, metric, change)] if gated.is_paired else [])]
    status = min((verdict[0] for verdict in verdicts), key=_WORST.index)
    why = "; ".join(reason for found, reason in verdicts if found == status and reason)
    return Outcome(gated, metric, status, why, change, now)


def decide(gated: Gated, metric: Metric, change: Difference | None) -> tuple[Status, str]:
    """Whether a figure with a margin fell against the baseline, or one that must rise did so, and why."""
    margin = gated.margin
    if not gated.is_paired or metric.higher_is_better is None:
        raise ValueError(f"{metric.name} has no margin or no direction")
    if change is None or change.low is None or change.high is None:
        return "undecided", "no sample of the baseline and of the run can be paired" if change is None else "it has no interval"
    if change.groups < LEAST_GROUPS:
        return "undecided", f"not enough cases to decide: {change.groups} groups of samples, of which {LEAST_GROUPS} are needed"
    fall = -change.value if metric.higher_is_better else change.value
    most = -change.low if metric.higher_is_better else change.high
    if margin is None:
        return _rise(gated, change, -fall)
    if fall > margin + _SLACK and change.sure:
        return "fell", f"worse by {fall:.3g}, more than the {margin:g} tolerated and more than chance"
    if change.n < gated.least_n:
        return "undecided", f"not enough cases to decide: {change.n} paired samples, of which {gated.least_n} are needed"
    if fall <= margin + _SLACK and most < 2 * margin + _SLACK:
        return "passed", ""
    # The width of an interval shrinks with the root of n; this many would tell, should the difference stay the same.
    room = fall if fall > margin else 2 * margin - fall
    needed = 10 * ceil(change.n * ((most - fall) / room) ** 2 / 10)
    why = f"it may have got worse by up to {most:.3g}, and {margin:g} is tolerated"
    return "undecided", f"not enough cases to decide: {why}; there are {change.n} samples, about {needed} would tell"


def _rise(gated: Gated, change: Difference, rise: float) -> tuple[Status, str]:
    p = "" if change.p is None else f", p = {change.p:.2g}"
    if change.sure and rise < 0:
        return "fell", f"it must rise, but is worse by {-rise:.3g}, more than chance"
    if change.n < gated.least_n:
        return "undecided", f"not enough cases to decide: {change.n} paired samples, of which {gated.least_n} are needed"
    if change.sure:
        return "passed", ""
    interval = f"95% interval of the change {change.low:.3g} to {change.high:.3g}"
    return "undecided", f"it must rise, and changed by {rise:+.3g}, no more than chance ({interval}{p})"


def limit(gated: Gated, now: Estimate | None) -> tuple[Status, str]:
    """Whether a figure broke its fixed floor or ceiling, and why."""
    for name, bound, sign in (("floor", gated.floor, 1), ("ceiling", gated.ceiling, -1)):
        if bound is None:
            continue
        if now is None or now.low is None or now.high is None:
            return "undecided", f"no figure or no interval to hold against its {name} of {bound:g}"
        best = now.high if sign > 0 else now.low
        if sign * (bound - best) > _SLACK:
            return "fell", f"beyond its {name} of {bound:g}, and so is its whole interval ({now.low:.3g} to {now.high:.3g})"
        if sign * (bound - now.value) > _SLACK:
            return "undecided", f"not enough cases to decide: beyond its {name} of {bound:g}, which its interval still holds"
        if now.n < gated.least_n:
            return "undecided", f"not enough cases to decide: {now.n} samples, of which {gated.least_n} are needed"
    return "passed", ""
