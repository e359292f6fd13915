"""QAGS (Wang et al., 2020): sentences of machine-written summaries, each judged by three people against the article.

Source: github.com/W4ngatang/qags, data/: 235 summaries of CNN/DailyMail (714 sentences) and 239 of XSum. Licence: none stated.
Splits: halves by the hash of the article. A sentence is unsupported where most of the three say that it is not consistent.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from evals.sets import Record, read_jsonl
from evals.sets.claims import claims_sample
from evals.task import Sample

PARTS = ("cnndm", "xsum")


def read(folder: Path) -> Iterator[Sample]:
    """Each summary with its article."""
    for part in PARTS:
        for number, record in enumerate(read_jsonl(folder / f"mturk_{part}.jsonl")):
            article, sentences = record.text("article"), record.inner("summary_sentences")
            texts = [sentence.text("sentence") for sentence in sentences]
            labels = [_unsupported(sentence) for sentence in sentences]
            group = sha256(article.encode()).hexdigest()[:16]
            yield claims_sample(f"{part}-{number}", [article], texts, labels, group=group, part=part)


def _unsupported(sentence: Record) -> bool:
    votes = [vote.text("response") for vote in sentence.inner("responses")]
    return votes.count("no") > votes.count("yes")
