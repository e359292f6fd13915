"""Samples of the rows for a human: as text, and as one HTML page that needs nothing else."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from random import Random
from typing import Any

from finetune.data.decontaminate import AnyRow
from finetune.data.save import kind_of
from finetune.rows import Pair, Thumb

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Training rows</title>
<style>
:root { color-scheme: light dark }
:root { --line: color-mix(in srgb, CanvasText 20%, Canvas); --soft: color-mix(in srgb, CanvasText 6%, Canvas) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
body { color: CanvasText; background: Canvas; overflow-wrap: anywhere }
article { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; margin: 1rem 0 }
pre { white-space: pre-wrap; background: var(--soft); padding: .75rem; border-radius: .4rem; font-size: .85em }
.question { font-weight: 600 } .small { font-size: .85em; opacity: .75 }
blockquote { margin: .4rem 0; padding-left: .75rem; border-left: 3px solid var(--line) }
.good { border-color: #2e9e5b } .bad { border-color: #d14d4d }
summary { cursor: pointer } nav a { margin-right: 1rem } output { display: block; user-select: all }
footer { position: sticky; bottom: 0; background: Canvas; border-top: 1px solid var(--line); padding: .75rem 0 }
</style></head><body>
<h1>Training rows</h1>
<p>What a model would learn from. Tick a row that teaches something wrong, then run the command at the foot of the page.</p>
"""
_FOOT = """<footer><label for="command">To reject what is ticked:</label>
<output id="command">nothing is ticked</output></footer>
<script>
const boxes = [...document.querySelectorAll("input[type=checkbox]")];
for (const box of boxes) box.addEventListener("change", () => {
  const ids = boxes.filter(box => box.checked).map(box => "--reject " + box.value);
  document.getElementById("command").textContent = ids.length ? "lectern finetune rows " + ids.join(" ") : "nothing is ticked";
});
</script></body></html>
"""


def sampled(files: Mapping[str, Sequence[AnyRow]], kind: str | None, limit: int) -> dict[str, list[AnyRow]]:
    """Up to `limit` rows of each kind and file, the same ones each time, by title.

    Args:
        files: rows by file.
        kind: None takes all; "thumb" takes pairs and lone thumbs of readers.
        limit: of each kind.
    """
    groups: dict[str, list[AnyRow]] = defaultdict(list)
    for name, rows in files.items():
        for row in rows:
            if kind is None or kind == getattr(row, "kind", "thumb"):
                groups[f"{kind_of(row)}, {name}"].append(row)
    return {title: Random(0).sample(rows, min(limit, len(rows))) for title, rows in groups.items()}


def shown(row: AnyRow) -> str:
    """A row in a few lines of text."""
    lines = [f"{row.id}  {row.lesson}", f"  asked: {row.question}"]
    if isinstance(row, Pair):
        lines += [f"  chosen: {row.chosen}", f"  rejected: {row.rejected}", f"  why: {row.evidence.get('why', '')}"]
    else:
        thumb = f" ({kind_of(row)})" if isinstance(row, Thumb) else ""
        lines.append(f"  answer{thumb}: {row.completion}")
        lines += [f"    {_said(item)}" for item in row.evidence]
    return "\n".join([*lines, f"  origin: {_origin(row)}"])


def page(groups: Mapping[str, Sequence[AnyRow]], rejected: Sequence[AnyRow]) -> str:
    """The HTML page.

    Args:
        groups: rows by title, as `sampled` gives them.
        rejected: shown at the end.
    """
    everything = {**groups, "Rejected": list(rejected)}
    links = "".join(f'<a href="#g{number}">{escape(title)}</a> ' for number, title in enumerate(everything))
    parts = [_HEAD, f"<nav>{links}</nav>"]
    for number, (title, rows) in enumerate(everything.items()):
        parts.append(f'<h2 id="g{number}">{escape(title)}</h2>')
        parts += [_article(row, title != "Rejected") for row in rows] or ["<p>None.</p>"]
    return "\n".join([*parts, _FOOT])


def _article(row: AnyRow, can_be_rejected: bool) -> str:
    tick = f'<label><input type="checkbox" value="{row.id}"> reject</label>' if can_be_rejected else ""
    parts = [f'<article><p class="small"><code>{row.id}</code> {escape(row.lesson)} {tick}</p>']
    parts.append(f'<p class="question">{escape(row.question)}</p>')
    if isinstance(row, Pair):
        parts += [
            _quoted("good", row.chosen, row.evidence.get("chosen", ())),
            _quoted("bad", row.rejected, row.evidence.get("rejected", ())),
        ]
        parts.append(f"<p>{escape(str(row.evidence.get('why', '')))}</p>")
    else:
        good = not isinstance(row, Thumb) or row.label
        parts.append(_quoted("good" if good else "bad", row.completion, row.evidence))
    prompt = "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in row.prompt)
    parts.append(f"<details><summary>Prompt</summary><pre>{escape(prompt)}</pre></details>")
    parts.append(f'<p class="small">{escape(_origin(row))}</p></article>')
    return "\n".join(parts)


def _quoted(sort: str, text: str, evidence: Iterable[Any]) -> str:
    items = "".join(f"<li>{escape(_said(item))}</li>" for item in evidence)
    listed = f"<details><summary>Evidence</summary><ul>{items}</ul></details>" if items else ""
    return f'<blockquote class="{sort}">{escape(text)}</blockquote>{listed}'


def _said(item: Mapping[str, Any]) -> str:
    if "comment" in item:
        return f"The reader's comment: {item['comment']}"
    if "left_out" in item:
        return f"Not supported: “{item['sentence']}” {item['left_out']}"
    return f"{item['support']:.2f}: “{item['sentence']}” from “{item['quote']}” ({item['source']}, {item['heading']})"


def _origin(row: AnyRow) -> str:
    origin = row.origin
    parts = [f"made by {origin.made_by}", origin.how, "best sentences" if origin.cold else "whole section"]
    parts += [f"turns {', '.join(origin.turns)}"] if origin.turns else []
    return "; ".join(parts)
