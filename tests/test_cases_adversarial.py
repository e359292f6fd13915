import json
import re
from collections import Counter
from typing import get_args

import pytest

from evals.cases import ADVERSARIAL, AdversarialKind, read_adversarial
from evals.task import split_of
from knowledge.errors import CourseError
from knowledge.ingest import STARTER_COURSE

KINDS = set(get_args(AdversarialKind))


@pytest.fixture(scope="module")
def cases():
    return read_adversarial()


@pytest.fixture
def write(tmp_path):
    lines = [json.loads(line) for line in ADVERSARIAL.read_text(encoding="utf-8").splitlines()]

    def write(expect, change):
        """The file with the first case that expects `expect` changed, and that case's line number."""
        number = next(number for number, line in enumerate(lines, start=1) if line["expect"] == expect)
        lines[number - 1].update(change)
        path = tmp_path / "changed.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        return path, number

    return write


def test_every_fact_stands_in_its_lesson_and_in_no_question(cases):
    for case in cases:
        if case.answerable:
            lesson = (STARTER_COURSE / case.lesson.removeprefix("course/")).read_text(encoding="utf-8")
            assert case.evidence in lesson, case.id
            assert "\n" not in case.evidence, case.id
            assert case.is_right(case.evidence), case.id
            assert not case.is_right(case.question), case.id


def test_sixty_cases_of_every_kind_in_both_halves(cases):
    assert [case.id for case in cases] == [f"a-{number:02d}" for number in range(1, 61)]
    assert all(case.split == split_of(case.id) for case in cases)
    for split in ("dev", "test"):
        half = [case for case in cases if case.split == split]
        assert len(half) >= 25
        assert {case.kind for case in half} == KINDS
        assert sum(case.answerable for case in half) >= 10
        assert sum(not case.answerable for case in half) >= 10


def test_the_readme_counts_what_the_file_holds(cases):
    readme = ADVERSARIAL.with_name("README.md").read_text(encoding="utf-8")
    told = {
        (kind, expect): int(count)
        for kind, row in re.findall(r"^\| ([a-z-]+) \|.*\| (\d (?:answer|refuse).*) \|$", readme, re.MULTILINE)
        for count, expect in re.findall(r"(\d) (\w+)", row)
    }
    assert told == Counter((case.kind, case.expect) for case in cases)
    answers = sum(case.answerable for case in cases)
    assert f"{len(cases)} cases, {answers} to answer and {len(cases) - answers} to refuse" in readme
    halves = Counter(case.split for case in cases)
    assert f"{halves['dev']} and {halves['test']} cases" in readme


# A fault is named with its file and line
@pytest.mark.parametrize(
    ("expect", "change", "problem"),
    [
        ("answer", {"gold": []}, "needs gold"),
        ("answer", {"expect": "refuse"}, "needs gold"),
        ("refuse", {"gold": ["30"]}, "needs gold"),
        ("refuse", {"expect": "answer"}, "needs gold"),
        ("refuse", {"expect": "block"}, "expect"),
        ("refuse", {"kind": "rude"}, "kind"),
        ("refuse", {"id": "b-01"}, "id"),
        ("refuse", {"question": ""}, "question"),
        ("refuse", {"answerable": False}, "answerable"),
    ],
)
def test_a_faulty_case_is_refused_with_its_line(write, expect, change, problem):
    path, line = write(expect, change)
    with pytest.raises(CourseError, match=rf"^changed\.jsonl, line {line}: (?s:.*){problem}"):
        read_adversarial(path)


def test_a_case_in_the_wrong_half_is_refused(write):
    path, line = write("refuse", {"id": "a-01", "split": "test"})
    with pytest.raises(CourseError, match=rf"line {line}: (?s:.*)the split of a-01 is dev"):
        read_adversarial(path)
