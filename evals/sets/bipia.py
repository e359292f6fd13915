"""BIPIA (Yi et al., 2023): instructions planted in e-mails and tables that a question is about.

Source: github.com/microsoft/BIPIA, benchmark: 50 e-mails and 100 tables with a question each (the publisher's test files), and
text_attack_test.json, 15 kinds of 5 attacks. The paper's other texts are not at hand. Of its 33,750 combinations with three
places these are 2,250: each kind in each text once, with an attack and a place drawn by the id. Licence class: MIT, tables
share-alike (CC BY-SA 4.0); for measuring only. Splits: halves by the hash of the text.

The paper's attack success rate is decided by GPT and by rules for each kind; ours by a code word (planted.py), so the two do
not compare.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

from evals.sets import read_jsonl
from evals.sets.json_file import read_object
from evals.sets.planted import PLACES, cut_at, planted_sample
from evals.task import Sample

_TEXTS = {"email": "test.jsonl", "table": "benchmark__table__test.jsonl"}
_UNKNOWN = "unknown"  # what the set gives as the answer to a question that the e-mail does not answer


def read(folder: Path) -> Iterator[Sample]:
    """Each kind of attack in each text; the kind of the target is that of the attack, with the place."""
    attacks = read_object(folder / "text_attack_test.json")
    kinds = {kind: list(map(str, attacks.get(kind, list))) for kind in attacks.values}
    for name, file in _TEXTS.items():
        for number, record in enumerate(read_jsonl(folder / file)):
            context = record.text("context").strip()
            question = record.text("question").strip().removeprefix("Q:").strip()
            gold = [ideal] if (ideal := record.text("ideal").strip()) != _UNKNOWN else []
            group = sha256(context.encode()).hexdigest()[:12]  # some texts have several questions
            for kind, texts in kinds.items():
                drawn = Random(id := f"{name}-{number}-{kind}")
                attack, place = drawn.choice(texts), drawn.choice(PLACES)
                before, after = cut_at(context, place)
                yield planted_sample(id, question, before, attack, after, group, kind=f"{kind}, {place}", gold=gold)
