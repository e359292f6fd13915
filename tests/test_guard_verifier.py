"""Which verifier the settings name, and what happens where it cannot be had."""

import pytest
from test_guard_support import KEPLER, passage

from course_guard.grounding import OverlapVerifier
from course_guard.settings import GroundingSettings
from course_guard.verifier import judged_verifier, make_verifier
from knowledge.errors import CourseError


class Judge:
    threshold = 0.5

    def __init__(self, probability):
        self.probability, self.asked = probability, []

    def support(self, sentences, passages, question=""):
        self.asked.append((list(sentences), list(passages)))
        return [self.probability for _ in sentences]


def test_overlap_by_name(embedder):
    assert isinstance(make_verifier(GroundingSettings(verifier="overlap"), embedder), OverlapVerifier)


@pytest.mark.parametrize("name", ["", "best", "nli:", "openai", "nli:/nowhere/at/all", "openai:model"])
def test_what_cannot_be_had_is_named(embedder, name):
    with pytest.raises(CourseError):
        make_verifier(GroundingSettings(verifier=name), embedder)


def test_another_judge_decides_and_overlap_cites(embedder):
    sentence = "He published the first law in 1609."
    believer, doubter = Judge(0.9), Judge(0.1)
    shown, dropped = (
        judged_verifier(judge, embedder, GroundingSettings(), None).against([passage(KEPLER, 1)], "").check(sentence)
        for judge in (believer, doubter)
    )
    assert [c.quote for c in shown.citations] == ["He published it in 1609."]
    assert not dropped.citations and dropped.reason
    assert believer.asked[0][0] == [sentence] and any("1609" in text for text in believer.asked[0][1])


def test_a_number_that_no_source_has_is_refused_whatever_the_judge_says(embedder):
    checker = judged_verifier(Judge(0.99), embedder, GroundingSettings(), None).against([passage(KEPLER, 1)], "")
    assert not checker.check("He published it in 1687.").citations


def test_a_set_threshold_takes_the_place_of_the_judges_own(embedder):
    strict = judged_verifier(Judge(0.9), embedder, GroundingSettings(threshold=0.95), None)
    assert not strict.against([passage(KEPLER, 1)], "").check("He published the first law in 1609.").citations
