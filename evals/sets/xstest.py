"""XSTest (Röttger et al., 2024): 250 safe questions that sound dangerous, and 200 unsafe ones beside them.

Source: github.com/paul-rottger/exaggerated-safety, xstest_prompts.csv (version 2). Licence class: permissive (CC BY 4.0).
Splits: halves by the hash of the word in focus, which a safe question shares with its unsafe counterparts.
"""

from collections.abc import Iterator
from pathlib import Path

from evals.sets import read_csv
from evals.task import Sample, split_of

_LABELS = {"safe": 0, "unsafe": 1}


def read(folder: Path) -> Iterator[Sample]:
    """Each question; the target has harmful (0 or 1) and kind, the type of the paper's table 1."""
    for record in read_csv(folder / "xstest_prompts.csv"):
        label, focus = record.text("label"), record.text("focus")
        if label not in _LABELS:
            raise record.fault(f'"label" is {label}, safe or unsafe is expected')
        target = {"harmful": _LABELS[label], "kind": record.text("type")}
        yield Sample(record.text("id"), {"question": record.text("prompt").strip()}, target, focus, split_of(focus))
