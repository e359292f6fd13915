import json
from collections import Counter
from typing import get_args

import pytest

from evals.cases.claims import CLAIMS, SUPPORTED, Kind, read_claims, samples
from knowledge.errors import CourseError
from knowledge.ingest import STARTER_COURSE


@pytest.fixture(scope="module")
def claims():
    return read_claims()


def test_every_evidence_stands_in_its_lesson_and_no_claim_is_a_copy(claims):
    lessons = {path.name: path.read_text(encoding="utf-8") for path in STARTER_COURSE.glob("*.md")}
    for claim in claims:
        assert claim.evidence in lessons[claim.lesson.removeprefix("course/")], claim.id
        assert claim.claim not in claim.evidence, claim.id
        assert claim.id[:2] == claim.lesson.removeprefix("course/")[:2]


def test_enough_claims_of_every_kind_in_both_halves(claims):
    assert len(claims) >= 400
    assert len({claim.id for claim in claims}) == len(claims)
    assert len({(claim.evidence, claim.claim) for claim in claims}) == len(claims)
    assert len({claim.evidence for claim in claims if claim.supported}) >= 80
    assert sum(claim.supported for claim in claims) >= 120
    for split in ("dev", "test"):
        kinds = Counter(claim.kind for claim in claims if claim.split == split)
        assert set(kinds) == set(get_args(Kind))
        assert min(kinds.values()) >= 12


def test_what_is_true_elsewhere_is_a_true_claim_about_another_text(claims):
    true = {claim.claim: claim.evidence for claim in claims if claim.supported}
    for claim in claims:
        if claim.kind == "other":
            assert true[claim.claim] != claim.evidence


def test_samples_are_what_judges_are_measured_on(claims):
    made = list(samples())
    assert [sample.id for sample in made] == [claim.id for claim in claims]
    for sample, claim in zip(made, claims, strict=True):
        assert sample.input == {"question": "", "passages": [claim.evidence], "sentences": [claim.claim]}
        assert sample.target["unsupported"] == [int(claim.kind not in SUPPORTED)]
        assert (sample.group, sample.split) == (claim.lesson, claim.split)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"split": "dev and test"}, "split"),
        ({"supported": 2}, "supported"),
        ({"kind": "half"}, "is not supported"),
        ({"x": 1}, "x"),
    ],
)
def test_a_faulty_line_is_named(tmp_path, change, told):
    good = next(json.loads(line) for line in CLAIMS.read_text(encoding="utf-8").splitlines() if '"supported": 1' in line)
    path = tmp_path / "claims.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(good | change)}\n", encoding="utf-8")
    with pytest.raises(CourseError, match=f"line 2(.|\n)*{told}"):
        read_claims(path)
