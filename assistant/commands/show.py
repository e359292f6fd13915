"""How an answer looks in a terminal."""

import re
from collections.abc import Iterable

from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from assistant.events import Done, Dropped, Evidence, Guarded, Notice, Refusal, Sentence, TurnEvent
from knowledge.passage import Citation, Passage


def show(events: Iterable[TurnEvent], console: Console) -> None:
    """Print a turn as it happens: evidence first, then checked sentences, then the cited places."""
    cited: dict[int, Citation] = {}
    dropped = 0
    for event in events:
        match event:
            case Notice() | Guarded():
                for warning in (event.text,) if isinstance(event, Notice) else event.warnings:
                    console.print(Text(f"{warning}\n", style="yellow"))
            case Evidence() if event.passages:
                console.print(_sources(event))
            case Sentence():
                marks = "".join(f"[{c.number}]" for c in event.citations)
                console.print(Text.assemble(event.lead, event.text, (marks, "cyan")), end="", soft_wrap=True)
                cited = {citation.number: citation for citation in event.citations} | cited
            case Dropped():
                dropped += 1
            case Refusal():
                console.print(_refusal(event))
            case Done():
                console.print()
                _show_quotes(cited, console)
                console.print(Text(_summary(event, dropped), style="dim"))


def place(passage: Passage) -> str:
    """Where a passage stands, for people: title, heading, page."""
    parts = [passage.title, *(h for h in passage.heading[-1:] if h != passage.title)]
    if passage.page is not None:
        parts.append(f"page {passage.page}")
    if passage.cell is not None:
        parts.append(f"cell {passage.cell}")
    return ", ".join(parts)


def _sources(event: Evidence) -> Text:
    first = event.passages[: event.foremost]
    lines = [f"  [{number}] {place(ranked.passage)}" for number, ranked in enumerate(first, start=1)]
    if more := len(event.passages) - len(first):
        lines.append(f"  and {more} more {'passage' if more == 1 else 'passages'}")
    if event.left_out:
        lines.append(f"  (not in the course, it seems: {' / '.join(event.left_out)})")
    if event.cold:
        lines.append("  (their best sentences only: the section has not been read in full yet)")
    return Text("\n".join([f"Sources ({event.elapsed_ms:.0f} ms)", *lines, ""]), style="dim")


def _refusal(event: Refusal) -> Panel:
    body = [Text(event.reason)]
    if event.suggestions:
        body.append(Text("\nThe nearest topics that it does cover:", style="dim"))
        body += [Text(f"  - {topic}") for topic in event.suggestions]
    return Panel(Group(*body), title="No answer", title_align="left", border_style="yellow")


def _show_quotes(cited: dict[int, Citation], console: Console) -> None:
    for number, citation in sorted(cited.items()):
        quote = re.sub(r"\s+", " ", citation.quote)
        console.print(Text(f"\n[{number}] {place(citation.passage)} ({citation.passage.source})", style="cyan"))
        console.print(Padding(Text(quote, style="italic"), (0, 0, 0, 4), expand=False))


def _summary(done: Done, dropped: int) -> str:
    timings = done.timings
    parts = [f"{(timings['total_ms'] or 0) / 1000:.1f} s", done.model]
    if timings["tokens_per_s"]:
        parts.insert(1, f"{timings['tokens_per_s']} tokens/s")
    if dropped:
        parts.append(f"{dropped} {'sentence' if dropped == 1 else 'sentences'} left out")
    if done.stopped:
        parts.append("stopped")
    return f"\n{' · '.join(parts)} · turn {done.turn_id[:8]}"
