"""The switch of the page with which readers allow that their turns become training rows."""

import pytest
from fake_server import served
from test_web import Visitor, visit

pytestmark = pytest.mark.browser  # no Chromium, but a served page


def test_the_switch_of_the_page_reaches_the_next_turn(tmp_path):
    async def check(visitor: Visitor) -> None:
        (inputs,) = [content for event, content in visitor.events if event == "chat_settings"][-1:]
        (switch,) = [each for each in inputs if each["id"] == "consent"]
        assert switch["initial"] is False
        values = {"words": 300, "sources": 2}
        for allowed in (None, True, False):
            if allowed is not None:
                await visitor.socket.emit("chat_settings_change", values | {"consent": allowed})
            await visitor.ask("What does dropout do?")
            assert page.state()["turns"][-1]["consent"] is bool(allowed)

    with served(tmp_path) as page:
        visit(page, check)
