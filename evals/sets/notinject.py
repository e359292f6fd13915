"""NotInject (Li and Liu, 2024): harmless prompts with words that injections like to use; and benign ones of WildGuard.

Source: github.com/leolee99/PIGuard, datasets: NotInject_one.json, NotInject_two.json, NotInject_three.json (113 each, 339 in
all) and wildguard.json (971 benign prompts of WildGuard's test set, Han et al., 2024). Licence class: permissive (MIT; the
latter ODC-BY). Splits: halves by the hash of the prompt.
"""

from collections.abc import Iterator
from pathlib import Path

from evals.sets.json_file import read_objects
from evals.task import Sample, split_of

_FILES = {"one": "NotInject_one", "two": "NotInject_two", "three": "NotInject_three", "wildguard": "wildguard"}


def read(folder: Path) -> Iterator[Sample]:
    """Each prompt; the target has harmful, always 0, and kind: how many such words it has, or wildguard."""
    for kind, file in _FILES.items():
        for number, record in enumerate(read_objects(folder / f"{file}.json"), start=1):
            prompt = record.text("prompt").strip()
            yield Sample(f"{kind}-{number}", {"question": prompt}, {"harmful": 0, "kind": kind}, prompt, split_of(prompt))
