"""Sentences about the starter course, each with the text of its lesson that supports it or does not; README.md tells more."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from evals.sets.claims import claims_sample
from evals.task import Sample, Split, split_of
from knowledge.errors import CourseError
from knowledge.settings import StrictModel

CLAIMS = Path(__file__).with_name("claims.jsonl")

Kind = Literal["close", "free", "number", "name", "negated", "half", "swapped", "other"]
SUPPORTED: frozenset[Kind] = frozenset({"close", "free"})


class Claim(StrictModel):
    """One sentence, and whether the evidence supports all that it says.

    Attributes:
        id: number of the lesson and a running number: 07-12.
        split: the half that the lesson belongs to; all claims about a lesson are in one half.
        evidence: text that stands in the lesson as it is.
        kind: close and free are paraphrases, near the wording or far from it; the others are not supported: a number, a
            name or a term changed, negated or turned into its opposite, half true, parts swapped, true but said elsewhere.
    """

    id: str = Field(pattern=r"^\d\d-\d\d$")
    split: Split
    lesson: str
    evidence: str = Field(min_length=1)
    claim: str = Field(min_length=1)
    supported: Literal[0, 1]
    kind: Kind

    @model_validator(mode="after")
    def _consistent(self) -> "Claim":
        if self.split != split_of(self.lesson):
            raise ValueError(f"the split of {self.lesson} is {split_of(self.lesson)}")
        if bool(self.supported) != (self.kind in SUPPORTED):
            raise ValueError(f"a claim of kind {self.kind} is {'' if self.kind in SUPPORTED else 'not '}supported")
        return self


def read_claims(path: Path = CLAIMS) -> list[Claim]:
    """The claims of a file, in its order.

    Raises:
        CourseError: a line is not a claim; the text names it.
    """
    claims = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            claims.append(Claim.model_validate(json.loads(line)))
        except ValueError as error:
            raise CourseError(f"{path.name}, line {number}: {error}", "See evals/cases/README.md for the keys.") from error
    return claims


def samples(path: Path = CLAIMS) -> Iterator[Sample]:
    """Each claim as a sample of one sentence, as the tasks of the family "judge" take it."""
    for claim in read_claims(path):
        yield claims_sample(
            claim.id, [claim.evidence], [claim.claim], [not claim.supported], claim.lesson, part=claim.kind, split=claim.split
        )
