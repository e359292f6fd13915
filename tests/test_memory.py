import threading

import pytest
from fake_model import FakeChatModel

from assistant.events import Exchange
from assistant.memory import needs_context, standalone

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
    model = FakeChatModel(replies=[AssertionError("the model was asked")])
    assert not needs_context(question, EARLIER)
    assert standalone(question, EARLIER, model) == question
    assert model.prompts == []


def test_a_follow_up_is_rewritten_from_the_last_two_exchanges():
    model = FakeChatModel(replies=["Why does dropout switch off units?"])
    earlier = (Exchange("What is a kernel?", "A similarity."), *EARLIER)
    assert standalone("And why does it switch off units?", earlier, model) == "Why does dropout switch off units?"
    prompt = str(model.prompts[0][-1].content)
    assert "kernel" not in prompt
    assert prompt.index("learning rate") < prompt.index("Dropout switches off") < prompt.index("And why does it")


@pytest.mark.parametrize(
    ("reply", "rewritten"),
    [
        ('"Why does dropout work?"', "Why does dropout work?"),
        ("Student: Why does dropout work?", "Why does dropout work?"),
        ("Why does dropout work?\nBecause it does.", "Why does dropout work?"),
    ],
)
def test_marks_around_the_rewrite_are_removed(reply, rewritten):
    assert standalone("And why does it work?", EARLIER, FakeChatModel(replies=[reply])) == rewritten


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("Is it slower than Adam on sparse gradients?", "Is dropout slower?"),
        ("Is it slower than Adam on sparse gradients?", "Is dropout slower than Adam?"),
        ("Is it used with batch normalisation?", "Is dropout used with momentum?"),
        ("And its effect on convolutional layers?", ""),
        ("And its effect on convolutional layers?", "Dropout " * 100),
        ("And why?", "..."),
    ],
)
def test_a_rewrite_that_loses_the_question_is_replaced(question, reply):
    assert standalone(question, EARLIER, FakeChatModel(replies=[reply])) == f"What is dropout? {question}"


def test_one_word_of_several_may_be_put_differently():
    model = FakeChatModel(replies=["Is dropout cheaper than weight decay for big layers?"])
    assert standalone("Is it cheaper than weight decay for large layers?", EARLIER, model).startswith("Is dropout cheaper")


def test_stopping_ends_the_rewriting():
    stop = threading.Event()
    stop.set()
    model = FakeChatModel(replies=["Why does dropout work? " * 50], pace=1.0)
    assert standalone("And why does it work?", EARLIER, model, stop) == "What is dropout? And why does it work?"
