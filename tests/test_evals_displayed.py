"""Thresholds of the check, priced on labelled answers."""

import math

import numpy as np
import pytest

from evals.judges.displayed import FIGURES, _Answer, chosen, figures, table

SHOWN, WRONG, KEPT = FIGURES


def answer(group, *sentences):
    support, unsupported = zip(*sentences, strict=True)
    return _Answer(group, np.array(support), np.array(unsupported, dtype=bool))


ANSWERS = [
    answer("a", (0.9, 0), (0.3, 1)),
    answer("b", (0.55, 1)),
    answer("c", (0.8, 0), (0.6, 0)),
]


@pytest.mark.parametrize(
    ("threshold", "shown", "wrong", "kept"),
    [(0.0, 1, 2 / 3, 1), (0.5, 1, 1 / 3, 1), (0.6, 2 / 3, 0, 1), (0.7, 2 / 3, 0, 2 / 3)],
)
def test_shares_at_a_threshold(threshold, shown, wrong, kept):
    assert figures(ANSWERS, threshold) == pytest.approx({SHOWN: shown, WRONG: wrong, KEPT: kept})


def test_nothing_shown_is_no_success():
    assert math.isnan(figures(ANSWERS, 1.1)[WRONG])


def test_the_lowest_threshold_that_keeps_the_promise_is_chosen():
    assert chosen(ANSWERS) == 0.6
    assert chosen([answer("a", (1.0, 1))]) is None


def test_the_table_says_what_it_costs():
    lines = list(table(ANSWERS, ANSWERS))
    assert any(line.startswith("| 0.60 | 0.667 | 0.000 | 1.000 |") for line in lines)
    assert any(SHOWN in line and "before 1.000" in line for line in lines)
    assert "No threshold" in list(table([answer("a", (1.0, 1))], ANSWERS))[-1]
