"""Where sentences end."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.sentences import sentence_spans


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    "expected",
    [
        ["Rubisco fixes carbon.", "It is slow."],
        ["Is it linear?", "No!", "It bends…", "Then it stops."],
        ['He said "Stop."', "Then he left.", "(It was late.)", "Done."],
        ["The **loss** falls.**", "Then it rises."],
        ["Пластиды зелёные.", "Они ловят свет.", "Šárka agrees.", "Őrs too."],
    ],
)
def test_closing_marks_end_sentences(expected):
    assert sentences(" ".join(expected)) == expected


@pytest.mark.parametrize(
    "sentence",
    [
        "Pigments, e.g. Chlorophyll a, absorb light.",
        "Smith et al. 2019 and Doe et al. Show the same.",
        "See Fig. 3 and Eq. (4), cf. Table 2, pp. 5 to 9.",
        "Compare No. 7 with Sec. 2.1, p. 12 and Vol. 3.",
        "See Fig. A.1 of the appendix.",
        "Dr. Rosalind E. Franklin met J. D. Watson in the U.S. Embassy.",
        "The value 3.5 is between 3.14 and 4.",
        "A Ph.D. Student wrote it at 9 a.m. London time.",
        "Call `f(x). Then` or `a.B()` twice.",
        "The rate is .5 per second, i.e. half.",
        "It runs for. ever in lower case.",
        "Compare version 2.0.1 with example.org/A.B today.",
    ],
)
def test_other_full_stops_do_not(sentence):
    assert sentences(sentence) == [sentence]


def test_abbreviations_before_numbers_are_words_elsewhere():
    assert sentences("Is it so? The answer is no. It never was.") == ["Is it so?", "The answer is no.", "It never was."]
    assert sentences("It falls with small p. Then it rises.") == ["It falls with small p.", "Then it rises."]


def test_lists_tables_headings_fences_and_blank_lines_break():
    text = """# Plants
Green ones grow
in the light

- first item
- second item. It has two
* third
1. Mix well.
2) stir
• dot
| a | b |
|---|---|
| 1. | two. Three |
```
code. More
```"""
    assert sentences(text) == [
        "# Plants",
        "Green ones grow\nin the light",
        "- first item",
        "- second item.",
        "It has two",
        "* third",
        "1. Mix well.",
        "2) stir",
        "• dot",
        "| a | b |",
        "|---|---|",
        "| 1. | two.",
        "Three |",
        "```\ncode.",
        "More",
        "```",
    ]


@pytest.mark.parametrize(
    "wrapped", ["**greedy** and fast", "*sometimes* wrong", "-5 degrees below", "3.5 metres long", "1998 or so"]
)
def test_a_wrapped_line_is_no_list(wrapped):
    text = f"The algorithm is\n{wrapped}."
    assert sentences(text) == [text]


def test_nothing_gives_nothing():
    assert sentence_spans("") == sentence_spans(" \n\t\n ") == []


PIECES = st.sampled_from(
    [
        "Cells grow",
        "e.g",
        "Fig",
        "3.14",
        "J",
        "x",
        ".",
        ". ",
        "!",
        "?",
        "…",
        " ",
        "\n",
        "\n\n",
        "\n- ",
        "\n1. ",
        "\n# ",
        "|",
        "`",
        "```\n",
        "*",
        '"',
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES).map("".join) | st.text())
def test_spans_are_ordered_trimmed_and_leave_out_white_space_only(text):
    spans = sentence_spans(text)
    assert all(a < b for a, b in spans)
    assert all(left[1] <= right[0] for left, right in zip(spans, spans[1:], strict=False))
    assert all(text[a:b] == text[a:b].strip() for a, b in spans)
    kept = "".join(text[a:b] for a, b in spans)
    assert "".join(kept.split()) == "".join(text.split())


@pytest.mark.parametrize("unit", ["Smith, J. ", ". ", "word ", "...", "\n ", "`", "e.g. A ", "| 1. ", "`a`. B "])
def test_long_texts_take_linear_time(unit):
    text = unit * (200_000 // len(unit))
    started = time.perf_counter()
    sentence_spans(text)
    assert time.perf_counter() - started < 3
