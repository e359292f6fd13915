"""What the guards have done to the turns of the history, counted: the numbers behind `lectern guard report`."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assistant.history import TurnRecord

_KINDS = {"block": "blocked", "warn": "warned", "shadow": "shadow"}


def summed_up(turns: Sequence[TurnRecord], days: int | None = None) -> dict[str, Any]:
    """Counts of turns, by rule and by what followed, with the appeals and the time that screening took.

    Args:
        turns: of the history, in any order; their records hold "verdicts" and timings["screen_ms"] where they were screened.
        days: only turns of so many last days.

    Returns:
        turns, blocked, rules {rule: {blocked, warned, shadow, appealed}}, appeals [{id, rule, question, comment}] and
        screen_ms {n, p50, p95}, the last two None where nothing was timed. A turn counts once for a rule and what followed.
    """
    if days is not None:
        since = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")
        turns = [turn for turn in turns if turn.asked_at >= since]
    counts: dict[str, Counter[str]] = {}
    appeals: list[dict[str, Any]] = []
    blocked = 0
    for turn in turns:
        verdicts = turn.record.get("verdicts") or []
        for rule, action in dict.fromkeys((verdict["rule"], verdict["action"]) for verdict in verdicts):
            counts.setdefault(rule, Counter())[_KINDS[action]] += 1
        blocked += any(verdict["rule"] == turn.refused and not verdict["allowed"] for verdict in verdicts)
        refused_by_rule = any(verdict["rule"] == turn.refused and verdict["action"] != "shadow" for verdict in verdicts)
        if refused_by_rule and turn.refused and turn.value == 0:  # a thumb down
            counts[turn.refused]["appealed"] += 1
            appeals.append({"id": turn.id, "rule": turn.refused, "question": turn.question, "comment": turn.comment})
    times = sorted(ms for turn in turns if (ms := (turn.record.get("timings") or {}).get("screen_ms")) is not None)
    return {
        "turns": len(turns),
        "blocked": blocked,
        "rules": {rule: {kind: counts[rule][kind] for kind in (*_KINDS.values(), "appealed")} for rule in sorted(counts)},
        "appeals": appeals,
        "screen_ms": {"n": len(times), "p50": _percentile(times, 0.5), "p95": _percentile(times, 0.95)},
    }


def show_report(summary: dict[str, Any]) -> None:
    """Print it for people."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{summary['turns']} turns, {summary['blocked']} of them blocked.")
    if summary["rules"]:
        table = Table("rule", "blocked", "warned", "in shadow", "appeals", box=None, header_style="bold", padding=(0, 2, 0, 0))
        for rule, counts in summary["rules"].items():
            table.add_row(rule, *(str(count) for count in counts.values()))
        console.print(table)
    for appeal in summary["appeals"]:
        console.print(f"[yellow]Appeal[/] against {appeal['rule']} ({appeal['id'][:8]}): {escape(appeal['question'])}")
        if appeal["comment"]:
            console.print(f"        {escape(appeal['comment'])}", style="dim")
    times = summary["screen_ms"]
    if times["n"]:
        console.print(
            f"Screening took {times['p50']:.1f} ms (median of {times['n']} turns), 95% at most {times['p95']:.1f} ms."
        )


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
