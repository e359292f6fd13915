"""AttributionBench (Li et al., 2024): does the cited text attribute the claim?

Source: github.com/OSU-NLP-Group/AttributionBench, data/: 500 claims drawn from its in-distribution test set (ExpertQA,
Stanford-GenSearch, AttributedQA, LFQA) and 1,686 out of distribution (HAGRID, BEGIN, AttrScore-GenSearch), as many attributable
as not. Licence: none in the repository; its page on the hub says Apache-2.0. 75 claims without any reference are left out.
Splits: halves by the hash of the question.
"""

from collections.abc import Iterator
from pathlib import Path

from evals.sets import read_jsonl
from evals.sets.claims import claims_sample
from evals.task import Sample

FILES = ("test_all_subset_balanced_sampled500.jsonl", "test_ood_all_subset_balanced.jsonl")
_LABELS = {"attributable": False, "not attributable": True}


def read(folder: Path) -> Iterator[Sample]:
    """Each claim with its references."""
    for name in FILES:
        for record in read_jsonl(folder / name):
            references = [text for text in record.get("references", list) if isinstance(text, str) and text.strip()]
            label = record.text("attribution_label")
            if label not in _LABELS:
                raise record.fault(f'"attribution_label" is {label}, attributable or not attributable is expected')
            if references:
                question = record.text("question")
                claim = [record.text("claim")]
                part = record.text("src_dataset")
                yield claims_sample(
                    record.text("id"), references, claim, [_LABELS[label]], group=question, part=part, question=question
                )
