"""Two public collections for retrieval, as evals/bench/retrieval.py reads and cuts them: questions first, passages when needed.

- Cranfield (Cleverdon, 1967), github.com/oussbenk/cranfield-trec-dataset: 1,400 abstracts on aeronautics, 225 questions, graded
  judgements. No licence stated; for measuring only.
- The chunking set of Smith and Troynikov (Evaluating Chunking Strategies for Retrieval, 2024),
  github.com/brandonstarxel/chunking_evaluation: 472 questions on five documents, with the exact texts that answer them. Licence
  class: permissive (MIT).

Splits: halves by the hash of the question.
"""

from collections.abc import Iterator
from pathlib import Path

from evals.bench.retrieval import read_corpora, read_cranfield
from evals.task import Sample, split_of

CRANFIELD = "cranfield"


def read_cranfield_questions(folder: Path) -> Iterator[Sample]:
    """The 225 questions; input has collection, id and question."""
    yield from _samples(CRANFIELD, read_cranfield(folder).questions)


def read_chunking_questions(folder: Path) -> Iterator[Sample]:
    """The 472 questions of all five documents; input has collection (the document's name), id and question."""
    for corpus in read_corpora(folder):
        yield from _samples(corpus.name, corpus.questions)


def _samples(collection: str, questions: dict[str, str]) -> Iterator[Sample]:
    for id, question in questions.items():
        seen = {"collection": collection, "id": id, "question": question}
        yield Sample(f"{collection}-{id}" if id.isdigit() else id, seen, {}, question, split_of(question))
