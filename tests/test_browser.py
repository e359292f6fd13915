"""The page in a headless Chromium: what a reader sees and does. No request may leave 127.0.0.1."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fake_server import Served, served

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

QUESTION = "What does dropout do during training?"
CITATION = 'a[href^="#quote-"]'
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator["playwright.Browser"]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as library:
        browser = library.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def window(chromium: "playwright.Browser", **options: object) -> Iterator["playwright.Page"]:
    """A fresh window; leaving it fails if anything asked for another machine or a script broke."""
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(10_000)
    outside, broken = [], []

    def only_here(route: "playwright.Route") -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    context.route("**/*", only_here)
    page = context.new_page()
    page.on("websocket", lambda ws: None if urlsplit(ws.url).hostname == "127.0.0.1" else outside.append(ws.url))
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda said: broken.append(said.text) if "Content Security Policy" in said.text else None)
    try:
        yield page
        assert outside == []
        assert broken == []
    finally:
        context.close()


@pytest.fixture
def page(chromium: "playwright.Browser", page_server: Served) -> Iterator["playwright.Page"]:
    with window(chromium) as fresh:
        enter(fresh, page_server)
        yield fresh


def enter(page: "playwright.Page", server: Served) -> None:
    server.pace(0.05)
    page.goto(server.url)
    page.locator(".lectern-welcome .starters button").first.wait_for()
    page.locator("#chat-settings-open-modal").wait_for()


def ask(page: "playwright.Page", question: str) -> None:
    """Type, press Enter, wait for the end."""
    ends = page.locator(".lectern-end").count()
    page.fill("#chat-input", question)
    page.keyboard.press("Enter")
    page.locator(".lectern-end").nth(ends).wait_for()


def fits(page: "playwright.Page") -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_evidence_is_there_before_the_answer(page: "playwright.Page", page_server: Served) -> None:
    page_server.pace(0.8)
    page.fill("#chat-input", QUESTION)
    page.keyboard.press("Enter")
    page.locator(".lectern-evidence li").first.wait_for()
    assert page.locator(".lectern-evidence li").all_inner_texts()[1].split("\n") == [
        "2",
        "Training deep networks",
        "Early stopping, page 7",
    ]
    assert page.locator(CITATION).count() == 0
    page_server.pace(0.05)
    page.locator(CITATION).first.wait_for()


def test_citation_opens_the_source_at_the_quote(page: "playwright.Page") -> None:
    ask(page, QUESTION)
    page.locator(CITATION).nth(0).click()
    marks = page.locator(".lectern-source mark")
    playwright.expect(marks).to_have_text("Dropout switches off randomly chosen units during training.")
    playwright.expect(marks).to_be_in_viewport()
    playwright.expect(page.locator(".lectern-source header")).to_contain_text("course/12-regularisation.md")
    page.locator(CITATION).nth(1).click()
    playwright.expect(marks).to_have_text("Each unit is kept with a probability p")
    page.keyboard.press("Escape")
    playwright.expect(page.locator(".lectern-source")).to_have_count(0)
    assert urlsplit(page.url).fragment == ""


def test_quotes_in_code_and_tables_are_marked(page: "playwright.Page") -> None:
    ask(page, QUESTION)
    marks = page.locator(".lectern-source mark")
    page.locator(CITATION).nth(2).click()
    playwright.expect(page.locator(".lectern-source pre mark").first).to_be_visible()
    assert "".join(marks.all_inner_texts()).replace(" ", "") == "mask=np.random.rand(*x.shape)<p"
    page.locator(CITATION).nth(4).click()
    playwright.expect(page.locator(".lectern-source td mark")).to_have_text(["Weight decay", "weights", "none"])
    assert "so weights stay small" in marks.all_inner_texts()


def test_source_of_the_list_opens_too_and_stays_open_while_the_answer_grows(
    page: "playwright.Page", page_server: Served
) -> None:
    page_server.pace(0.3)
    page.fill("#chat-input", "Tell me a long story about training")
    page.keyboard.press("Enter")
    page.locator(CITATION).nth(1).wait_for()
    page.locator(".lectern-evidence button").nth(1).click()
    page.locator(".lectern-source mark").wait_for()
    page.locator(CITATION).nth(5).wait_for()
    playwright.expect(page.locator(".lectern-source mark")).to_be_visible()
    page.click("#stop-button")


def numbers(page: "playwright.Page") -> list[str]:
    """Of the passages of the last answer that can be seen."""
    shown = page.locator(".lectern-evidence").last.locator("li .number")
    return [number.inner_text() for number in shown.all() if number.is_visible()]


def test_what_was_found_is_listed_and_the_rest_unfolds(page: "playwright.Page") -> None:
    ask(page, "What does the whole section say?")
    assert numbers(page) == ["1", "2", "3", "4", "7"], "what is cited is never folded"
    page.locator(".lectern-evidence summary").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".lectern-evidence details li").first).to_be_visible()
    assert numbers(page) == ["1", "2", "3", "4", "7", "5", "6", "8"]
    page.locator(".lectern-evidence details button").last.click()
    playwright.expect(page.locator(".lectern-source mark")).to_contain_text("Early stopping ends training")
    page.locator(CITATION).nth(1).click()
    playwright.expect(page.locator(".lectern-source mark")).to_contain_text("Deep networks are trained")
    assert page.get_by_text("has not been read in full yet").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_cold_answer_says_so(chromium: "playwright.Browser", page_server: Served, scheme: str) -> None:
    with window(chromium, color_scheme=scheme) as page:
        enter(page, page_server)
        ask(page, "What does the cold whole section say?")
        note = page.get_by_text("the section has not been read in full yet")
        assert contrast(note) > 4.5
        assert contrast(page.locator(".lectern-evidence summary")) > 4.5


def contrast(shown: "playwright.Locator") -> float:
    """Of a text with the evidence's box, by WCAG 2.1."""
    for _ in range(100):  # the page draws the message anew while it grows, and what it has replaced has no colours
        colours = shown.evaluate("""(text) => [text, text.closest(".lectern-evidence section")].map((node, i) =>
            getComputedStyle(node)[i ? "backgroundColor" : "color"])""")
        if all(colours):
            break
    luminances = []
    for colour in colours:
        channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


