from collections import Counter
from itertools import combinations

import pytest

from evals.cases import Case, read_adversarial, read_cases, read_conversations
from knowledge.ingest import STARTER_COURSE
from knowledge.lexical import terms

FILES = ("starter", "starter_dev")


def content_words(question):
    """The words by which the index would search for a question, stemmed."""
    return frozenset(terms(question))


def similarity(one, other):
    """The Jaccard similarity of two sets of words."""
    return len(one & other) / max(1, len(one | other))


@pytest.fixture(scope="module")
def cases():
    return {name: read_cases(name) for name in FILES}


@pytest.fixture(scope="module")
def turns():
    return [turn for conversation in read_conversations() for turn in conversation]


@pytest.fixture(scope="module")
def everything(cases, turns):
    """The cases of all files, a conversation's turns as well."""
    return [*cases["starter"], *cases["starter_dev"], *turns, *read_adversarial()]


def test_every_fact_stands_in_its_lesson_and_in_no_question(cases):
    for case in (*cases["starter"], *cases["starter_dev"]):
        if case.answerable:
            lesson = (STARTER_COURSE / case.lesson.removeprefix("course/")).read_text(encoding="utf-8")
            assert case.evidence in lesson, case.id
            assert "\n" not in case.evidence, case.id
            assert case.is_right(case.evidence), case.id
            assert not case.is_right(case.question), case.id
            assert not case.near, case.id


def test_ids_are_unique_and_tell_the_lesson(everything):
    assert [id for id, count in Counter(case.id for case in everything).items() if count > 1] == []
    for case in everything:
        if case.answerable and case.id[0].isdigit():
            assert case.lesson.startswith(f"course/{case.id[:2]}-"), case.id
    assert {case.id[0] for case in everything if not case.answerable} == {"x", "y", "c", "a"}


def test_there_are_enough_cases_spread_over_all_lessons(cases):
    both = [*cases["starter"], *cases["starter_dev"]]
    assert sum(case.answerable for case in both) >= 200
    assert sum(not case.answerable for case in both) >= 80
    uncovered = [case for case in cases["starter"] if not case.answerable]
    assert sum(case.near for case in uncovered) >= len(uncovered) / 2
    lessons = Counter(case.lesson for case in both if case.answerable)
    assert set(lessons) == {f"course/{path.name}" for path in STARTER_COURSE.glob("*.md")}
    assert min(lessons.values()) >= 4


def test_the_readme_counts_what_the_files_hold(cases):
    readme = (STARTER_COURSE.parents[1] / "evals" / "cases" / "README.md").read_text(encoding="utf-8")
    for name in FILES:
        answerable = sum(case.answerable for case in cases[name])
        assert f"| {name}.jsonl | {answerable} answerable, {len(cases[name]) - answerable} not covered |" in readme
    uncovered = [case for case in cases["starter"] if not case.answerable]
    assert f"Of the {len(uncovered)} questions" in readme
    assert f"{sum(case.near for case in uncovered)} are near" in readme


def test_no_two_files_share_a_fact(cases, turns):
    facts = Counter(case.evidence for case in (*cases["starter"], *cases["starter_dev"], *read_adversarial()) if case.evidence)
    assert [evidence for evidence, count in facts.items() if count > 1] == []
    assert not set(facts) & {turn.evidence for turn in turns}


def test_no_two_questions_are_nearly_the_same(everything):
    asked = [(case, content_words(getattr(case, "standalone", case.question))) for case in everything]
    close = []
    for (one, words), (other, others) in combinations(asked, 2):
        together = hasattr(one, "conversation") and hasattr(other, "conversation") and one.conversation == other.conversation
        if not together and similarity(words, others) >= 0.7:
            close.append((one.question, other.question))
    assert close == []


def test_similar_questions_are_recognised():
    words = content_words("Why does dropout slow down the training of a network?")
    assert similarity(words, content_words("why is training a network slowed down by dropout")) >= 0.7
    assert similarity(words, content_words("Why does batch normalisation speed up the training of a network?")) < 0.7


def test_no_wording_is_so_common_that_a_guess_passes(cases, everything):
    facts = {case.evidence for case in everything if case.evidence}
    for case in (*cases["starter"], *cases["starter_dev"], *read_adversarial()):
        if case.answerable:
            chance = sum(case.is_right(fact) for fact in facts - {case.evidence})
            assert chance <= 0.03 * len(facts), (case.id, case.gold)


@pytest.mark.parametrize(
    "keys",
    [
        {"answerable": True},
        {"answerable": True, "gold": ["b"], "lesson": "course/01.md"},
        {"answerable": False, "gold": ["b"]},
        {"answerable": False, "evidence": "b"},
    ],
)
def test_incomplete_case_is_refused(keys):
    with pytest.raises(ValueError, match="needs gold"):
        Case(id="a", question="What?", **keys)


def test_empty_question_is_refused():
    with pytest.raises(ValueError, match="question"):
        Case(id="a", question="", answerable=False)
