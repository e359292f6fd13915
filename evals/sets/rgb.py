"""RGB (Chen et al., 2024): what an assistant makes of noise, of missing facts and of false facts in its passages.

Source: github.com/chen700564/RGB, data/en_fact.json: 100 English questions with passages that answer them, the same passages
with the answer replaced by a false one, and passages on the subject that do not answer. The larger en.json is not at hand, so
all three parts are made from this file, as evalue.py there makes them: five passages, shuffled. Licence class: non-commercial
(CC BY-NC-SA 4.0); for measuring only. Splits: halves by the hash of the question.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Literal

from evals.sets import Record, read_jsonl
from evals.task import Sample, split_of

Part = Literal["noise", "rejection", "counterfactual"]
_ANSWERABLE: dict[Part, int | None] = {"noise": 1, "rejection": 0, "counterfactual": None}
_PASSAGES = 5
_NOISE = 3  # of five: the noise rate 0.6 of the paper's tables


def read(folder: Path, part: Part) -> Iterator[Sample]:
    """The questions with the passages of one part.

    noise: two passages that answer and three that do not. rejection: only such as do not (noise rate 1). counterfactual: only
    passages with the false answer. The target has gold, accepted wordings of the true answer, false, the false answer, and
    answerable: 1 for noise, 0 for rejection, None for counterfactual, where neither answer nor refusal is simply right.
    """
    for record in read_jsonl(folder / "en_fact.json"):  # JSON lines, whatever its name says
        question, false = record.text("query").strip(), record.text("fakeanswer")
        passages = list(map(str, _passages(record, part)))
        Random(question).shuffle(passages)
        yield Sample(
            f"{part}-{record.get('id', int)}",
            {"question": question, "passages": passages},
            {"answerable": _ANSWERABLE[part], "gold": _wordings(record), "false": false},
            question,
            split_of(question),
        )


def _passages(record: Record, part: Part) -> list[Any]:
    answers, noise = record.get("positive", list), record.get("negative", list)
    if part == "counterfactual":
        return record.get("positive_wrong", list)[:_PASSAGES]
    if part == "rejection":
        return noise[:_PASSAGES]
    noisy = min(_NOISE, len(noise))
    found = answers[: _PASSAGES - noisy]
    return [*found, *noise[: _PASSAGES - len(found)]]


def _wordings(record: Record) -> list[str]:
    """A string, or a list of facts, each a list of its wordings; this file has one fact a question."""
    answer = record.values.get("answer")
    if isinstance(answer, str):
        return [answer]
    if not isinstance(answer, list) or len(answer) != 1 or not isinstance(answer[0], list):
        raise record.fault('"answer" is neither a string nor a list with one list of wordings')
    return [str(wording) for wording in answer[0]]
