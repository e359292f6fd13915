"""Rows of a run as the report shows them: question, answer, evidence with the cited quotes marked, and what came of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from typing import Any

from evals.figures.pairs import question_of
from evals.report.verdict import verdict
from evals.task import Row, Task

# Of answers and of what people need to judge them; all else is listed below the sample.
_HAVE_THEIR_PLACE = {
    *("id", "question", "standalone", "answer", "sentences", "dropped", "evidence", "passages", "support", "cold"),
    *("refused", "rule", "reason", "suggestions", "stopped", "model", "prompt_tokens", "cached_tokens", "timings"),
}
_PASSAGES = 8  # of one sample
_LONG = 1200  # characters of a value; more are in samples/*.jsonl
_QUESTION = 500


@dataclass(frozen=True, slots=True)
class Span:
    """A run of a passage's characters, cited or not."""

    text: str
    cited: bool


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage of the evidence, once for all samples that had it."""

    key: str
    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A passage in one sample's evidence.

    Attributes:
        spans: its text with the cited quotes marked, empty if nothing of it was cited.
    """

    number: int
    stored: StoredPassage
    similarity: float | None
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the answer, or one that a judge was asked about.

    Attributes:
        numbers: the passages it cites, 1-based.
        astray: quotes that do not stand in the passage that they are said to come from.
        marked: whether people marked it as unsupported.
    """

    text: str
    support: float | None
    numbers: tuple[int, ...] = ()
    astray: tuple[str, ...] = ()
    marked: bool = False


@dataclass(frozen=True, slots=True)
class SampleView:
    """One row.

    Attributes:
        anchor: unique within the report.
        outcome, why: see `verdict`.
        claims: sentences; empty if it was refused or is no answer in sentences.
        plain: an answer without sentences.
        dropped: what was left out, and why.
        unlisted: how many passages of the evidence are not shown.
        gold, more: names and texts.
    """

    anchor: str
    task: str
    row: Row
    outcome: str
    why: tuple[str, ...]
    question: str
    claims: tuple[Claim, ...]
    plain: str
    dropped: tuple[tuple[str, str], ...]
    refusal: str
    evidence: tuple[Shown, ...]
    unlisted: int
    gold: tuple[tuple[str, str], ...]
    more: tuple[tuple[str, str], ...]

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What the filter finds it by."""
        return tuple(name for name in (self.outcome, "refused" if self.refusal else "") if name)


@dataclass
class Passages:
    """Passages by what they say, so that each stands in the report once."""

    stored: dict[str, StoredPassage] = field(default_factory=dict)

    def keep(self, item: Mapping[str, Any]) -> StoredPassage:
        """Store the passage of an `evidence` entry, and return it."""
        place = _place(item)
        text = str(item.get("text", ""))
        key = "p-" + sha256(f"{place}\0{text}".encode(errors="replace")).hexdigest()[:12]
        return self.stored.setdefault(key, StoredPassage(key, place, text))


def view(name: str, row: Row, task: Task | None, passages: Passages) -> SampleView:
    """One row as the report shows it.

    Args:
        name: of the task.
        row: of the task.
        task: tells what failed; None where this version of Lectern has no such task.
        passages: takes in those of the evidence.
    """
    output, given = row.output, row.sample.input
    refused = bool(output.get("refused"))
    claims = _claims(row)
    evidence = _evidence(row)
    kept = [passages.keep(item) for item in evidence[:_PASSAGES]]
    quotes = _quotes(_dicts(output.get("sentences")))
    asked = question_of(row) or next((claim.text for claim in claims), "") or row.sample.id
    used = {key for key, value in given.items() if value == asked and len(asked) <= _QUESTION} | {"passages", "sentences"}
    outcome, why = verdict(row, task)
    return SampleView(
        anchor="s-" + sha256(f"{name}\0{row.sample.id}".encode()).hexdigest()[:12],
        task=name,
        row=row,
        outcome=outcome,
        why=why,
        question=asked if len(asked) <= _QUESTION else f"{asked[: _QUESTION // 2]} … {asked[-_QUESTION // 2 :]}",
        claims=claims,
        plain="" if claims or refused else str(output.get("answer") or ""),
        dropped=tuple((str(item.get("text", "")), str(item.get("reason", ""))) for item in _dicts(output.get("dropped"))),
        refusal=f"{output.get('reason') or 'Refused.'} (rule: {output.get('rule') or 'none'})" if refused else "",
        evidence=tuple(
            Shown(number, stored, item.get("similarity"), _spans(stored.text, quotes.get(number, ())))
            for number, (stored, item) in enumerate(zip(kept, evidence, strict=False), start=1)
        ),
        unlisted=len(evidence) - len(kept),
        gold=_named(row.sample.target, set()),
        more=_named(given, used) + _named(output, _HAVE_THEIR_PLACE),
    )


