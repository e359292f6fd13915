"""Poisoned files on the served page, in a file of its own so that it runs beside the questions."""

from pathlib import Path

import pytest
from hostile import ACTING
from hostile_page import A_PAGE, Reader, reader, server
from poisoned import poisoned

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser
__all__ = ["reader", "server"]  # fixtures

POISONED = 200


def test_poisoned_files_do_nothing_on_the_page(reader: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for document in poisoned(POISONED):
        (folder / document.name).write_bytes(document.data)
    for number, payload in enumerate(ACTING):  # in titles, headings and words
        text = f"# Orbits {payload}\n\nKepler found planet {number}. {payload}\n\n## {payload}\n\n{payload}\n"
        (folder / f"acting{number}.md").write_text(text)
    reader.enter()
    paths = sorted(folder.iterdir())
    for first in range(0, len(paths), 100):  # the page takes no more at once
        reports = reader.page.locator(".lectern-report").count()
        reader.page.set_input_files("#upload-button-input", paths[first : first + 100])
        reader.page.locator("#chat-submit:enabled").click()
        reader.page.locator(".lectern-report").nth(reports).wait_for(state="attached")
        reader.look()
    playwright.expect(reader.page.locator(".ai-message").first).to_contain_text("instructions to the assistant")
    reader.page.get_by_role("link", name="Sources").click()
    reader.page.locator(".lectern-sources li").nth(POISONED).wait_for()  # a few have nothing that could be cited
    reader.look()
    opened = 0
    for number in range(0, len(paths), A_PAGE):
        reader.enter()  # its starters are titles
        reader.look()
        for planet in range(number, min(number + A_PAGE, len(paths)), 5):
            reader.ask(f"What did Kepler find of planet {planet % len(ACTING)}, and what is Number {planet}?")
            if (places := reader.page.locator(".lectern-evidence").last.locator("button")).count():
                places.first.click()
                reader.page.locator(".lectern-source").wait_for()
                opened += 1
            reader.look()
            reader.page.keyboard.press("Escape")
    assert opened  # else no file was looked at
