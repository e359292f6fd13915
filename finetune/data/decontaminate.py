"""No row may teach what a test asks: rows are compared with evals/cases and, where their folder is given, with public sets."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assistant.prompts import NOT_COVERED
from finetune.guards.verifier.data import shingles
from finetune.rows import Pair, Row, Thumb
from knowledge.errors import CourseError
from knowledge.lexical import terms

CASES = Path(__file__).parents[2] / "evals" / "cases"  # no import: evals and finetune know nothing of each other
_ASKED = ("question", "standalone")
_SAID = ("evidence", "claim")
_ALIKE = 0.75  # Jaccard index of stemmed content words from which two questions count as the same
_SUFFIXES = {".jsonl", ".json", ".csv", ".tsv", ".txt"}

AnyRow = Row | Pair | Thumb
Why = str


@dataclass(frozen=True, slots=True)
class Cases:
    """What the cases of evals/ ask, as sets of terms, and what they say, as fingerprints of ten words in a row."""

    asked: Sequence[frozenset[str]]
    said: frozenset[int]
    sentences: frozenset[str]


def read_cases(folder: Path = CASES) -> Cases:
    """The cases of a folder.

    Raises:
        CourseError: there are none, or one cannot be read.
    """
    asked: set[frozenset[str]] = set()
    said: set[int] = set()
    sentences: set[str] = set()
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise CourseError(f"There are no test cases in {folder}.", "Reinstall Lectern.")
    for path in paths:
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise CourseError(f"{path} cannot be read: {error}.", "Reinstall Lectern.") from error
        for line in lines:
            asked.update(frozenset(terms(line[key])) for key in _ASKED if key in line)
            for key in _SAID:
                said.update(shingles(line.get(key, "")))
                sentences.add(_plain(line.get(key, "")))
    return Cases(tuple(asked), frozenset(said), frozenset(sentences - {""}))


def clean(
    rows: Iterable[AnyRow], cases: Cases, data: Path | None, tell: Callable[[str], None]
) -> tuple[set[str], dict[Why, int]]:
    """Ids of the rows that may stay, and how many were left out and why.

    Args:
        rows: of any sort.
        cases: of evals/.
        data: folder of public test sets, all files below it are read; None compares with the cases only.
        tell: is called with what is being read.
    """
    rows = list(rows)
    why: dict[str, Why] = {}
    for row in rows:
        if asks_a_case(_asked_by(row), cases):
            why[row.id] = "asks what a case of evals/cases asks"
        elif says_a_case(_said_by(row), cases):
            why[row.id] = "says what a case of evals/cases rests on"
    if data is not None:
        texts = {row.id: [_asked_by(row), *_said_by(row)] for row in rows if row.id not in why}
        why |= dict.fromkeys(_in_public_sets(texts, data, tell), "stands in a public test set")
    return {row.id for row in rows} - why.keys(), dict(Counter(why.values()))


def asks_a_case(question: str, cases: Cases) -> bool:
    """Whether a question has about the words of a case's."""
    words = frozenset(terms(question))
    return bool(words) and any(len(words & other) >= _ALIKE * len(words | other) for other in cases.asked if other)


def says_a_case(texts: Iterable[str], cases: Cases) -> bool:
    """Whether a text shares ten words in a row, or a shorter sentence, with what a case rests on."""
    return any(
        _plain(text) in cases.sentences or any(mark in cases.said for mark in shingles(text))
        for text in texts
        if text and text != NOT_COVERED
    )


def _in_public_sets(texts: Mapping[str, Sequence[str]], data: Path, tell: Callable[[str], None]) -> set[str]:
    """Ids of the rows that share ten words in a row with a file, or whose whole question stands in it."""
    if not data.is_dir():
        raise CourseError(f"There is no folder {data}.", "Name the folder of public test sets with --data, or leave it out.")
    owners: dict[int, set[str]] = {}
    questions: dict[str, set[str]] = {}
    for id_, (question, *said) in texts.items():
        for mark in (mark for text in (question, *said) if text != NOT_COVERED for mark in shingles(text)):
            owners.setdefault(mark, set()).add(id_)
        questions.setdefault(_plain(question), set()).add(id_)
    found: set[str] = set()
    for path in sorted(path for path in data.rglob("*") if path.suffix in _SUFFIXES and path.is_file()):
        tell(str(path.relative_to(data)))
        for text in _texts(path):
            found.update(questions.get(_plain(text), ()))
            for mark in shingles(text):
                found.update(owners.get(mark, ()))
    return found


def _texts(path: Path) -> Iterator[str]:
    """Every text of a file: strings of JSON, fields of a table, else its paragraphs. A damaged file is read as plain text."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        if path.suffix == ".jsonl":
            yield from (inner for line in text.splitlines() if line.strip() for inner in _strings(json.loads(line)))
        elif path.suffix == ".json":
            yield from _strings(json.loads(text))
        elif path.suffix in (".csv", ".tsv"):
            csv.field_size_limit(len(text) + 1)
            lines = csv.reader(text.splitlines(keepends=True), delimiter="\t" if path.suffix == ".tsv" else ",")
            yield from (field for line in lines for field in line)
        else:
            yield from text.split("\n\n")
    except (ValueError, csv.Error):
        yield from text.splitlines()


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _asked_by(row: AnyRow) -> str:
    """The question: the last paragraph of the last message, before which sentences of other sections may stand."""
    return row.prompt[-1]["content"].rpartition("\n\n")[2]


def _said_by(row: AnyRow) -> tuple[str, ...]:
    return (row.chosen,) if isinstance(row, Pair) else (row.completion,)