def _claims(row: Row) -> tuple[Claim, ...]:
    """The answer's sentences with their citations; for a task about the judge, the sentences that it was given."""
    evidence = _evidence(row)
    if sentences := _dicts(row.output.get("sentences")):
        return tuple(_cited(sentence, evidence) for sentence in sentences)
    given, support, marks = row.sample.input.get("sentences"), row.output.get("support"), row.sample.target.get("unsupported")
    if not isinstance(given, list) or not isinstance(support, list):
        return ()
    marked = marks if isinstance(marks, list) and len(marks) == len(given) else [0] * len(given)
    return tuple(Claim(str(text), by, marked=bool(mark)) for text, by, mark in zip(given, support, marked, strict=False))


def _cited(sentence: Mapping[str, Any], evidence: Sequence[Mapping[str, Any]]) -> Claim:
    numbers, astray = [], []
    for number, quote in _quoted(sentence):
        numbers.append(number)
        if not 1 <= number <= len(evidence) or quote not in str(evidence[number - 1].get("text", "")):
            astray.append(quote)
    return Claim(str(sentence.get("text", "")), sentence.get("support"), tuple(dict.fromkeys(numbers)), tuple(astray))


def _evidence(row: Row) -> list[Mapping[str, Any]]:
    """What the answer could draw on: passages of the turn, of the search or of the sample."""
    for found in (row.output.get("evidence"), row.output.get("passages"), row.sample.input.get("passages")):
        if isinstance(found, list) and found:
            return [item if isinstance(item, Mapping) else {"text": item} for item in found]
    return []


def _quotes(sentences: Iterable[Mapping[str, Any]]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for sentence in sentences:
        for number, quote in _quoted(sentence):
            found.setdefault(number, []).append(quote)
    return found


def _quoted(sentence: Mapping[str, Any]) -> list[tuple[int, str]]:
    return [(int(citation.get("number", 0)), str(citation.get("quote", ""))) for citation in _dicts(sentence.get("citations"))]


def _spans(text: str, quotes: Sequence[str]) -> tuple[Span, ...]:
    """The text cut where quotes begin and end; quotes may overlap."""
    cited = bytearray(len(text))
    for quote in quotes:
        if quote and (start := text.find(quote)) >= 0:
            cited[start : start + len(quote)] = b"\1" * len(quote)
    if not any(cited):
        return ()
    runs = groupby(range(len(text)), key=cited.__getitem__)
    return tuple(Span("".join(text[i] for i in run), bool(mark)) for mark, run in runs)


def _place(item: Mapping[str, Any]) -> str:
    """Document, heading and page, in one line."""
    document, heading = str(item.get("document") or item.get("source") or ""), str(item.get("heading") or "")
    parts = [heading] if document and heading.startswith(document) else [document, heading]
    page = item.get("page")
    return (" › ".join(part for part in parts if part) + (f", page {page}" if page is not None else "")) or "passage"


def _named(values: Mapping[str, Any], without: set[str]) -> tuple[tuple[str, str], ...]:
    shown = ((key, value) for key, value in values.items() if key not in without and value not in (None, "", [], {}))
    return tuple((key.replace("_", " "), _text(value)) for key, value in shown)


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _text(value: object) -> str:
    """A value of JSON for people."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        text = " · ".join(str(item) for item in value)
    else:
        text = json.dumps(value, ensure_ascii=False, indent=1)
    return text if len(text) <= _LONG else f"{text[:_LONG]} … ({len(text):,} characters in all)"
