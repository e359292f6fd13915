"""What a model learns from: rows, preference pairs and thumbs as JSON lines, each with where it comes from and why it is kept.

A row names the turns of the history that it was made from. `training_rows` in data/forget.py takes the rows of turns that were
deleted since off the disk before it reads them; whoever trains reads with nothing else.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from knowledge.errors import CourseError

RowKind = Literal["oracle", "removed", "contradicted", "follow_up", "plain"]
PairKind = Literal["answer", "refusal", "thumb"]
Message = dict[str, str]  # "role" and "content"

SFT_TRAIN, SFT_HELD = "sft.train.jsonl", "sft.held.jsonl"
PAIRS_TRAIN, PAIRS_HELD = "pairs.train.jsonl", "pairs.held.jsonl"
THUMBS, THUMBS_HELD = "thumbs.jsonl", "thumbs.held.jsonl"  # the latter are about held-out lessons, and not to train on
MANIFEST, REJECTED = "manifest.json", "rejected.jsonl"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row comes from.

    Attributes:
        made_by: "rule", the name of the chat model that wrote it, or "reader".
        how: the rule that made the question, "written" if the chat model did, or what a reader did.
        passages: ids of the passages that the answer rests on.
        turns: ids of the turns of the history whose words it has; empty if nobody's.
        cold: whether the prompt has the best sentences instead of a whole section.
    """

    made_by: str
    how: str
    passages: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    cold: bool = True


@dataclass(frozen=True, slots=True)
class _Line:
    """What rows of all sorts share.

    Attributes:
        id: the first 12 hexadecimal digits of the SHA-256 of kind and texts (and turn), so it is the same in every build.
        lesson: source of the document that it is about.
        prompt: as the chain would put it to the model, content as plain text.
    """

    id: str
    lesson: str
    origin: Origin
    prompt: tuple[Message, ...]

    @property
    def question(self) -> str:
        """What is asked at the end of the prompt."""
        return self.prompt[-1]["content"].rpartition("\n\n")[2]

    def to_json(self) -> dict[str, Any]:
        """As a line of a file holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The row of a line.

        Raises:
            ValueError: it is none.
        """
        try:
            origin = dict(values["origin"])
            origin |= {key: tuple(origin[key]) for key in ("passages", "turns")}
            evidence = values.get("evidence", ())
            evidence = tuple(evidence) if isinstance(evidence, list) else evidence
            given = {"origin": Origin(**origin), "prompt": tuple(values["prompt"]), "evidence": evidence}
            return cls(**{**values, **given})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a {cls.__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class Row(_Line):
    """A prompt and what the model should write.

    Attributes:
        evidence: for each sentence of the completion `sentence`, `support` (0 to 1), `quote` and `source`; for a refusal, what
            the verifier said about the answer that no passage supports any more.
    """

    kind: RowKind
    completion: str
    evidence: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Pair(_Line):
    """A prompt with a better and a worse answer.

    Attributes:
        evidence: why the chosen one is better: `why`, `chosen` and `rejected`, the latter two what the verifier said.
    """

    kind: PairKind
    chosen: str
    rejected: str
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Thumb(_Line):
    """A prompt and an answer that a reader judged; `label` is True for thumbs up."""

    completion: str
    label: bool
    evidence: tuple[dict[str, Any], ...] = ()


Line = TypeVar("Line", Row, Pair, Thumb)
TYPES: dict[str, type[Row] | type[Pair] | type[Thumb]] = {
    SFT_TRAIN: Row, SFT_HELD: Row, PAIRS_TRAIN: Pair, PAIRS_HELD: Pair, THUMBS: Thumb, THUMBS_HELD: Thumb,
}  # fmt: skip


def row_id(kind: str, prompt: Sequence[Message], *texts: str) -> str:
    """The id of a row with these texts."""
    return sha256(json.dumps([kind, list(prompt), *texts], ensure_ascii=False).encode()).hexdigest()[:12]


def data_folder(finetune_dir: Path) -> Path:
    """Where the rows lie below `settings.finetune_dir`."""
    return finetune_dir / "data"


def write(path: Path, rows: Iterable[Row | Pair | Thumb]) -> str:
    """Replace a file of rows in one step; returns its SHA-256."""
    text = "".join(json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in rows)
    replace_text(path, text)
    return sha256(text.encode()).hexdigest()


def replace_text(path: Path, text: str) -> None:
    """Write a file beside its place, then put it there; whoever is killed leaves the old one.

    Raises:
        CourseError: the disk is full, or the folder cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CourseError(
            f"{path} cannot be written: {error.strerror}.", "Check its permissions and the free space."
        ) from error


def read(path: Path, kind: type[Line]) -> list[Line]:
    """The rows of one file; none if there is no such file. `training_rows` also minds deleted turns.

    Raises:
        CourseError: it cannot be read, or a line is no such row.
    """
    return list(_lines(path, kind))


def _lines(path: Path, kind: type[Line]) -> Iterator[Line]:
    number = 1
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield kind.from_json(json.loads(line))
                number += 1
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise CourseError(f"{path}, line {number}: {error}.", "Build the rows anew: lectern finetune data") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """What was built last.

    Raises:
        CourseError: nothing was, or the file is damaged.
    """
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CourseError(f"There are no rows in {folder}.", "Build them: lectern finetune data") from error
    except (OSError, ValueError) as error:
        raise CourseError(f"{folder / MANIFEST} cannot be read: {error}.", "Build it anew: lectern finetune data") from error
    return dict(found)


def read_rejected(folder: Path) -> list[Row | Pair | Thumb]:
    """The rows that somebody has rejected, newest last; they are in no other file, and come into none again.

    Raises:
        CourseError: the file is damaged.
    """
    sorts = {kind.__name__: kind for kind in (Row, Pair, Thumb)}
    path = folder / REJECTED
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [sorts[line.pop("sort")].from_json(line) for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError) as error:
        raise CourseError(f"{path} cannot be read: {error}.", "Correct it, or delete it to reject nothing.") from error


def write_rejected(folder: Path, rows: Iterable[Row | Pair | Thumb]) -> None:
    """Replace the rejected rows in one step."""
    lines = ({"sort": type(row).__name__, **row.to_json()} for row in rows)
    replace_text(folder / REJECTED, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
