import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.streaming import SentenceBuffer


def split(text, size=1):
    """The pairs that come out when `text` arrives in pieces of `size` characters."""
    buffer = SentenceBuffer()
    found = [pair for start in range(0, len(text), size) for pair in buffer.feed(text[start : start + size])]
    return found + buffer.finish()


def texts(text):
    return [sentence for _, sentence in split(text)]


def joined(pairs):
    return "".join(lead + sentence for lead, sentence in pairs)


def test_a_sentence_comes_out_as_soon_as_the_next_one_begins():
    buffer = SentenceBuffer()
    assert buffer.feed("Dropout switches units off. ") == []
    assert buffer.feed("It") == [("", "Dropout switches units off.")]
    assert buffer.feed(" helps.") == []
    assert buffer.finish() == [(" ", "It helps.")]
    assert buffer.finish() == []


def test_a_paragraph_ends_its_sentence_without_waiting():
    buffer = SentenceBuffer()
    assert buffer.feed("Dropout switches units off.\n\n") == [("", "Dropout switches units off.")]


def test_points_inside_numbers_and_abbreviations_do_not_end_a_sentence():
    assert texts("Use p = 0.5, e.g. for hidden layers. See Fig. 3 of the paper.") == [
        "Use p = 0.5, e.g. for hidden layers.",
        "See Fig. 3 of the paper.",
    ]


def test_list_marks_are_the_lead():
    assert split("Two ways:\n\n1. Use L1.\n2. Use L2.\n- Or both") == [
        ("", "Two ways:"),
        ("\n\n1. ", "Use L1."),
        ("\n2. ", "Use L2."),
        ("\n- ", "Or both"),
    ]


def test_bold_text_at_the_start_is_no_list_mark():
    assert split("**Dropout** helps.") == [("", "**Dropout** helps.")]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_code_block_is_one_sentence(size):
    code = "```python\nx = np.array([1])\nif x[0] == 1. and y[1]:\n    print('A. B')\n```"
    pairs = split(f"Write this. Then run it:\n\n{code}\n\nIt prints.", size)
    assert [sentence for _, sentence in pairs] == ["Write this.", "Then run it:", code, "It prints."]


def test_an_unfinished_code_block_is_one_sentence():
    assert texts("Write this.\n```python\nx = 1. Y") == ["Write this.", "```python\nx = 1. Y"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Dropout helps [1].", "Dropout helps."),
        ("Dropout helps [1] a lot [2][4].", "Dropout helps a lot."),
        ("Dropout helps[2].", "Dropout helps."),
        ("Dropout helps (Passage 2).", "Dropout helps."),
        ("Dropout helps (passages 1 and 2).", "Dropout helps."),
        ("Dropout helps [Source 3].", "Dropout helps."),
        ("Values are scaled to [0, 1].", "Values are scaled to [0, 1]."),
        ("Read `x[1]` first.", "Read `x[1]` first."),
        ("Then x[1] is the vector [3, 4].", "Then x[1] is the vector [3, 4]."),
        ("In 2014 (see the paper) it won.", "In 2014 (see the paper) it won."),
    ],
)
def test_the_model_s_own_citations_are_removed(written, shown):
    assert texts(written) == [shown]


def test_a_citation_between_sentences_leaves_no_gap():
    assert split("It helps. [1] It is cheap. [2]") == [("", "It helps."), (" ", "It is cheap.")]


def test_a_point_inside_inline_code_does_not_end_a_sentence_while_it_arrives():
    assert texts("Call `print('A. B')` first. Then stop.") == ["Call `print('A. B')` first.", "Then stop."]


PIECES = st.sampled_from(
    [
        "Dropout",
        " helps",
        ".",
        ". ",
        "\n",
        "\n\n",
        "- ",
        "1. ",
        "`",
        "```",
        "```py\n",
        "x[1]",
        " [2]",
        "e.g.",
        " It",
        "?",
        "|",
        "## ",
    ]
)
ANSWERS = st.lists(PIECES, max_size=25).map("".join)


@settings(deadline=None)
@given(ANSWERS, st.integers(1, 9))
def test_how_the_text_is_cut_into_pieces_does_not_matter(text, size):
    assert split(text, size) == split(text, 1)


@settings(deadline=None)
@given(ANSWERS.map(lambda text: text.replace("[2]", "").replace("[1]", "")))
def test_nothing_is_lost_but_white_space(text):
    pairs = split(text)
    assert joined(pairs).split() == text.split()
    assert all(sentence == sentence.strip() and sentence for _, sentence in pairs)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_taken(text):
    split(text, 2)
