import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from assistant.events import Exchange
from assistant.prompts import NOT_COVERED, SYSTEM, answer_prompt, condense_prompt, says_not_covered
from knowledge.ingest import STARTER_COURSE
from knowledge.passage import Passage
from knowledge.sentences import sentence_spans

EARLIER = (Exchange("What is a prior?", "The belief before the evidence."),)


def passage(number, heading=("Bayes", "Base rates")):
    text = f"Text of passage {number}."
    return Passage(f"id{number}", "doc", "sec", "bayes.md", "Bayes", heading, None, None, 0, len(text), text, 5)


def test_what_changes_least_stands_first():
    system, *history, question = answer_prompt([passage(1), passage(2)], EARLIER, "Why?")
    assert isinstance(system, SystemMessage)
    rules, evidence = system.content
    assert rules["text"] == SYSTEM
    assert evidence["text"].strip() == (
        "Passage 1, Bayes > Base rates:\nText of passage 1.\n\nPassage 2, Bayes > Base rates:\nText of passage 2."
    )
    assert history == [HumanMessage("What is a prior?"), AIMessage("The belief before the evidence.")]
    assert question == HumanMessage("Why?")


def test_the_cache_key_follows_the_passages_and_their_order():
    def key(*passages):
        return answer_prompt(passages, (), "Why?")[0].content[1]["cache_key"]

    one, two = passage(1), passage(2)
    assert key(one, two) == key(one, two)
    assert len({key(one, two), key(two, one), key(one)}) == 3


def test_a_title_is_not_repeated_as_heading():
    evidence = answer_prompt([passage(1, heading=("Bayes",))], (), "Why?")[0].content[1]["text"]
    assert evidence.strip().startswith("Passage 1, Bayes:\n")


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


def test_condensing_shows_the_conversation_in_order():
    _, request = condense_prompt(EARLIER, "And after it?")
    assert request.content.startswith(
        "Student: What is a prior?\nAssistant: The belief before the evidence.\nStudent: And after it?"
    )


def test_no_sentence_of_the_starter_course_is_taken_for_such_a_remark():
    lessons = [path.read_text(encoding="utf-8") for path in STARTER_COURSE.glob("*.md")]
    sentences = [text[start:end] for text in lessons for start, end in sentence_spans(text)]
    assert len(sentences) > 1000
    assert [sentence for sentence in sentences if says_not_covered(sentence)] == []
