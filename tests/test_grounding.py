import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_guard.grounding import OverlapVerifier
from course_guard.settings import GroundingSettings
from knowledge.index import embedded_sentences
from knowledge.passage import Passage

DROPOUT = (
    "Dropout switches off randomly chosen units during training. Each unit is kept with a probability of 0.5. "
    "The ImageNet set has 1,281,167 pictures of 1,000 classes, and training takes two weeks."
)
DECAY = "Weight decay adds the squared length of the weights to the loss. It was proposed by Anders Krogh in 1991."
OFFSET = 1000


def passage(text, number, title="Regularisation", heading=("Regularisation",)):
    return Passage(f"p{number}", "doc", "s", "r.md", title, heading, None, None, OFFSET, OFFSET + len(text), text, 50)


@pytest.fixture
def check(embedder):
    passages = [passage(DROPOUT, 1), passage(DECAY, 2)]
    return OverlapVerifier(embedder).against(passages, "What does dropout do in 2030?").check


def quotes(support):
    return [(citation.number, citation.quote) for citation in support.citations]


def test_a_sentence_of_the_source_is_supported_by_itself(check):
    support = check("Dropout switches off randomly chosen units during training.")
    assert quotes(support) == [(1, "Dropout switches off randomly chosen units during training.")]
    assert support.probability == pytest.approx(1.0, abs=0.001)
    assert support.reason == ""


def test_the_words_may_stand_in_another_order_and_carry_markdown(check):
    support = check("During training, **dropout** switches off _randomly_ chosen units.")
    assert quotes(support) == [(1, "Dropout switches off randomly chosen units during training.")]


def test_the_quote_stands_at_its_place_in_the_document(check):
    (citation,) = check("Weight decay adds the squared length of the weights to the loss.").citations
    assert (citation.start, citation.end) == (OFFSET, OFFSET + len(citation.quote))
    assert DECAY[citation.start - OFFSET : citation.end - OFFSET] == citation.quote
    assert citation.passage.id == "p2"


@pytest.mark.parametrize(
    "sentence",
    [
        "The Eiffel Tower stands in Paris.",
        "Dropout was invented by Geoffrey Hinton in Toronto for speech recognition.",
        "Batch normalisation standardises activations.",
    ],
)
def test_what_no_source_says_is_not_supported(check, sentence):
    support = check(sentence)
    assert support.citations == ()
    assert support.probability < 0.62
    assert support.reason


@pytest.mark.parametrize(
    "sentence",
    [
        "Each unit is kept with a probability of 0.8.",
        "Each unit is kept with a probability of .8.",
        "Weight decay was proposed by Anders Krogh in 1992.",
        "The ImageNet set has 1,281,168 pictures of 1,000 classes.",
        "Training takes three weeks.",
    ],
)
def test_a_number_that_no_source_has_is_not_supported(check, sentence):
    support = check(sentence)
    assert support.citations == ()
    assert support.probability == 0.0
    assert support.reason.startswith("No source has the number")


@pytest.mark.parametrize(
    "sentence",
    [
        "Each unit is kept with a probability of .5.",
        "Each unit is kept with a probability of 0.50.",
        "The ImageNet set has 1281167 pictures of 1000 classes.",
        "The ImageNet set has 1\u202f281\u202f167 pictures of 1\u202f000 classes.",
        "Training takes 2 weeks.",
        "One unit after another is kept with a probability of 0.5.",
        "In 2030, dropout switches off randomly chosen units during training.",
    ],
)
def test_numbers_may_be_written_in_another_way_or_come_from_the_question(check, sentence):
    assert check(sentence).citations


def test_two_passages_are_cited_where_both_are_needed(check):
    support = check("Dropout switches off randomly chosen units, weight decay adds the squared length to the loss.")
    assert sorted(number for number, _ in quotes(support)) == [1, 2]


def test_a_second_passage_that_adds_nothing_is_not_cited(embedder):
    twice = OverlapVerifier(embedder).against([passage(DROPOUT, 1), passage(DROPOUT, 2)], "")
    assert len(twice.check("Dropout switches off randomly chosen units during training.").citations) == 1


def test_the_words_of_the_question_need_not_stand_in_the_source(embedder):
    checker = OverlapVerifier(embedder).against([passage("It doubles the training time.", 1)], "What does maxout cost?")
    assert checker.check("Maxout doubles the training time.").citations


