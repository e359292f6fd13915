"""Hostile questions on the served page: nothing breaks, acts, leaks or leaves the machine. Many share one page."""

import pytest
from hostile import some
from hostile_page import A_PAGE, Reader, reader, server

pytestmark = pytest.mark.browser
__all__ = ["reader", "server"]  # fixtures

INPUTS = 500


def test_hostile_questions_do_nothing_on_the_page(reader: Reader) -> None:
    asked = 0
    for first in range(0, INPUTS, A_PAGE):
        reader.enter()
        for question in some(INPUTS)[first : first + A_PAGE]:
            reader.ask(question)
            asked += 1
        reader.look()
    assert asked == INPUTS
