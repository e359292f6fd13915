"""Questions that no course covers: requests to a voice assistant, and prompts labelled for moderation.

- CLINC150 (Larson et al., 2019), github.com/clinc/oos-eval, data_full.json: the 1,000 test queries that belong to none of its
  150 intents. For a course all of the set is off topic; this part is the most varied. Licence CC BY 3.0.
- OpenAI moderation (Markov et al., 2023), github.com/openai/moderation-api-release, samples-1680.jsonl.gz: 1,680 prompts, 522
  of them with at least one of eight labels of harm. Licence MIT.

Licence class of both: permissive. Splits: halves by the hash of the text. Some of these questions may touch on what a given
course does cover, which nobody checked; for a course on machine learning these are few.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from evals.sets import Record
from evals.sets.json_file import read_object
from evals.task import Sample, split_of
from knowledge.errors import CourseError

_HARMS = ("S", "H", "V", "HR", "SH", "S3", "H2", "V2")


def read_clinc(folder: Path) -> Iterator[Sample]:
    """The queries out of scope; the target has answerable, always 0."""
    record = read_object(folder / "data_full.json")
    for number, pair in enumerate(record.get("oos_test", list)):
        question = str(pair[0])
        yield Sample(f"clinc-{number}", {"question": question}, {"answerable": 0}, question, split_of(question))


def read_moderation(folder: Path) -> Iterator[Sample]:
    """The prompts; the target has answerable, always 0, and harmful (0 or 1)."""
    for number, record in enumerate(_packed_lines(folder / "samples-1680.jsonl.gz")):
        prompt = record.text("prompt").strip()
        harmful = int(any(record.values.get(label) for label in _HARMS))
        target = {"answerable": 0, "harmful": harmful}
        yield Sample(f"moderation-{number}", {"question": prompt}, target, prompt, split_of(prompt))


def _packed_lines(path: Path) -> Iterator[Record]:
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                yield Record(f"{path}, line {number}", json.loads(line))
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error}.", "Name the folder of public data with --data.") from error
    except (ValueError, EOFError) as error:
        raise Record(f"{path}, line {number + 1}", {}).fault(f"not JSON: {error}") from error
