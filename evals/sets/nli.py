"""Sets for natural language inference: does the premise entail the hypothesis?

Source: dev sets as CSV from github.com/felipessalvatore/NLI_datasets (SNLI, MNLI, SciTail, RTE, SICK, FraCaS,
CommitmentBank), and ANLI rounds 1 to 3 from github.com/facebookresearch/anli. Licences: SNLI CC BY-SA 4.0, MNLI mixed,
SciTail its own terms, SICK CC BY-NC-SA 3.0, ANLI CC BY-NC 4.0: for measuring only. Splits: halves by the hash of the premise.
At most 400 pairs of each are used, those with the lowest hash. Most entailment models were trained on SNLI, MNLI or ANLI, so
good figures here are no evidence of skill; bad ones are evidence of the lack of it. QNLI and WNLI are left out: their pairs
are a question with a sentence, and pronouns.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from evals.sets import Record, read_csv
from evals.sets.claims import claims_sample
from evals.task import Sample

NLI_SETS = ("snli", "mnli", "scitail", "rte", "sick", "fracas", "commitment_bank")
ANLI_ROUNDS = ("r1", "r2", "r3")
MOST_PAIRS = 400
_ENTAILED = {"entailment": True, "neutral": False, "contradiction": False, "not_entailment": False}
_ENTAILED_ANLI = {"e": True, "n": False, "c": False}


def read(nli: Path, anli: Path) -> Iterator[Sample]:
    """Up to 400 pairs of each set, from the folders of the two repositories."""
    for name in NLI_SETS:
        yield from _fewer(
            _pair(row, name, "premise", "hypothesis", "label", _ENTAILED) for row in read_csv(nli / f"{name}_dev.csv")
        )
    for name in ANLI_ROUNDS:
        rows = read_csv(anli / f"ANLI_analysis_{name}_dev.csv")
        yield from _fewer(_pair(row, f"anli_{name}", "context", "statement", "gold_label", _ENTAILED_ANLI) for row in rows)


def _pair(row: Record, part: str, premise: str, hypothesis: str, label: str, labels: dict[str, bool]) -> Sample:
    text, claim, answer = row.text(premise), row.text(hypothesis), row.text(label)
    if answer not in labels:
        raise row.fault(f'"{label}" is {answer}, one of {", ".join(labels)} is expected')
    id = f"{part}-{sha256(f'{text}|{claim}'.encode()).hexdigest()[:16]}"
    return claims_sample(id, [text], [claim], [not labels[answer]], group=text, part=part)


def _fewer(samples: Iterator[Sample]) -> list[Sample]:
    """Those with the lowest ids, which are hashes; a pair that stands twice counts once."""
    unique = {sample.id: sample for sample in samples}
    return [unique[id] for id in sorted(unique)[:MOST_PAIRS]]
