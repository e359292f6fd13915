"""The report opened from disk in a headless Chromium: it asks for nothing, is legible in both modes, and works by keyboard."""

import shutil

import pytest
from toy_run import TASKS, make_run

from evals.figures.summary import summarise
from evals.report import write_report

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

# Relative luminance and contrast as WCAG 2.2 defines them; a colour may be given with an alpha of 1 only.
CONTRAST = """selector => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((x) => x / 255)
      .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll(selector)].map((element) => {
    const style = getComputedStyle(element);
    const ink = light(element instanceof SVGElement ? (style.stroke === "none" ? style.fill : style.stroke) : style.color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  });
}"""


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as library:
        browser = library.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    before, run = make_run(folder / "before", skill=0.3), make_run(folder / "after")
    summarise(run, TASKS)
    return write_report(run, before, TASKS).as_uri()


@pytest.fixture
def opened(chromium, report):
    """Opens the report in a window of its own; nothing but the file may be asked for, and nothing may go wrong."""
    contexts, asked, broken = [], [], []

    def open_with(**options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("console", lambda said: broken.append(said.text))
        page.goto(report)
        return page

    yield open_with
    for context in contexts:
        context.close()
    assert {url.partition("#")[0] for url in asked} == {report}
    assert broken == []


def test_nothing_is_fetched_and_no_text_runs(opened):
    page = opened()
    assert page.title() == "after · Lectern evals"
    assert page.locator("img, iframe").count() == 0
    playwright.expect(page.locator(".sample .asked", has_text="<script>")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible(opened, scheme):
    page = opened(color_scheme=scheme)
    for selector in ("svg text", "figcaption", ".figures small", ".says", ".astray", "a", ".badge", ".num"):
        ratios = page.evaluate(CONTRAST, selector)
        assert ratios, selector
        assert min(ratios) >= 4.5, selector
    lines = page.evaluate(CONTRAST, "svg path[style*='--c1'], svg path[style*='--c2']")
    assert lines
    assert min(lines) >= 3
    dark_paper = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark_paper == (scheme == "dark")


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_cut_off(opened, width):
    page = opened(viewport={"width": width, "height": 800})
    page.locator(".sample > summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for picture in page.locator("figure svg").all():
        frame = picture.bounding_box()
        for text in picture.locator("text").all():
            box = text.bounding_box()
            assert box["x"] >= frame["x"] - 1
            assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1


def test_filter_by_task_outcome_and_words(opened):
    page = opened()
    shown, count = page.locator(".sample:visible"), page.locator(".filter output")
    playwright.expect(count).to_have_text("120 of 120 shown")
    page.get_by_label("Task").select_option("course/answers")
    playwright.expect(shown).to_have_count(60)
    page.get_by_label("error").check()
    playwright.expect(shown).to_have_count(1)
    playwright.expect(shown).to_contain_text("error")
    page.get_by_label("refused").check()
    assert 0 < shown.count() < 60
    assert all("refused" in text for text in shown.locator(".where").all_inner_texts())
    page.get_by_role("radio", name="all").check()
    page.get_by_label("Search samples").fill("ATTENTION (13)")
    assert shown.count() <= 1
    page.get_by_label("Search samples").fill("no such words anywhere")
    playwright.expect(count).to_have_text("0 of 120 shown")


def test_by_keyboard_alone(opened):
    page = opened()
    page.keyboard.press("/")
    page.keyboard.type("dropout")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".sample:visible").nth(1)).to_have_attribute("open", "")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".sample:visible").nth(0)).to_have_attribute("open", "")


def test_citation_leads_to_its_marked_quote(opened):
    page = opened()
    sample = page.locator(".sample", has=page.locator("mark")).first
    sample.locator("> summary").click()
    sample.locator(".answer a").first.click()
    assert page.url.endswith(sample.locator(".passage:has(mark)").first.get_attribute("id"))
    playwright.expect(sample.locator("mark").first).to_be_in_viewport()
    sample.locator("details.passage > summary").first.click()
    playwright.expect(sample.locator("details.passage .text").first).not_to_contain_text("Read the passage")


def test_without_a_script_everything_but_the_filter_is_there(opened):
    page = opened(java_script_enabled=False)
    playwright.expect(page.locator(".filter")).to_be_hidden()
    playwright.expect(page.get_by_text("Filtering needs JavaScript")).to_be_visible()
    sample = page.locator(".sample", has=page.locator("details.passage")).first
    sample.locator("> summary").click()
    sample.locator("details.passage > summary").first.click()
    link = sample.locator("details.passage a").first
    target = link.get_attribute("href")
    link.click()
    playwright.expect(page.locator(f"{target} .text")).to_be_in_viewport()
