"""From rows, pairs and thumbs to the datasets that TRL reads; what is too long is left out and counted."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.settings import Settings
from finetune import rows
from finetune.config import Kind
from finetune.data.forget import training_rows
from finetune.training.tokens import chat_tokens
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from datasets import Dataset

_FILES: dict[Kind, tuple[str, str | None]] = {
    "sft": (rows.SFT_TRAIN, rows.SFT_HELD),
    "dpo": (rows.PAIRS_TRAIN, rows.PAIRS_HELD),
    "kto": (rows.THUMBS, None),
}


@dataclass(frozen=True)
class Examples:
    """What one training reads.

    Attributes:
        train: rows as TRL wants them, in the order of their shuffling.
        held: rows of held-out lessons, for the loss on what was not learnt.
        lengths: tokens of each row of `train`; of a pair both sequences, so each prompt counts twice.
        longest: tokens of the longest single sequence.
        too_long: rows left out of `train`.
    """

    train: list[dict[str, Any]]
    held: list[dict[str, Any]]
    lengths: list[int]
    longest: int
    too_long: int

    @property
    def desirable(self) -> int:
        """Thumbs up among `train`."""
        return sum(bool(row.get("label")) for row in self.train)

    def dataset(self, part: list[dict[str, Any]]) -> "Dataset":
        """`train` or `held` for TRL."""
        from datasets import Dataset

        return Dataset.from_list(part)


def load_examples(kind: Kind, settings: Settings, tokenizer: Any, max_length: int, held: int, seed: int) -> Examples:
    """Read, measure and shuffle the rows of one kind of training.

    Args:
        kind: what is learnt from.
        settings: say where rows and history are; rows of turns that were deleted are left out.
        tokenizer: gone through `speak_as_served`.
        max_length: tokens of the longest sequence that is kept.
        held: most rows of held-out lessons.
        seed: of the shuffling; KTO reads its rows in order, so they must not lie sorted.

    Raises:
        CourseError: there are no rows, none is short enough, or KTO has thumbs of one side only.
    """
    train_file, held_file = _FILES[kind]
    shape = _SHAPES[kind]
    found = [shape(line) for line in _lines(settings, train_file)]
    if not found:
        made_by = "Give thumbs in the chat first, then run" if kind == "kto" else "Run"
        raise CourseError(
            f"There are no rows for {kind} in {rows.data_folder(settings.finetune_dir)}.", f"{made_by}: lectern finetune data"
        )
    random.Random(seed).shuffle(found)
    measured = [(row, _sequences(row, tokenizer)) for row in found]
    kept = [(row, sizes) for row, sizes in measured if max(sizes) <= max_length]
    if not kept:
        raise CourseError(
            f"All {len(found)} rows are longer than {max_length} tokens.", f"Raise it: --set {kind}.max_length=4096"
        )
    labels = {row["label"] for row, _ in kept if kind == "kto"}
    if len(labels) == 1:
        raise CourseError(
            f"All {len(kept)} thumbs point {'up' if labels.pop() else 'down'}.",
            "KTO learns from both; gather some of the other.",
        )
    others = _lines(settings, held_file)[:held] if held_file and held else []
    return Examples(
        train=[row for row, _ in kept],
        held=[row for row in map(shape, others) if max(_sequences(row, tokenizer)) <= max_length],
        lengths=[sum(sizes) for _, sizes in kept],
        longest=max(max(sizes) for _, sizes in kept),
        too_long=len(found) - len(kept),
    )


def data_sha256(kind: Kind, folder: Path) -> str:
    """SHA-256 of the file that this kind learns from.

    Raises:
        CourseError: there is none.
    """
    from assistant.models import sha256_of

    file = folder / _FILES[kind][0]
    if not file.is_file():
        raise CourseError(f"There are no rows for {kind}: {file} is missing.", "Run: lectern finetune data")
    return sha256_of(file, lambda _: None)


def _lines(settings: Settings, name: str) -> list[Any]:
    kind: type[Any] = rows.TYPES[name]
    return training_rows(settings, name, kind)


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


_SHAPES: dict[Kind, Callable[[Any], dict[str, Any]]] = {
    "sft": lambda row: {"prompt": list(row.prompt), "completion": _said(row.completion)},
    "dpo": lambda pair: {"prompt": list(pair.prompt), "chosen": _said(pair.chosen), "rejected": _said(pair.rejected)},
    "kto": lambda thumb: {"prompt": list(thumb.prompt), "completion": _said(thumb.completion), "label": thumb.label},
}


def _sequences(row: dict[str, Any], tokenizer: Any) -> list[int]:
    endings = [row[name] for name in ("completion", "chosen", "rejected") if name in row]
    return [len(chat_tokens(tokenizer, row["prompt"] + ending, False)) for ending in endings]
