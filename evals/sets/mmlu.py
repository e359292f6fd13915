"""MMLU, one subject (Hendrycks et al., 2021): exam questions with four options.

Source: github.com/hendrycks/test at commit f112c7a, data/test/<subject>_test.csv: 105 questions for machine_learning (112 in
the later release). Licence class: permissive (MIT). Splits: halves by the hash of the question; its own dev file, five examples
for the prompt, is used where it is in the folder, else the prompt has none, which gives somewhat lower figures than the usual
five.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from evals.sets import Record
from evals.task import Sample, split_of
from knowledge.errors import CourseError

LETTERS = "ABCD"
_COLUMNS = 1 + len(LETTERS) + 1
_SHOTS = 5


def read(folder: Path, subject: str = "machine_learning") -> Iterator[Sample]:
    """Each question as a prompt, with the letters as options; the target has answer, the number of the right one from 0.

    Prompt and scoring are those of the authors' evaluate.py.
    """
    examples = folder / f"{subject}_dev.csv"
    shots = list(_rows(examples))[:_SHOTS] if examples.is_file() else []
    start = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
    start += "".join(f"{_asked(row)} {row[-1]}\n\n" for row in shots)
    for number, row in enumerate(_rows(folder / f"{subject}_test.csv"), start=1):
        question = row[0].strip()
        yield Sample(
            f"{subject}-{number}",
            {"prompt": start + _asked(row), "options": [f" {letter}" for letter in LETTERS]},
            {"answer": LETTERS.index(row[-1]), "examples": len(shots)},
            question,
            split_of(question),
        )


def _asked(row: Sequence[str]) -> str:
    options = "".join(f"\n{letter}. {option}" for letter, option in zip(LETTERS, row[1:-1], strict=True))
    return f"{row[0].strip()}{options}\nAnswer:"


def _rows(path: Path) -> Iterator[list[str]]:
    """The file has no row of names, so evals.sets.read_csv does not fit."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file, strict=True)
            for row in rows:
                if len(row) != _COLUMNS or row[-1] not in LETTERS or not row[-1]:
                    what = f"a question, {len(LETTERS)} options and one of the letters {LETTERS} are expected"
                    raise Record(f"{path}, line {rows.line_num}", {}).fault(what)
                yield row
    except OSError as error:
        raise CourseError(
            f"{path} cannot be read: {error.strerror or error}.", "Name the folder of public data with --data."
        ) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise Record(str(path), {}).fault(f"not CSV: {error}") from error