def test_answer_is_drawn_as_written(page: "playwright.Page") -> None:
    ask(page, QUESTION)
    answer = page.locator(".ai-message").last
    playwright.expect(answer).to_contain_text("probability p:often 0.5")
    playwright.expect(answer).to_contain_text("at $5 to $10")
    playwright.expect(answer.locator("math")).to_be_visible()
    playwright.expect(answer.locator(".katex-html").first).to_be_hidden()
    playwright.expect(answer.locator("pre")).to_contain_text("x[1]")
    assert answer.locator(f"pre {CITATION}").count() == 0


def test_left_out_sentences_can_be_read(page: "playwright.Page") -> None:
    ask(page, QUESTION)
    page.get_by_text("1 sentence was left out").click()
    playwright.expect(page.locator(".lectern-afterword details")).to_contain_text("It was first used in 1998.")
    playwright.expect(page.locator(".lectern-afterword details")).to_contain_text("No passage supports it.")


def test_refusal_looks_different_and_its_topics_ask(page: "playwright.Page") -> None:
    ask(page, "What is the weather?")
    refusal = page.locator(".message-content:has([data-refused])")
    assert refusal.evaluate("node => getComputedStyle(node).borderLeftStyle") == "solid"
    playwright.expect(refusal).to_contain_text("Not in the course")
    page.get_by_role("button", name="Regularisation: Dropout").click()
    page.locator(CITATION).first.wait_for()
    sent = page.locator('[data-step-type="user_message"]').last
    playwright.expect(sent).to_contain_text("What does the course say about Regularisation: Dropout?")


def test_starter_asks(page: "playwright.Page") -> None:
    page.get_by_role("button", name=QUESTION).click()
    page.locator(CITATION).first.wait_for()
    playwright.expect(page.locator(".lectern-welcome")).to_have_count(0)


