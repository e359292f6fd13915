"""WiCE (Kamoi et al., 2023): claims of Wikipedia articles against the web pages that they cite.

Source: github.com/ryokamoi/wice, entailment_inputs/oracle_chunks/claim: pieces of the page that hold the sentences which
people chose as evidence. Licence: annotations ODC-BY, text of Wikipedia CC BY-SA 4.0. Splits: the publisher's dev and test.
Each claim is given with several pieces, which differ in what else they hold; the first one is used (349 and 358 claims). As
in the paper's binary task, a partially supported claim counts as unsupported.
"""

from collections.abc import Iterator
from pathlib import Path

from evals.sets import Record, read_jsonl
from evals.sets.claims import claims_sample
from evals.task import Sample, Split

_SPLITS: tuple[Split, ...] = ("dev", "test")
_LABELS = ("supported", "partially_supported", "not_supported")


def read(folder: Path) -> Iterator[Sample]:
    """Each claim with a piece of its page."""
    for split in _SPLITS:
        seen = set()
        for record in read_jsonl(folder / f"oracle_claim_{split}.jsonl"):
            meta = Record(record.where, record.get("meta", dict))
            label, id = record.text("label"), meta.text("id")
            if label not in _LABELS:
                raise record.fault(f'"label" is {label}, one of {", ".join(_LABELS)} is expected')
            if id not in seen:
                seen.add(id)
                page = "\n\n".join(map(str, record.get("evidence", list)))
                group = meta.text("claim_title")
                yield claims_sample(
                    id, [page], [record.text("claim")], [label != "supported"], group=group, part="claims", split=split
                )