def test_list_items_and_code_are_checked_like_sentences(embedder):
    code = "def period(axis):\n    return axis**1.5"
    checker = OverlapVerifier(embedder).against([passage(code, 1), passage("- fast\n- cheap to train", 2)], "")
    assert checker.check(f"```python\n{code}\n```").citations[0].number == 1
    assert checker.check("```python\ndef period(axis):\n    return axis**2.5\n```").citations == ()
    assert checker.check("cheap to train").citations[0].quote == "- cheap to train"


@pytest.mark.parametrize("sentence", ["Yes.", "", "It is so.", "***", "\u4ed6\u662f\u8c01"])
def test_a_sentence_without_content_is_not_supported(check, sentence):
    assert check(sentence).citations == ()


def test_without_evidence_nothing_is_supported(embedder):
    support = OverlapVerifier(embedder).against([], "What is dropout?").check("Dropout switches off units.")
    assert (support.citations, support.probability) == ((), 0.0)
    assert support.reason


def test_the_threshold_decides(embedder):
    sentence = "Dropout switches off units and improves speech recognition."
    strict, lax = (
        OverlapVerifier(embedder, GroundingSettings(threshold=value)).against([passage(DROPOUT, 1)], "").check(sentence)
        for value in (0.95, 0.3)
    )
    assert (bool(strict.citations), bool(lax.citations)) == (False, True)
    assert strict.probability == lax.probability


def test_a_yes_is_not_supported_by_a_no(embedder):
    text = "Matrix multiplication is not commutative: AB and BA usually differ."
    checker = OverlapVerifier(embedder).against([passage(text, 1)], "Is matrix multiplication commutative?")
    assert not checker.check("Yes, matrix multiplication is commutative.").citations
    assert checker.check("No, matrix multiplication is not commutative.").citations
    assert checker.check("Matrix multiplication is not commutative.").citations


class CountingEmbedder:
    """An embedder that writes down what it is asked."""

    def __init__(self, embedder):
        self._embedder, self.embedded = embedder, []

    def embed(self, texts):
        self.embedded += texts
        return self._embedder.embed(texts)


def test_stored_sentences_are_not_embedded_again_and_decide_the_same(embedder):
    passages = [passage(DROPOUT, 1), passage(DECAY, 2)]
    stored = embedded_sentences({p.id: p.text for p in passages}, embedder)
    asked = []

    def look_up(ids):
        asked.append(list(ids))
        return stored

    counting = CountingEmbedder(embedder)
    checker = OverlapVerifier(counting, stored=look_up).against(passages, "?")
    assert (asked, counting.embedded) == ([["p1", "p2"]], [])
    other = OverlapVerifier(embedder).against(passages, "?")
    for sentence in (*(c for p in passages for c in p.text.split(". ")), "Dropout was invented in Toronto."):
        assert checker.check(sentence) == other.check(sentence)


def test_sentences_that_are_not_stored_are_embedded(embedder):
    passages = [passage(DROPOUT, 1), passage("", 2), passage(DECAY, 3)]
    stored = embedded_sentences({"p1": DROPOUT}, embedder)
    counting = CountingEmbedder(embedder)
    checker = OverlapVerifier(counting, stored=lambda ids: stored).against(passages, "?")
    assert counting.embedded == DECAY.replace("loss. It", "loss.|It").split("|")
    assert quotes(checker.check("It was proposed by Anders Krogh in 1991.")) == [
        (3, "It was proposed by Anders Krogh in 1991.")
    ]


class RandomEmbedder:
    """Any unit vector for any text."""

    identity = "random"

    def embed(self, texts):
        vectors = np.array([np.random.default_rng(len(t)).normal(size=8) for t in texts], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def count_tokens(self, text):
        return len(text)


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), max_size=3), st.text(max_size=60), st.text(max_size=60))
def test_no_text_makes_it_fail(texts, question, sentence):
    passages = [passage(text, number) for number, text in enumerate(texts, start=1)]
    support = OverlapVerifier(RandomEmbedder()).against(passages, question).check(sentence)
    assert 0.0 <= support.probability <= 1.0
    assert bool(support.citations) != bool(support.reason)
    for citation in support.citations:
        source = passages[citation.number - 1]
        assert source.text[citation.start - OFFSET : citation.end - OFFSET] == citation.quote


def test_a_fragment_is_understood_as_the_answer_to_its_question(embedder):
    question = "With which probability is each unit kept by dropout during training?"
    check = OverlapVerifier(embedder).against([passage(DROPOUT, 1)], question).check
    assert quotes(check("0.5.")) == [(1, "Each unit is kept with a probability of 0.5.")]
    assert not check("0.8.").citations
    assert not check("Anders Krogh.").citations