def test_stop_keeps_the_answer_so_far(page: "playwright.Page", page_server: Served) -> None:
    page_server.pace(0.2)
    page.fill("#chat-input", "Tell me a long story about training")
    page.keyboard.press("Enter")
    page.locator(CITATION).nth(2).wait_for()
    page.click("#stop-button")
    stopped = time.monotonic()
    playwright.expect(page.locator(".lectern-end")).to_contain_text("Stopped")
    assert time.monotonic() - stopped < 1.5
    assert 3 <= page.locator(CITATION).count() < 20
    assert page.get_by_text("manually stopped").count() == 0


def test_new_chat_during_an_answer_frees_the_model(page: "playwright.Page", page_server: Served) -> None:
    page_server.pace(0.2)
    done = len(page_server.state()["done"])
    page.fill("#chat-input", "Tell me a long story about training")
    page.keyboard.press("Enter")
    page.locator(CITATION).nth(1).wait_for()
    page.click("#new-chat-button")
    page.locator("#new-chat-dialog #confirm").click()
    page.locator(".lectern-welcome .starters button").first.wait_for()
    deadline = time.monotonic() + 3
    while len(page_server.state()["done"]) == done:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert page.locator(CITATION).count() == 0


def test_thumb_and_comment_are_kept(page: "playwright.Page", page_server: Served) -> None:
    ask(page, QUESTION)
    turn = page_server.state()["done"][-1]["turn_id"]
    page.click(".positive-feedback-off")
    page.fill("[role=dialog] textarea", "clear")
    page.click("#submit-feedback")
    page.locator(".positive-feedback-on").wait_for()
    assert page_server.state()["judged"][turn] == [1, "clear"]
    page.click(".positive-feedback-on")
    page.locator(".positive-feedback-off").wait_for()
    assert turn not in page_server.state()["judged"]


def test_copied_answer_cites_in_brackets(page: "playwright.Page") -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, QUESTION)
    page.locator(".ai-message").last.locator("button:has(svg.lucide-copy)").last.click()
    page.locator("button:has(svg.lucide-check)").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("Dropout switches off randomly chosen units during training. [1] Each unit")
    assert "#quote" not in copied and "at $5 to $10" in copied


def test_files_are_taken_in_with_progress(page: "playwright.Page", page_server: Served, tmp_path: Path) -> None:
    notes, photo = tmp_path / "notes.md", tmp_path / "photo.xyz"
    notes.write_text("# Notes\n\nSome text.")
    photo.write_text("x")
    page.set_input_files("#upload-button-input", [notes, photo])
    page.locator("#chat-submit:enabled").click()
    page.locator(".lectern-ingest progress").wait_for()
    playwright.expect(page.locator(".lectern-ingest")).to_contain_text("31 a second")
    playwright.expect(page.locator(".ai-message").last).to_contain_text("photo.xyz: this format is not read.")
    assert (page_server.data_dir / "uploads" / "notes.md").read_text() == notes.read_text()
    playwright.expect(page.locator(".positive-feedback-off")).to_be_hidden()


def test_sources_are_listed_and_removed_after_a_question(page: "playwright.Page", page_server: Served) -> None:
    page.get_by_role("link", name="Sources").click()
    item = page.locator(".lectern-sources li", has_text="slides/training-deep-networks.pdf")
    item.get_by_role("button", name="Remove").click()
    item.get_by_role("button", name="Keep").click()
    assert "slides/training-deep-networks.pdf" in page_server.state()["documents"]
    item.get_by_role("button", name="Remove").click()
    item.get_by_role("button", name="Remove for good").click()
    playwright.expect(item).to_have_count(0)
    assert "slides/training-deep-networks.pdf" not in page_server.state()["documents"]
    page.keyboard.press("Escape")
    playwright.expect(page.locator(".lectern-sources")).to_have_count(0)


