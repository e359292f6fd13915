import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from assistant.events import Exchange
from assistant.prompts import (
    NOT_COVERED,
    RULES_KEY,
    SECTION_KEY,
    SYSTEM,
    answer_prompt,
    asked_with,
    says_not_covered,
    section_block,
    section_prompt,
)
from knowledge.evidence import Excerpt, Plan
from knowledge.ingest import STARTER_COURSE
from knowledge.passage import Passage
from knowledge.sentences import sentence_spans

EARLIER = (Exchange("What is a prior?", "The belief before the evidence."),)
RULES = {"type": "text", "text": SYSTEM, "cache_key": RULES_KEY}


def passage(number, heading=("Bayes", "Base rates"), section="bayes"):
    text = f"Text of passage {number}. It ends here."
    return Passage(f"id{number}", "doc", section, "bayes.md", "Bayes", heading, None, None, 0, len(text), text, 5)


def excerpt(number, *spans, **options):
    of = passage(number, **options)
    return Excerpt(of, spans or ((0, len(of.text)),), 5)


SECTION = (passage(1), passage(2), passage(3, heading=("Bayes", "Tests")))
EXTRAS = (excerpt(7, (0, 18), section="other"),)
PLAN = Plan("bayes", SECTION, EXTRAS, (excerpt(2, (0, 18)), excerpt(7, section="other")))


def test_a_warm_prompt_is_rules_section_conversation_and_question_with_what_other_sections_say():
    system, *history, question = answer_prompt(PLAN, False, EARLIER, "Why?")
    assert isinstance(system, SystemMessage)
    assert system.content == [
        RULES,
        {
            "type": "text",
            "text": "\n\nBayes > Base rates:\nText of passage 1. It ends here.\nText of passage 2. It ends here.\n"
            "Bayes > Tests:\nText of passage 3. It ends here.",
            "cache_key": f"{SECTION_KEY}bayes",
        },
    ]
    assert history == [HumanMessage("What is a prior?"), AIMessage("The belief before the evidence.")]
    assert question == HumanMessage("Bayes > Base rates:\nText of passage 7.\n\nWhy?")


def test_a_section_that_stands_clear_leaves_the_question_alone():
    clear = Plan("bayes", SECTION, (), ())
    assert asked_with(clear, "Why?") == "Why?"
    assert answer_prompt(clear, False, (), "Why?")[-1] == HumanMessage("Why?")


def test_a_cold_prompt_has_the_best_sentences_and_no_state_worth_keeping_but_that_of_the_rules():
    system, question = answer_prompt(PLAN, True, (), "Why?")
    rules, evidence = system.content
    assert rules == RULES
    assert "cache_key" not in evidence
    assert evidence["text"] == (
        "\n\nBayes > Base rates:\nText of passage 2.\n\nBayes > Base rates:\nText of passage 7. It ends here."
    )
    assert question == HumanMessage("Why?")


def test_without_evidence_there_are_the_rules():
    system, question = answer_prompt(None, True, (), "Ready?")
    assert [block["text"] for block in system.content] == [SYSTEM, ""]
    assert question.content == "Ready?"


def test_every_prompt_about_a_section_begins_with_what_is_computed_ahead():
    ahead = section_prompt("bayes", SECTION).content
    other = Plan("bayes", SECTION, (), ())
    for prompt in (answer_prompt(PLAN, False, EARLIER, "Why?"), answer_prompt(other, False, (), "What is a prior?")):
        assert prompt[0].content == ahead


def test_what_is_joined_follows_the_section_and_takes_the_place_of_the_sentences_from_elsewhere():
    further = section_block("other", [passage(7, section="other")])
    system, question = answer_prompt(PLAN, False, (), "Why?", [further])
    assert [block.get("cache_key") for block in system.content] == [RULES_KEY, f"{SECTION_KEY}bayes", f"{SECTION_KEY}other"]
    assert question.content == "Why?"


def test_an_earlier_question_is_repeated_as_the_model_was_asked():
    earlier = (Exchange("What is a prior?", "The belief.", "bayes", "Bayes > Tests:\nText.\n\nWhat is a prior?"), *EARLIER)
    asked = [message.content for message in answer_prompt(PLAN, False, earlier, "Why?") if isinstance(message, HumanMessage)]
    assert asked[:2] == ["Bayes > Tests:\nText.\n\nWhat is a prior?", "What is a prior?"]


def test_a_title_is_not_repeated_as_heading():
    block = section_block("bayes", [passage(1, heading=("Bayes",))])
    assert block["text"].strip().startswith("Bayes:\n")


def test_the_model_is_told_how_to_say_that_there_is_no_answer():
    assert NOT_COVERED in SYSTEM
    assert says_not_covered(NOT_COVERED)


@pytest.mark.parametrize(
    "sentence",
    [
        "The passages do not mention the monks of Belgium.",
        "Sorry, but the course doesn't cover this.",
        "Unfortunately, the provided passages don\u2019t contain information about monks.",
        "The given context does not specify who discovered the Calvin cycle.",
        "The passages of this course did not discuss it.",
        "The discovery of the cycle is not mentioned in the passages.",
        "There is no information on that in the course.",
    ],
)
def test_the_model_may_say_it_in_other_words(sentence):
    assert says_not_covered(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "A model's context window does not include later tokens.",
        "Unlabelled text does not contain the classes, so they are learned.",
        "Of course, this does not mean that it can state a reason.",
        "If the retrieved passages do not contain the answer, the model should say so.",
        "The prior is not included in the likelihood.",
    ],
)
def test_a_negative_sentence_of_a_lesson_is_no_such_remark(sentence):
    assert not says_not_covered(sentence)


def test_no_sentence_of_the_starter_course_is_taken_for_such_a_remark():
    lessons = [path.read_text(encoding="utf-8") for path in STARTER_COURSE.glob("*.md")]
    sentences = [text[start:end] for text in lessons for start, end in sentence_spans(text)]
    assert len(sentences) > 1000
    assert [sentence for sentence in sentences if says_not_covered(sentence)] == []
