"""How fast the bare engine reads prompts and writes, by its settings and by the rows of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from unittest.mock import patch

from assistant.llm.engine import Engine, Row

CONTEXT = 256  # tokens that decoding finds in its sequence
READ = 128  # tokens of a prompt in each measurement
DECODE_ROWS = (1, 2, 4, 8, 16)
_READ_ROUNDS = 2
_DECODE_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Setting:
    """How an engine is set up; `batch` is the most rows of one pass over the weights."""

    threads: int
    batch: int
    flash: bool = True


@dataclass(frozen=True, slots=True)
class Speeds:
    """What an engine reached.

    Attributes:
        prefill: prompt tokens a second, by rows of a batch.
        step_s: seconds of a decode step, by rows: so many people's next tokens, or one's with guesses.
    """

    prefill: dict[int, float]
    step_s: dict[int, float]

    @property
    def decode(self) -> float:
        """Tokens a second of one answer."""
        return 1 / self.step_s[1]


def speeds(path: Path, text: str, setting: Setting, batches: Sequence[int], rows: Sequence[int] = (1,)) -> Speeds:
    """Measure one setting; rounds alternate, and medians count.

    Args:
        path: a .gguf file.
        text: is read; at least CONTEXT tokens long.
        setting: of the engine; it is loaded anew.
        batches: rows of the batches by which a prompt is read, each at most `setting.batch`.
        rows: of the decode steps; sequences share the state of the text, as conversations about one section do.

    Raises:
        ValueError: the text is too short.
        MissingModel: the model cannot be loaded.
    """
    with patch("assistant.llm.engine._FLASH", int(setting.flash)):  # it is a setting for nobody else
        engine = Engine(path, 0, _cells(rows), max(rows) + 1, setting.threads, setting.batch)
    try:
        tokens = engine.tokenize(text, special=False)[: max(CONTEXT, READ, *batches)]
        if len(tokens) < CONTEXT:
            raise ValueError(f"The text has only {len(tokens)} tokens.")
        _read(engine, tokens[:32], 32)  # touches all weights, which are mapped rather than read
        taken: dict[int, list[float]] = {batch: [] for batch in batches}
        for _ in range(_READ_ROUNDS):
            for batch, seconds in taken.items():
                prompt = tokens[: max(READ, batch)]
                seconds.append(_read(engine, prompt, batch) / len(prompt))
        return Speeds({batch: 1 / median(seconds) for batch, seconds in taken.items()}, _steps(engine, tokens[:CONTEXT], rows))
    finally:
        engine.close()


def _cells(rows: Sequence[int]) -> int:
    return max(2 * CONTEXT, CONTEXT + 2 * max(rows), 1024)


def _read(engine: Engine, tokens: Sequence[int], batch: int) -> float:
    """Seconds to read a prompt into sequence 0, which begins anew."""
    engine.cut(0, 0)
    started = perf_counter()
    for start in range(0, len(tokens), batch):
        part = tokens[start : start + batch]
        last = start + batch >= len(tokens)
        engine.compute([Row(token, start + i, 0, last and i == len(part) - 1) for i, token in enumerate(part)])
    return perf_counter() - started


def _steps(engine: Engine, tokens: Sequence[int], rows: Sequence[int]) -> dict[int, float]:
    """Median seconds of a decode step, by rows."""
    _read(engine, tokens, min(engine.batch, READ))
    for sequence in range(1, max(rows)):
        engine.copy(0, sequence, len(tokens))
    taken: dict[int, list[float]] = {count: [] for count in rows}
    for _ in range(_DECODE_ROUNDS):
        for count, seconds in taken.items():
            started = perf_counter()
            engine.compute([Row(tokens[sequence], len(tokens), sequence, True) for sequence in range(count)])
            seconds.append(perf_counter() - started)
            for sequence in range(count):
                engine.cut(sequence, len(tokens))
    return {count: median(seconds) for count, seconds in taken.items()}
