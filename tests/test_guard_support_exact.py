import pytest

from course_guard.support.exact import Facts, compare, facts

SOURCE = facts(
    "Augustin-Louis Cauchy described gradient descent in 1847. A learning rate that is too small makes progress slow, and a"
    " learning rate that is too large makes the loss oscillate. Mixtral 8x7B has about 46.7 billion parameters and 1,024 rows;"
    " a third of them, 33 per cent, are not trained. Clipping usually helps an SVM in a 137-billion-parameter model."
)


def departs(claim: str, source: Facts = SOURCE) -> set[str]:
    """What departs, leaving out the order of words."""
    found = compare(facts(claim), source, source, source)
    return {name for name, value in found.items() if value and name not in ("disorder", "reversed")}


@pytest.mark.parametrize(
    "claim",
    [
        "Gradient descent was described by Cauchy in 1847.",
        "It has 46.7 billion parameters.",
        "It has 46.7B parameters.",
        "It has roughly 47 billion parameters.",
        "There are 1024 rows.",
        "33% of them are untouched.",
        "An SVM is helped by clipping.",
        "With one step you are done.",
        "The model has 137 billion parameters.",
    ],
)
def test_the_same_facts_in_another_form_depart_in_nothing(claim):
    assert departs(claim) <= {"numbers_unbound"}


@pytest.mark.parametrize(
    ("claim", "what"),
    [
        ("Cauchy described gradient descent in 1874.", "numbers_missing"),
        ("It has 64.7 billion parameters.", "numbers_missing"),
        ("It has forty-eight rows.", "numbers_missing"),
        ("In 1847 the method was described by Newton.", "names_missing"),
        ("GPT-4 has parameters.", "names_missing"),
        ("Clipping does not help.", "negation_added"),
        ("They are trained.", "negation_dropped"),
        ("Clipping always helps.", "absolutes"),
    ],
)
def test_each_departure_is_seen(claim, what):
    assert what in departs(claim)


def test_an_opposite_is_seen_only_where_its_word_does_not_stand_in_the_source():
    source = facts("The loss rises.")
    assert "opposites" in departs("The loss falls.", source)
    assert "opposites" not in departs("The loss falls.", facts("The loss rises and falls."))


def test_swapped_words_are_in_another_order_than_in_the_source():
    source = facts("CBOW predicts the centre word from its context.")
    straight = compare(facts("CBOW predicts the centre from the context."), source, source, source)
    swapped = compare(facts("CBOW predicts the context from the centre."), source, source, source)
    assert straight["reversed"] < swapped["reversed"]


def test_markdown_marks_and_empty_texts_do_no_harm():
    assert facts("**Cauchy** used `f(x)` in 1847.").values == facts("Cauchy used f(x) in 1847.").values
    assert set(compare(facts(""), facts(""), facts(""), facts("")).values()) == {0.0}
    assert facts("Version 1.2.3 of ...").numbers[0][0] == 1.2
