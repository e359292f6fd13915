"""Trials and adapters as tables for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from assistant.adapters import Adapter

_STYLES = {"passed": "green", "fell": "bold red", "undecided": "yellow"}
_SHOWN = (  # of the figures that do not decide
    ("course/grounded", "declined_uncovered"),
    ("course/grounded", "written_supported_share"),
    ("course/grounded", "citation_precision"),
    ("course/grounded", "citation_recall"),
    ("course/answers", "refusal_f1"),
    ("course/answers", "refusal_recall"),
)
_LEGEND = """\
Change: new - base on the same questions, with its 95% interval, drawn over lessons. ↓: less is better.
Only figures with a result decide: `grounded` must rise by more than chance, the others may not fall beyond their
margin (finetune/promotion.toml)."""


def print_trial(adapter: Adapter, trial: Mapping[str, Any], console: Console) -> None:
    """The figures, the reasons and the verdict, which is the last line."""
    base = trial["against"] or adapter.base
    console.print(f"{adapter.id} (new) against {base} (base)\n", markup=False, highlight=False)
    console.print(_table(trial))
    console.print(f"\n{_LEGEND}\n", markup=False, highlight=False, soft_wrap=True)
    for reason in trial["why"]:
        console.print(f"- {reason}.", markup=False, highlight=False, soft_wrap=True)
    if trial["quick"]:
        console.print("A rehearsal: so few questions decide nothing.", style="dim", highlight=False)
    if trial["passed"]:
        told = f"Promoted: {adapter.id}. A running chat answers with it from its next question on."
        console.print(f"{told} Back: lectern finetune rollback", style="green", highlight=False, soft_wrap=True)
    else:
        told = f"Refused: {adapter.id} stays in the list; the chat answers as before."
        console.print(told, style="bold red", highlight=False, soft_wrap=True)


def _table(trial: Mapping[str, Any]) -> Table:
    table = Table("figure", "base", "new", "change", "95% interval", "p", "n", "result", box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[1:7]:
        column.justify = "right"
    table.padding = (0, 1, 0, 0)  # with it 80 characters hold the longest line
    others = {(figure["task"], figure["metric"]): figure for figure in trial["others"]}
    for task in dict.fromkeys(figure["task"] for figure in trial["figures"]):
        table.add_row(f"[bold]{task}[/]")
        for figure in trial["figures"]:
            if figure["task"] == task:
                table.add_row(*_cells(figure), f"[{_STYLES[figure['status']]}]{figure['status']}[/]")
        for key in _SHOWN:
            if key[0] == task and key in others:
                table.add_row(*_cells(others[key]), "", style="dim")
    return table


def print_adapters(adapters: Sequence[Adapter], current: str | None, faults: Mapping[str, str], console: Console) -> None:
    """One line each, the promoted one with a mark; then why some were refused, or cannot be used."""
    table = Table("", "adapter", "kind", "base", "made", "grounded", "gold fact", "", box=None, pad_edge=False)
    for column in (1, 5, 6, 7):
        table.columns[column].no_wrap = True
    reasons = []
    for adapter in adapters:
        manifest = adapter.manifest
        trial: Mapping[str, Any] = (manifest.get("trials") or [{}])[-1]
        fault = faults.get(adapter.id, "")
        reasons += [f"{adapter.id}: {reason}" for reason in ([fault] if fault else trial.get("why", ()))]
        figures = {figure["metric"]: figure for figure in trial.get("figures", ())}
        table.add_row(
            "*" if adapter.id == current else "",
            adapter.id,
            str(manifest.get("kind", "")),
            adapter.base,
            str(manifest.get("made", ""))[:10],
            *(_moved(figures.get(name)) for name in ("grounded", "gold_fact")),
            "[red]unfit[/]" if fault else "not tried" if not trial else "passed" if trial["passed"] else "refused",
        )
    console.print(table, highlight=False)
    for reason in reasons:
        console.print(reason, markup=False, highlight=False, soft_wrap=True)


def _cells(figure: Mapping[str, Any]) -> tuple[str, ...]:
    name = f"{figure['metric']}{'' if figure['higher_is_better'] else ' ↓'}"
    low, high, p = figure["low"], figure["high"], figure["p"]
    interval = "-" if low is None or high is None else f"{low:+.2f} to {high:+.2f}"
    change = "-" if figure["difference"] is None else f"{figure['difference']:+.2f}"
    told = "-" if p is None else f"{p:.3f}"
    return name, _number(figure["before"]), _number(figure["after"]), change, interval, told, str(figure["n"] or 0)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _moved(figure: Mapping[str, Any] | None) -> str:
    return f"{_number(figure['before'])} → {_number(figure['after'])}" if figure else ""
