"""A GateResult as `lectern eval gate` prints it for people."""

from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.figures.compare_text import settings_table, signed
from evals.gate.check import GateResult, Outcome
from evals.listing import shown

_STYLES = {"passed": "green", "fell": "bold red", "undecided": "yellow"}
_LEGEND = """\
Change: this run - baseline, on the same samples, with its 95% interval. Tolerated: how much worse a figure may get.
  ↓          less is better
  fell       worse than tolerated and more than chance, or its whole interval beyond a fixed limit
  passed     a worsening of twice what is tolerated is ruled out
  undecided  the samples are too few to say; that is no pass"""


def print_gate(found: GateResult, console: Console | None = None) -> None:
    """The table of all figures, the reasons, what to do next; the last line is the verdict."""
    to = console or Console()
    to.print(f"Run {found.run} against the baseline {found.baseline}\n", markup=False, highlight=False)
    headings = ("figure", "baseline", "run", "change", "95% interval", "tolerated", "n", "result")
    table = Table(*headings, box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.columns[0].no_wrap = True
    for number in range(1, 7):
        table.columns[number].justify = "right"
    for task, outcomes in groupby(found.outcomes, lambda outcome: outcome.gated.task):
        table.add_row(f"[bold]{escape(task)}[/]")
        for outcome in outcomes:
            table.add_row(*map(escape, _cells(outcome)), f"[{_STYLES[outcome.status]}]{outcome.status}[/]")
    to.print(table)
    to.print(f"\n{_LEGEND}", highlight=False, markup=False, soft_wrap=True)
    _print_reasons(found, to)
    if found.exit_code and found.differing:
        to.print()
        to.print(settings_table(found.differing, "what differs from the baseline", "baseline", "run"))
    _print_verdict(found, to)


def _cells(outcome: Outcome) -> tuple[str, ...]:
    gated, change, now, unit = outcome.gated, outcome.change, outcome.now, outcome.metric.unit
    name = f"  {gated.metric}{'' if outcome.metric.higher_is_better else ' ↓'}"
    limits = [shown(gated.margin, unit)] if gated.margin is not None else ["must rise"] if gated.rises else []
    limits += [
        f"{kind} {shown(bound, unit)}"
        for kind, bound in (("floor", gated.floor), ("ceiling", gated.ceiling))
        if bound is not None
    ]
    allowed = ", ".join(limits)
    if change:
        bounds = (
            "-" if change.low is None or change.high is None else f"{signed(change.low, unit)} to {signed(change.high, unit)}"
        )
        figures = shown(change.before, unit), shown(change.after, unit), signed(change.value, unit), bounds
        return name, *figures, allowed, str(change.n)
    bounds = f"run: {shown(now.low, unit)} to {shown(now.high, unit)}" if now else "-"
    return name, "-", shown(now.value if now else None, unit), "-", bounds, allowed, str(now.n if now else 0)


def _print_reasons(found: GateResult, to: Console) -> None:
    reasons = [
        f"{outcome.gated.task} {outcome.gated.metric} {'fell' if outcome.status == 'fell' else 'is undecided'}: {outcome.why}."
        for outcome in sorted(found.outcomes, key=lambda outcome: outcome.status)
        if outcome.status != "passed"
    ]
    reasons += [
        f"{task}: {len(ids)} samples not paired, {why}: {_some(ids)}"
        for task, by in found.unpaired.items()
        for why, ids in by.items()
    ]
    if reasons:
        to.print()
    for line in reasons:
        to.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_verdict(found: GateResult, to: Console) -> None:
    fell, undecided = (sum(outcome.status == status for outcome in found.outcomes) for status in ("fell", "undecided"))
    failed = sum(map(len, found.failed.values()))
    counts = ((fell, "fell"), (undecided, "undecided, which is no pass"), (failed, "samples failed that worked before"))
    if not found.exit_code:
        to.print(f"\nPassed: none of {len(found.outcomes)} figures fell.", style="green", highlight=False)
        return
    advice = [
        f"\nSee what changed: lectern eval compare {found.baseline} {found.run}",
        "(if the run that was accepted is gone: evals/gate/baseline, which has its scores without the texts).",
    ]
    advice += ["More samples: run without --limit, and accept a baseline that has them too."] if undecided else []
    advice += [f"If the change is wanted all the same: lectern eval gate --accept {found.run}"] if fell else []
    for line in advice:
        to.print(line, markup=False, highlight=False, soft_wrap=True)
    told = "; ".join(f"{number} {what}" for number, what in counts if number)
    to.print(f"\nNot passed, of {len(found.outcomes)} figures: {told}.", style="bold red", highlight=False)


def _some(ids: tuple[str, ...]) -> str:
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
