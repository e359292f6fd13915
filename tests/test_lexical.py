"""BM25."""

import math

import pytest

from knowledge.lexical import LexicalIndex, terms

TEXTS = {"a": "Rubisco fixes carbon", "b": "Carbon carbon cycles", "c": "Light splits water molecules fast", "d": "The of and"}


@pytest.fixture
def lexical() -> LexicalIndex:
    return LexicalIndex(list(TEXTS), list(TEXTS.values()))


def test_terms_are_stemmed_content_words_in_order():
    assert terms("What are the Planets' orbits, planet?") == ["planet", "orbit", "planet"]
    assert terms("Kepler's 3 laws in C") == ["kepler", "3", "law"]
    assert terms("self-attention, BM25") == ["self-attent", "self", "attent", "bm25"]
    assert terms("Explain the difference, please") == terms("?!") == terms("") == []
    assert terms("naïve Füße в клетке") == ["naïv", "füße", "клетке"]


def test_scores_are_bm25(lexical):
    average = (3 + 3 + 5 + 0) / 4

    def score(frequency: int, length: int, documents: int) -> float:
        rarity = math.log(1 + (4 - documents + 0.5) / (documents + 0.5))
        return rarity * frequency / (frequency + 1.5 * (1 - 0.75 + 0.75 * length / average))

    found = lexical.search("Which carbon does rubisco fix?", 10)
    expected = [("a", score(1, 3, 2) + 2 * score(1, 3, 1)), ("b", score(2, 3, 2))]
    assert [id_ for id_, _ in found] == [id_ for id_, _ in expected]
    assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-4)


def test_only_passages_that_share_a_term_are_found_and_at_most_k(lexical):
    assert [id_ for id_, _ in lexical.search("carbon", 10)] == ["b", "a"]
    assert [id_ for id_, _ in lexical.search("carbon", 1)] == ["b"]
    assert lexical.search("unheard words only", 10) == lexical.search("the of", 10) == lexical.search("", 10) == []


def test_equal_passages_stay_in_the_order_of_ingest():
    lexical = LexicalIndex("zyx", ["tied words", "tied words", "other things"])
    assert [id_ for id_, _ in lexical.search("tied", 10)] == ["z", "y"]


@pytest.mark.parametrize("texts", [[], [""], ["the", "of and"]])
def test_an_index_without_terms_finds_nothing(texts):
    lexical = LexicalIndex([str(i) for i in range(len(texts))], texts)
    assert lexical.search("carbon", 5) == []
    assert lexical.rarity("carbon") >= 0


def test_rarity_falls_with_the_number_of_passages_and_an_unheard_word_is_the_rarest(lexical):
    assert lexical.rarity("carbon") == pytest.approx(math.log(1 + 4 / 3))
    assert lexical.rarity("unheard") > lexical.rarity("rubisco") > lexical.rarity("carbon") > 0
