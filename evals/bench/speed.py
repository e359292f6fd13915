"""How fast this machine answers, starts and ingests: `python -m evals.bench.speed [--questions N] [--json]`.

Asks covered development questions of the index in use, each once (a repeated one would find its prompt computed already),
times fresh processes, and ingests a few lessons into temporary indexes. Wants the machine for itself: the load is printed.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from uuid import uuid4

import typer
from rich.console import Console
from rich.progress import track

from assistant.answer import collect
from assistant.events import Turn
from assistant.models import model_path
from assistant.runtime import Runtime, build, warm
from assistant.settings import Settings, go_offline, load_settings, thread_count
from evals.bench.machine import machine, spread
from evals.cases import read_cases
from knowledge.embedding import Embedder
from knowledge.errors import CourseError
from knowledge.index import CourseIndex
from knowledge.ingest import STARTER_COURSE, ingest

_LESSONS = 3  # in each temporary index
_TURN = {  # by key of Done or its timings: name, factor and unit to print
    "evidence_ms": ("evidence", 1, " ms"),
    "first_token_ms": ("first token", 0.001, " s"),
    "first_sentence_ms": ("first sentence", 0.001, " s"),
    "total_ms": ("total", 0.001, " s"),
    "tokens_per_s": ("tokens a second", 1, ""),
    "prompt_tokens": ("prompt tokens", 1, ""),
    "completion_tokens": ("answer tokens", 1, ""),
}
_CLOCK = "import sys, time; from pathlib import Path; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
_COLD = {
    "embedder, first vector": (
        "from knowledge.embedding import SentenceEmbedder; SentenceEmbedder(Path(sys.argv[1])).embed(['warm up'])"
    ),
    "chat model": (
        "from assistant.llm.chat_llama import ChatLlama; "
        "ChatLlama(path=Path(sys.argv[2]), context=int(sys.argv[3]), threads=int(sys.argv[4])).scheduler"
    ),
    "everything before a first question": (
        "from assistant.runtime import build, warm; from assistant.settings import load_settings; warm(build(load_settings()))"
    ),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured, one value a question, process or ingest.

    Attributes:
        load: load averages of the last minute before and after; beyond the number of cores the times mean little.
        turns: by figure, in the order asked; a refused question has no first sentence and perhaps no first token.
        cold_start_s: by what was imported and loaded in a new process; its files may be in the system's cache.
    """

    machine: str
    model: str
    load: tuple[float, float]
    turns: dict[str, list[float]]
    cold_start_s: dict[str, list[float]]
    ingest_passages_per_s: list[float]


def main(
    questions: Annotated[int, typer.Option(min=1, help="How many to ask.")] = 20,
    repeats: Annotated[int, typer.Option(min=1, help="How often to start cold and to ingest.")] = 3,
    seed: Annotated[int, typer.Option(help="For the choice of questions and lessons.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print every value as one JSON object.")] = False,
) -> None:
    """Measure with the settings in force and print median and quartiles."""
    go_offline()
    settings = load_settings()
    before = os.getloadavg()[0]
    ready = build(settings)  # reads no weights yet
    if not ready.index.sources():
        raise CourseError(f"The index in {settings.index_dir} is empty.", "Run: lectern ingest --starter")
    cold = cold_starts(settings, repeats)
    covered = [case.question for case in read_cases("starter_dev") if case.answerable]
    turns = answer_times(ready, random.Random(seed).sample(covered, min(questions, len(covered))))
    rates = ingest_rates(ready.index.embedder, repeats, seed)
    figures = Figures(machine(), settings.model.name, (before, os.getloadavg()[0]), turns, cold, rates)
    print(json.dumps(asdict(figures), indent=2)) if as_json else show(figures)


def cold_starts(settings: Settings, repeats: int) -> dict[str, list[float]]:
    """Seconds to import and load in a new process, by what is loaded.

    Raises:
        MissingModel: weights are not here.
    """
    values = (
        model_path(settings.embedder), model_path(settings.model.name), settings.model.context, thread_count(settings.model),
    )  # fmt: skip
    times: dict[str, list[float]] = {what: [] for what in _COLD}
    for what in track(list(_COLD) * repeats, description="Starting", console=Console(stderr=True)):
        command = [sys.executable, "-c", _CLOCK.format(_COLD[what]), *map(str, values)]
        times[what].append(float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]))
    return times


def answer_times(ready: Runtime, questions: Sequence[str]) -> dict[str, list[float]]:
    """Times and token counts of answered questions, by figure; leaves nothing in the history."""
    warm(ready)
    conversation = f"benchmark {uuid4().hex}"
    figures: dict[str, list[float]] = {name: [] for name in _TURN}
    try:
        for question in track(questions, description="Answering", console=Console(stderr=True)):
            turn = Turn(question, conversation)
            done = collect(turn, ready.chain.stream(turn)).done
            if done is None:
                raise RuntimeError("The chain ended without Done.")
            counts = {"prompt_tokens": done.prompt_tokens, "completion_tokens": done.completion_tokens}
            for name, value in {**done.timings, **counts}.items():
                if value:  # neither a missing moment nor the token counts of a question refused before the model was asked
                    figures[name].append(value)
    finally:
        ready.history.delete([turn.id for turn in ready.history.turns() if turn.conversation == conversation])
    return figures


def ingest_rates(embedder: Embedder, repeats: int, seed: int) -> list[float]:
    """Passages a second, reading and indexing included, of different lessons into new indexes; the embedder is loaded."""
    lessons = sorted(STARTER_COURSE.glob("*.md"))
    random.Random(seed).shuffle(lessons)
    parts = [lessons[start : start + _LESSONS] for start in range(0, len(lessons), _LESSONS)]
    rates = []
    for part in track(parts[:repeats], description="Ingesting", console=Console(stderr=True)):
        with TemporaryDirectory() as folder:
            report = ingest(CourseIndex(Path(folder), embedder), part)
        rates.append(report.passages / report.seconds)
    return rates


def show(figures: Figures) -> None:
    """Print median and quartiles."""
    print(f"{figures.machine}\nload average {figures.load[0]:.1f} before, {figures.load[1]:.1f} after\n\n{figures.model}")
    for key, (name, factor, unit) in _TURN.items():
        _line(name, [factor * value for value in figures.turns[key]], unit)
    print("\nCold start, in a new process")
    for what, values in figures.cold_start_s.items():
        _line(what, values, " s")
    print("\nIngest")
    _line("passages a second", figures.ingest_passages_per_s)


def _line(what: str, values: Sequence[float], unit: str = "") -> None:
    print(f"{what:<36} {spread(values, unit)}")


if __name__ == "__main__":
    typer.run(main)
