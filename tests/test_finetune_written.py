"""Questions that a chat model writes about the course: which are kept, and that no style of asking tells what to decline."""

import re
from collections import Counter
from dataclasses import replace

import pytest
from conftest import BagOfWordsEmbedder
from finetune_course import WANTED, built, production, some

from finetune.data.build import open_course
from finetune.data.decontaminate import read_cases, says_a_case
from finetune.data.grounded import removed
from finetune.data.samples import Sampler
from finetune.data.written import WRITTEN, _chosen, _detail, written_questions
from knowledge.passage import Passage

SENTENCES = (
    "Gizmos were introduced by Ada Brown in the year 1931 in Leeds.",
    "A small spring drives the twelve long arms of every machine.",
)
WHO = "Which engineer introduced gizmos to the world?"


class Writer:
    """Answers every prompt with what belongs to its sentence, and counts."""

    def __init__(self, **written):
        self.written, self.asked = written, []

    def stream(self, messages, **options):
        self.asked.append(options)
        sentence = str(messages[-1].content)
        yield type("Chunk", (), {"content": next((text for word, text in self.written.items() if word in sentence), "No.")})()


def lesson(name="gizmos.md"):
    text = " ".join(SENTENCES)
    return Passage(f"p-{name}", f"d-{name}", "s", name, "Gizmos", ("Gizmos",), None, None, 0, len(text), text, 60)


def written(tmp_path, writer, passages=None, count=10, usable=lambda answer: True):
    sampler = Sampler(tmp_path, writer, "m", 200)
    return list(written_questions(passages or [lesson()], usable, sampler, BagOfWordsEmbedder(), count, 0, lambda: None))


def test_a_question_about_a_sentence_is_answered_by_it(tmp_path):
    writer = Writer(introduced=WHO)
    (found,) = written(tmp_path, writer)
    assert (found.question, found.how) == (WHO, WRITTEN)
    assert found.answer.startswith(SENTENCES[0])
    assert all(options["temperature"] == 0 for options in writer.asked) and len(writer.asked) == 2
    assert written(tmp_path, again := Writer()) == [found] and not again.asked, "read from disk"


@pytest.mark.parametrize(
    "text",
    [
        "Ada Brown.",
        "Who introduced gizmos? When was that?",
        "What does this sentence say about gizmos?",
        "Which planet is the largest of all planets?",
        "Were gizmos introduced by Ada Brown in the year 1931 in Leeds?",
        "Which spring drives the arms of every machine?",
        "Gizmos?",
    ],
)
def test_what_is_no_fair_question_is_left_out(tmp_path, text):
    assert written(tmp_path, Writer(introduced=text)) == []


@pytest.mark.parametrize(
    ("sentence", "detail"),
    [
        ("Forests grow well, because the rain falls all year.", "because the rain falls all year"),
        ("The prize was given to Ada Brown, who lived in Leeds.", "Ada Brown"),
        ("The prize was given in 1931 for the first time.", "1931"),
        ("A gizmo has 6 arms.", "6"),
        ("A gizmo sorts letters by colour.", "letters by colour"),
    ],
)
def test_a_question_asks_for_one_thing_that_its_sentence_says(sentence, detail):
    assert _detail(sentence) == detail


def test_a_question_that_yes_would_answer_is_left_out(tmp_path):
    assert written(tmp_path, Writer(introduced="Were gizmos first introduced by Ada Brown?")) == []
    assert len(written(tmp_path / "open", Writer(introduced="What did Ada Brown do for gizmos?"))) == 1


def test_no_time_is_spent_on_sentences_that_no_row_may_have(tmp_path):
    writer = Writer(introduced=WHO, spring="What makes the twelve arms of the machine move?")
    found = written(tmp_path, writer, usable=lambda answer: "spring" not in answer)
    assert [asked.answer for asked in found] == [SENTENCES[0]], "without the sentence behind it"
    assert len(writer.asked) == 1


def test_sentences_are_taken_from_all_lessons_in_turn(tmp_path):
    writer = Writer(introduced=WHO, spring="What makes the twelve arms of the machine move?")
    found = written(tmp_path, writer, [lesson(name) for name in ("a.md", "b.md", "c.md")], count=3)
    assert sorted(asked.passage.source for asked in found) == ["a.md", "b.md", "c.md"]
    assert len(writer.asked) == len({asked.question for asked in found})


def test_no_style_of_question_is_declined_more_often_than_half_as_often_as_it_is_answered():
    styles = Counter((one.asked.how, one.row.kind == "removed") for one in built()[1])
    declined = {how: number for (how, gone), number in styles.items() if gone}
    assert declined
    assert all(number <= styles[how, False] / 2 for how, number in declined.items())


def test_they_are_asked_with_the_others(tmp_path):
    cases = read_cases()

    def usable(answer):
        return not says_a_case([answer], cases)

    _, sentences, place = next(iter(_chosen(production().index.catalogue.all_passages(), usable, 1, WANTED.seed)))
    words = sorted(re.findall(r"[a-z]{5,}", sentences[place]), key=len)[-5:]
    writer = Writer(**{sentences[place]: f"What is known about {' '.join(words)}?"})
    wanted, told = replace(WANTED, questions=30), []
    sampler = Sampler(tmp_path, writer, "m", 200)
    course, asked = open_course(production(), cases, wanted, sampler, lambda *what: told.append(what))
    assert told[-1] == ("Questions", 30, 30)
    (found,) = [each for each in asked if each.how == WRITTEN]
    assert found.answer.startswith(sentences[place])


def test_a_question_is_declined_only_where_what_it_asks_for_is_nowhere_to_be_read():
    gone = some("removed")
    whole = next(one for one in built()[1] if one.row.kind == "oracle" and one.asked == gone.asked)

    def declined(detail):
        return removed(production(), replace(whole, asked=replace(whole.asked, detail=detail)))

    assert declined("Ada Brown").row.prompt == gone.row.prompt
    assert declined(gone.judged.read.split()[-9]) is None, "it is still there"
    assert declined(whole.asked.question.split()[-2]) is None, "the question says it itself"