def test_settings_reach_the_next_question(page: "playwright.Page", page_server: Served) -> None:
    page.click("#chat-settings-open-modal")
    page.locator("#chat-settings [role=slider]").last.press("ArrowLeft")
    page.locator("#chat-settings #confirm").click()
    ask(page, QUESTION)
    assert page_server.state()["turns"][-1]["sources"] == 19


def test_errors_are_shown(page: "playwright.Page") -> None:
    page.fill("#chat-input", "Is something missing?")
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".ai-message").last).to_contain_text("Fetch them: lectern models pull")


def test_keyboard_alone_reaches_a_source(page: "playwright.Page") -> None:
    ask(page, QUESTION)
    page.locator(CITATION).first.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.locator(".lectern-source mark").wait_for()
    page.keyboard.press("Escape")
    playwright.expect(page.locator(".lectern-source")).to_have_count(0)
    assert page.evaluate("document.activeElement.getAttribute('href')").startswith("#quote-")


def test_dark_follows_the_system_and_can_be_chosen(chromium: "playwright.Browser", page_server: Served) -> None:
    shade = "getComputedStyle(document.body).backgroundColor"
    with window(chromium, color_scheme="dark") as page:
        enter(page, page_server)
        dark = page.evaluate(shade)
        assert max(int(part) for part in re.findall(r"\d+", dark)[:3]) < 60
        page.click("#theme-toggle")
        page.get_by_role("menuitem", name="Light").click()
        assert page.evaluate(shade) != dark


def test_phone_needs_no_sideways_scrolling(chromium: "playwright.Browser", page_server: Served) -> None:
    with window(chromium, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        enter(page, page_server)
        assert fits(page)
        ask(page, QUESTION)
        assert fits(page)
        page.locator(CITATION).first.tap()
        mark = page.locator(".lectern-source mark")
        playwright.expect(mark).to_be_in_viewport()
        assert fits(page)
        page.get_by_role("button", name="Close").click()
        playwright.expect(mark).to_have_count(0)
        page.get_by_role("link", name="Sources").tap()
        page.locator(".lectern-sources li").first.wait_for()
        assert fits(page)


def test_outside_picture_in_an_answer_is_blocked(chromium: "playwright.Browser", page_server: Served) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(page_server.url)
    blocked = page.evaluate("""() => new Promise((done) => {
        document.addEventListener("securitypolicyviolation", (event) => done(event.blockedURI));
        document.body.append(Object.assign(new Image(), { src: "http://192.0.2.1/leak.png" }));
    })""")
    assert blocked == "http://192.0.2.1/leak.png"
    context.close()


@pytest.mark.model
def test_real_answer_can_be_opened_at_its_source(chromium: "playwright.Browser", tmp_path: Path) -> None:
    """`lectern serve` as users start it, with the starter course and the real weights."""
    lectern = [sys.executable, "-c", "from assistant.cli import main; main()"]
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "LECTERN_DATA_DIR": str(tmp_path), "PYTHONPATH": f"{root}{os.pathsep}{root / 'guardrails'}"}
    subprocess.run([*lectern, "ingest", "--starter"], env=environment, check=True, timeout=600)
    url = free_url()
    with subprocess.Popen([*lectern, "serve", "--port", url.rsplit(":", 1)[1]], env=environment) as process:
        try:
            wait_for(url)
            with window(chromium) as page:
                page.goto(url)
                page.locator(".lectern-welcome .starters button").first.wait_for(timeout=120_000)
                page.fill("#chat-input", QUESTION)
                page.keyboard.press("Enter")
                page.locator(".lectern-evidence li").first.wait_for(timeout=180_000)
                page.locator(CITATION).first.wait_for(timeout=180_000)
                page.locator(CITATION).first.click()
                playwright.expect(page.locator(".lectern-source mark").first).to_be_visible()
                assert page.locator(".lectern-source mark").first.inner_text().strip()
        finally:
            process.terminate()
            assert process.wait(30) is not None


def free_url() -> str:
    """Where a server may listen."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def wait_for(url: str) -> None:
    """Until the server there is healthy."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/healthz").status_code == 200:
                return
        time.sleep(0.3)
    raise AssertionError(f"{url} did not come up")
