"""Answer every case of a file and count: `python -m evals.bench.answers [starter|starter_dev] [--limit N] [--out FILE]`.

Prints the share of answerable questions whose answer holds the gold fact, of those whose gold lesson was retrieved in the
top 5, of others that were refused, whether every citation points at its quote, the times, and each miss.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from assistant.answer import Answer, collect
from assistant.events import Turn
from assistant.runtime import Runtime, build, warm
from assistant.settings import go_offline, load_settings
from evals.bench.machine import machine, spread
from evals.cases import Case, read_cases
from knowledge.retrieval import CourseRetriever

_TOP = 5


def main(
    name: Annotated[str, typer.Argument(help="starter or starter_dev")] = "starter",
    limit: Annotated[int, typer.Option(help="Take a random sample of this size; 0 takes all.")] = 0,
    seed: Annotated[int, typer.Option(help="For the sample.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write one JSON object a case here.")] = None,
) -> None:
    """Run the cases with the settings in force and print the figures."""
    go_offline()
    print(machine())
    cases = read_cases(name)
    if limit:
        cases = random.Random(seed).sample(cases, limit)
    ready = build(load_settings())
    warm(ready)
    results = []
    for case in track(cases, description="Answering", console=Console(stderr=True)):
        turn = Turn(case.question)
        results.append((case, collect(turn, ready.chain.stream(turn))))
        if out:
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"case": case.id, **results[-1][1].as_json()}, ensure_ascii=False) + "\n")
    # The reader's history is not the place for these.
    ready.history.delete([answer.done.turn_id for _, answer in results if answer.done])
    _report(results, ready)


def _report(results: Sequence[tuple[Case, Answer]], ready: Runtime) -> None:
    covered = [(case, answer) for case, answer in results if case.answerable]
    others = [(case, answer) for case, answer in results if not case.answerable]
    retriever = CourseRetriever(index=ready.index, settings=ready.settings.retrieval, k=_TOP)
    print(f"\nmodel {ready.settings.model.name}, {ready.settings.evidence}")
    _share("gold fact in the answer", [case.is_right(answer.text) for case, answer in covered])
    _share(f"gold lesson in the top {_TOP}", [_lesson_found(case, retriever) for case, _ in covered])
    _share(
        "answered although covered and wrong",
        [bool(answer.sentences) and not case.is_right(answer.text) for case, answer in covered],
    )
    _share("refused although covered", [answer.refusal is not None for _, answer in covered])
    _share("refused, not covered", [answer.refusal is not None for _, answer in others])
    citations = [citation for _, answer in results for sentence in answer.sentences for citation in sentence.citations]
    _share(
        "citations that point at their quote",
        [_points(ready, c.passage.document_id, c.start, c.end, c.quote) for c in citations],
    )
    for key, unit in (
        ("evidence_ms", " ms"),
        ("first_token_ms", " ms"),
        ("first_sentence_ms", " ms"),
        ("total_ms", " ms"),
        ("tokens_per_s", ""),
    ):
        values = [value for _, answer in results if answer.done and (value := answer.done.timings[key]) is not None]
        print(f"{key:<40} {spread(values, unit)}")
    _misses(covered, others)


def _misses(covered: Sequence[tuple[Case, Answer]], others: Sequence[tuple[Case, Answer]]) -> None:
    print("\nMisses")
    for case, answer in covered:
        if not case.is_right(answer.text):
            said = f"refused: {answer.refusal.rule}" if answer.refusal else answer.text
            left_out = " ".join(d.text for d in answer.dropped)
            print(f"  {case.id} {case.question}")
            print(f"      wanted {' | '.join(case.gold)}; got {said}; left out: {left_out or 'nothing'}")
    for case, answer in others:
        if answer.refusal is None:
            print(f"  {case.id} {case.question}\n      not refused: {answer.text}")


def _share(what: str, outcomes: Sequence[bool]) -> None:
    if outcomes:
        print(f"{what:<40} {sum(outcomes)}/{len(outcomes)} = {sum(outcomes) / len(outcomes):.1%}")


def _lesson_found(case: Case, retriever: CourseRetriever) -> bool:
    return any(ranked.passage.source == case.lesson for ranked in retriever.retrieve(case.question).passages)


def _points(ready: Runtime, document_id: str, start: int, end: int, quote: str) -> bool:
    document = ready.index.document(document_id)
    return document is not None and document.text[start:end] == quote


if __name__ == "__main__":
    typer.run(main)
