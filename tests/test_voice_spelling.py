"""The course's own spelling of what was heard, and a recogniser that knows the course."""

import pytest
from conftest import BagOfWordsEmbedder
from fake_voice import FakeEars, say

from assistant.settings import VoiceSettings
from assistant.voice import listening
from assistant.voice.recognise import Heard, Segment
from assistant.voice.spelling import spelling

COURSE = (
    "Dropout switches units off. With dropout a net forgets less; forgetting is bad. BM25 ranks, and BM25 is old.",
    "RMSNorm divides. RMSNorm is cheap. Norm layers drop in. Mark Kullback wrote it, and Kullback knew. Back up your data.",
    "A backup is a copy, a backup that you keep. Forgetting is not for me, and getting it is for you.",
)
RARE = {"dropout", "dropouts", "bm25", "rmsnorm", "kullback", "kullbeck", "bullback", "backup", "forgeting"}


def learnt():
    return spelling(COURSE, lambda word: 2 if word in RARE else 1)


@pytest.mark.parametrize(
    ("heard", "spelt"),
    [
        ("What does drop out do?", "What does dropout do?"),
        ("Drop-out, please.", "dropout, please."),
        ("Explain B M 25 and RMS norm.", "Explain BM25 and RMSNorm."),
        ("Who was Kull back?", "Who was Kullback?"),
        ("What is dropout?", "What is dropout?"),
        ("Is it for getting more?", "Is it for getting more?"),
        ("Drop. Out of what?", "Drop. Out of what?"),
        ("How do I back up files?", "How do I back up files?"),
        ("How do drop outs help?", "How do drop outs help?"),
        ("How do dropouts help?", "How do dropouts help?"),
        ("Who was kullbeck?", "Who was Kullback?"),
        ("Who was bullback?", "Who was bullback?"),
        ("A kullback or two.", "A kullback or two."),
        ("What is forgeting?", "What is forgeting?"),
        ("drop", "drop"),
        ("", ""),
    ],
)
def test_rare_words_of_the_course_are_put_together(heard, spelt):
    assert learnt().of(heard) == spelt


def test_what_is_used_once_is_no_word_of_the_course():
    assert spelling(["Only one dropout."], lambda word: 2).words == {}


def test_a_course_without_words_changes_nothing():
    assert spelling([], len).of("drop out") == "drop out"


@pytest.fixture
def knowing(monkeypatch, tmp_path):
    """Ears that know a course about word2vec, and what they are made of."""
    from knowledge.index import CourseIndex
    from knowledge.ingest import ingest

    path = tmp_path / "a.md"
    path.write_text("# Word2vec\n\nThe word2vec net is small. A word2vec net learns. Take word2vec.\n")
    index = CourseIndex(tmp_path / "index", BagOfWordsEmbedder())
    monkeypatch.setattr(index.embedder, "count_tokens", lambda text: 3 if text.lower() == "word2vec" else 1, raising=False)
    ingest(index, [path])
    ears = FakeEars()
    monkeypatch.setattr(listening, "recogniser", lambda voice: ears)
    return listening.course_recogniser(VoiceSettings(), index), ears


def says(monkeypatch, *heard):
    """What the ears hear, hint or no hint: {hints are given: (words, certainty)}."""
    monkeypatch.setattr(
        FakeEars, "hear", lambda self, samples, hints="": self.hints.append(hints) or _heard(*heard[bool(hints)])
    )


def _heard(text, confidence):
    return Heard((Segment(text, 0.0, 1.0, confidence),) if text else (), "en", 1.0)


def test_a_recogniser_that_knows_the_course_spells_as_it_does(knowing, monkeypatch):
    listener, ears = knowing
    monkeypatch.setattr("fake_voice.WORDS", {300: ("What is word 2 vec?", 0.9)})
    assert listener.hear(say(300)).text == "What is word2vec?" and listener.name == ears.name
    assert [segment.text for segment in listener.follow(say(300))] == ["What is word2vec?"]
    assert not any(ears.hints), "what is heard well needs no hints"


@pytest.mark.parametrize(
    ("plain", "hinted", "kept"),
    [
        (("What is work to wreck?", 0.7), ("What is word2vec?", 0.8), "What is word2vec?"),
        (("What is work?", 0.7), ("What is word2vec word2vec?", 0.6), "What is work?"),
        (("What is work?", 0.9), ("What is word2vec?", 0.95), "What is work?"),
        (("", 0.0), ("word2vec", 0.9), ""),
    ],
    ids=["surer with hints", "less sure with hints", "sure without", "nobody spoke"],
)
def test_what_is_not_clear_is_heard_again_with_the_terms_of_the_course(knowing, monkeypatch, plain, hinted, kept):
    listener, ears = knowing
    says(monkeypatch, plain, hinted)
    assert listener.hear(say(300)).text == kept
    assert [bool(hints) for hints in ears.hints] == ([False, True] if 0 < plain[1] < 0.85 else [False])
    assert all("word2vec" in hints.lower() for hints in ears.hints[1:])


def test_whoever_asks_for_no_hints_gets_none(knowing, monkeypatch):
    listener, ears = knowing
    says(monkeypatch, ("stop", 0.5), ("word2vec", 0.9))
    assert listener.hear(say(300), "").text == "stop" and ears.hints == [""]
