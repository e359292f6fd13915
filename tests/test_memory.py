import pytest

from assistant.events import Exchange
from assistant.memory import needs_context, searched_for

EARLIER = (
    Exchange("What is a learning rate?", "The learning rate scales each step."),
    Exchange("What is dropout?", "Dropout switches off random units during training."),
)


@pytest.mark.parametrize(
    "question",
    [
        "And why?",
        "Why?",
        "Why is that?",
        "How does it work?",
        "When was this proposed?",
        "What about test time?",
        "Is the second one cheaper?",
        "Who are they?",
        "And for convolutional layers?",
        "Can you give an example?",
        "More, please",
        "What are its drawbacks?",
    ],
)
def test_follow_ups_need_the_conversation(question):
    assert needs_context(question, EARLIER)
    assert not needs_context(question, ())


@pytest.mark.parametrize(
    "question",
    [
        "What is dropout?",
        "Why does dropout help?",
        "Why do transformers need positional encodings?",
        "Who proposed LoRA?",
        "What is the first step of backpropagation?",
        "What is the other name of the F1 score?",
        "How many parameters has BERT-base?",
        "Show that the gradient points uphill",
        "What theorem says that truncated SVD is optimal?",
    ],
)
def test_standalone_questions_are_left_alone(question):
    assert not needs_context(question, EARLIER)
    assert searched_for(question, EARLIER) == question


def test_a_follow_up_is_searched_for_with_the_question_before_it():
    assert searched_for("And why does it work?", EARLIER) == "What is dropout? And why does it work?"


def test_a_follow_up_of_follow_ups_is_searched_for_with_what_they_hang_on():
    earlier = (*EARLIER, Exchange("Why does it help?", "Units cannot rely on one another."))
    assert searched_for("And at test time?", earlier) == "What is dropout? Why does it help? And at test time?"


def test_a_conversation_of_follow_ups_is_looked_back_on_for_three_questions():
    earlier = (*EARLIER, *(Exchange(f"And for layer {n}, what does it do?", "The same.") for n in range(5)))
    wanted = [f"And for layer {n}, what does it do?" for n in (2, 3, 4)]
    assert searched_for("Why is that?", earlier) == " ".join([*wanted, "Why is that?"])


def test_the_first_question_hangs_on_nothing():
    assert searched_for("And why does it work?", ()) == "And why does it work?"
    earlier = (Exchange("Why is that?", "It is so."),)
    assert searched_for("And then?", earlier) == "Why is that? And then?"
