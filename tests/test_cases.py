import pytest

from evals.cases import Case, read_cases
from knowledge.ingest import STARTER_COURSE


@pytest.mark.parametrize("name", ["starter", "starter_dev"])
def test_every_fact_stands_in_its_lesson_and_in_no_question(name):
    cases = read_cases(name)
    assert len({case.id for case in cases}) == len(cases)
    for case in cases:
        if case.answerable:
            lesson = (STARTER_COURSE / case.lesson.removeprefix("course/")).read_text(encoding="utf-8")
            assert case.evidence in lesson, case.id
            assert case.is_right(case.evidence), case.id
            assert not case.is_right(case.question), case.id


def test_reported_and_development_questions_do_not_overlap():
    reported, development = ({case.question for case in read_cases(name)} for name in ("starter", "starter_dev"))
    assert not reported & development
    assert sum(case.answerable for case in read_cases("starter")) >= 45
    assert sum(not case.answerable for case in read_cases("starter")) >= 15


def test_incomplete_case_is_refused():
    with pytest.raises(ValueError, match="needs gold"):
        Case(id="a", question="What?", answerable=True)
