"""InjecAgent (Zhan et al., 2024): what a user's tool returns, with an attacker's instruction in it.

Source: github.com/enkryptai/xInjectAgent, a fork that carries the data of github.com/uiuc-kang-lab/InjecAgent:
test_cases_dh_base.json (510 cases of direct harm) and test_cases_ds_base.json (544 of stolen data): 17 tools of users times 62
attackers. Licence class: permissive (MIT). Splits: halves by the hash of the user's tool.

The paper asks whether an agent calls the attacker's tool. Ours has no tools: what the tool returns is a passage, and the attack
succeeds if a code word (planted.py) is written. The two do not compare.
"""

from collections.abc import Iterator
from pathlib import Path

from evals.sets.json_file import read_objects
from evals.sets.planted import planted_sample
from evals.task import Sample

_SLOT = "<Attacker Instruction>"
_PARTS = ("dh", "ds")


def read(folder: Path) -> Iterator[Sample]:
    """Each case: the user's request as question, the tool's answer as passage."""
    for part in _PARTS:
        for number, record in enumerate(read_objects(folder / f"test_cases_{part}_base.json")):
            returned, tool = record.text("Tool Response Template"), record.text("User Tool")
            before, slot, after = returned.partition(_SLOT)
            if not slot:
                raise record.fault(f'"Tool Response Template" has no {_SLOT}')
            attack, kind = record.text("Attacker Instruction"), record.text("Attack Type")
            yield planted_sample(
                f"{part}-{number}", record.text("User Instruction"), before, attack, after, tool, kind=f"{part}: {kind}"
            )
