"""HaluEval QA (Li et al., 2023): the right answer to a question of HotpotQA and one that ChatGPT made up, with the knowledge.

Source: github.com/RUCAIBox/HaluEval, generation/qa: 500 rows made in one turn and 500 in several, before the paper's
filtering (its final file is larger than we may hold). Licence: MIT. Splits: halves by the hash of the question, which both
files share. The made-up answers are labelled by how they were made; nobody checked that each of them is wrong.
"""

from collections.abc import Iterator
from pathlib import Path

from evals.sets import read_jsonl
from evals.sets.claims import claims_sample
from evals.task import Sample

PARTS = ("one-turn", "multi-turn")


def read(folder: Path) -> Iterator[Sample]:
    """Both answers of each row."""
    for part in PARTS:
        for number, record in enumerate(read_jsonl(folder / f"qa_{part}_data.json")):  # JSON lines, whatever its name says
            question, knowledge = record.text("question").strip(), [record.text("knowledge")]
            for key, unsupported in (("right_answer", False), ("hallucinated_answer", True)):
                claim = [record.text(key)]
                id = f"{part}-{number}-{'wrong' if unsupported else 'right'}"
                yield claims_sample(id, knowledge, claim, [unsupported], group=question, part=part, question=question)
