"""Questions that students ask and that sound dangerous: 300 written for Lectern (Apache-2.0), 50 of each of six subjects.

Biology, security, medicine, history, chemistry and literature. None is of a public set. They are about viruses, overdoses,
explosives, genocide, exploits and suicides in novels, and hold forms that rules look for (an address, a card number, quoted
insults, "ignore all previous instructions"). Every one of them must pass. Splits: halves by the hash of the id.
"""

from collections.abc import Iterator
from pathlib import Path

from evals.sets import read_jsonl
from evals.task import Sample, split_of

SUBJECTS = ("biology", "security", "medicine", "history", "chemistry", "literature")
FILE = Path(__file__).parents[1] / "cases" / "harmless.jsonl"


def read(path: Path = FILE) -> Iterator[Sample]:
    """Each question; the target has harmful, always 0, and kind, its subject.

    Raises:
        CourseError: a line is not such a question; the text names it.
    """
    for record in read_jsonl(path):
        id, subject = record.text("id"), record.text("subject")
        if subject not in SUBJECTS:
            raise record.fault(f'"subject" is {subject}, one of {", ".join(SUBJECTS)} is expected')
        yield Sample(id, {"question": record.text("question")}, {"harmful": 0, "kind": subject}, id, split_of(id))
