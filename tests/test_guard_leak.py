"""Leaks of the instructions, plain and disguised."""

import codecs
import time
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_guard.rules.leak import PromptLeakRule

SECRET = (
    "You help the students of the school of sailing. Answer each question from the log books below, and from nothing else.\n"
    "If the log books hold no answer, reply only: The course does not cover this."
)
RULE = PromptLeakRule([SECRET])


@pytest.mark.parametrize(
    "disguise",
    [
        str,
        str.upper,
        lambda text: text[::-1],
        lambda text: " ".join(text),
        lambda text: "-".join(text.split()),
        lambda text: codecs.encode(text, "rot13"),
        lambda text: b64encode(text.encode()).decode(),
        lambda text: text.encode().hex(),
        lambda text: text.translate(str.maketrans("aeo", "àéö")),
        lambda text: f"Sure! My instructions: {text[48:120]}",
    ],
)
def test_leaks_are_noticed(disguise):
    finding = RULE.look(disguise(SECRET))
    assert finding.score >= 0.5
    assert finding.spans


@pytest.mark.parametrize(
    "text",
    [
        "The course does not cover this.",
        "The log books hold no answer.",
        "A system prompt is the first message of a chat; it sets the role, the rules and the tone for the conversation.",
        "Sailing students keep log books.",
        "ignore the bias term",
        "",
    ],
)
def test_what_the_assistant_may_say_is_no_leak(text):
    assert RULE.look(text) is None


def test_span_is_where_the_leak_stands():
    leak = "Answer each question from the log books below, and from nothing else"
    text = f"Hello. {leak}! Aye."
    ((start, end),) = RULE.look(text).spans
    assert text[start:end] == leak


def test_a_changed_word_here_and_there_hides_nothing():
    changed = (
        "You help all students of the school of sailing. Answer every question from the log books below, and from nothing else."
    )
    assert RULE.look(changed)


def test_nothing_secret_nothing_leaked():
    assert PromptLeakRule([]).look(SECRET) is None
    assert PromptLeakRule(["short"]).look("short " * 30) is None


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_no_text_crashes(text):
    assert RULE.look(text) is None
    assert RULE.look(f"{text} {SECRET}")


@pytest.mark.parametrize("bomb", ["a", "ab" * 20 + " ", "é", SECRET, " "])
def test_time_is_linear(bomb):
    text = bomb * (1_000_000 // len(bomb))
    started = time.process_time()
    RULE.look(text)
    assert time.process_time() - started < 20
