"""What of a question the course covers, and what becomes of the rest."""

import pytest
from toy_index import toy_index

from assistant.events import Exchange, Turn
from assistant.scope import scope_of
from knowledge.retrieval import CourseRetriever

CALVIN = "What does the Calvin cycle spend?"
RISOTTO = "How do I cook mushroom risotto?"


@pytest.fixture
def retriever():
    return CourseRetriever(index=toy_index(), k=20)


def test_a_question_about_one_thing_is_searched_for_as_it_is(retriever):
    scope = scope_of(Turn(CALVIN), retriever)
    assert (scope.searched, scope.found.covered, scope.left_out, scope.unclear) == (CALVIN, True, (), False)


@pytest.mark.parametrize("question", [f"{CALVIN} {RISOTTO}", f"{RISOTTO} {CALVIN}"])
def test_the_part_that_the_course_covers_is_answered_and_the_other_one_named(retriever, question):
    scope = scope_of(Turn(question), retriever)
    assert scope.found.covered
    assert (scope.searched, scope.left_out) == (CALVIN, (RISOTTO,))


def test_of_two_uncovered_parts_none_is_named(retriever):
    scope = scope_of(Turn(f"{RISOTTO} Who won the football world cup?"), retriever)
    assert (scope.found.covered, scope.left_out) == (False, ())


def test_a_question_that_says_nothing_is_unclear_but_not_after_another(retriever):
    assert scope_of(Turn("How does it work?"), retriever).unclear
    earlier = (Exchange(CALVIN, "It spends ATP."),)
    scope = scope_of(Turn("How does it work?", earlier=earlier), retriever)
    assert (scope.unclear, CALVIN in scope.searched) == (False, True)


def test_what_is_told_before_the_question_does_not_hide_it(retriever):
    told = "I am so tired, my bus was late again and my aunt from Norway visits us with her seven dogs."
    assert not retriever.retrieve(f"{told} {CALVIN}").covered
    assert scope_of(Turn(f"{told} {CALVIN}"), retriever).searched == CALVIN


def test_masked_words_are_not_searched_for(retriever):
    assert scope_of(Turn(f"{CALVIN} [EMAIL_1]"), retriever).searched == CALVIN
