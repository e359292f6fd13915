"""A page of the worst server (hostile_server.py) in a headless Chromium, and everything that must not happen on it."""

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import hostile_server
import pytest
from fake_server import Served, served

from assistant.prompts import SYSTEM
from course_guard.rules.leak import PromptLeakRule

playwright = pytest.importorskip("playwright.sync_api")

_PATIENCE_MS = 120_000  # a machine that does other things as well is slow
A_PAGE = 25  # questions: a page with hundreds of answers grows slow
_LEAKS = PromptLeakRule([SYSTEM])

# What would act or leads away, of all that is drawn; Chainlit's own page has scripts, styles and its input.
_ACTS = """() => {
    const found = [], origin = location.origin, drawn = document.querySelectorAll("#root *, [role=dialog] *");
    for (const node of drawn) {
        if (/^(script|iframe|object|embed|base|meta|link|style|frame|applet|video|audio|source)$/i.test(node.localName))
            found.push(node.outerHTML.slice(0, 200));
        for (const { name, value } of node.attributes) {
            const leads = /^(href|src|srcset|action|formaction|data|poster|background|ping|xlink:href|cite)$/i.test(name);
            const own = /^(blob:|data:image\\/)/.test(value) || !URL.canParse(value, location)
                || new URL(value, location).origin === origin;
            if (/^on/i.test(name) || (leads && !own) || (name === "style" && /url\\(/i.test(value)))
                found.push(`${node.outerHTML.slice(0, 200)} in ${node.closest("div").textContent}`);
        }
    }
    return found;
}"""
_ANSWERS = """() => [...document.querySelectorAll(".ai-message, .lectern-afterword, .lectern-source")]
    .map((node) => node.textContent)"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("worst")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        with served(home / "data", hostile_server.__file__) as running:
            yield running


class Reader:
    """A page, and everything that must not happen on it."""

    def __init__(self, page: "playwright.Page", server: Served) -> None:
        self.page, self.server = page, server
        self.wrong: list[str] = []
        page.context.route("**/*", self._only_here)
        page.on("websocket", lambda ws: None if urlsplit(ws.url).hostname == "127.0.0.1" else self.wrong.append(ws.url))
        page.on("pageerror", lambda error: self.wrong.append(f"broke: {error}"))
        page.on("console", lambda said: self.wrong.append(said.text) if "Content Security Policy" in said.text else None)
        page.on("popup", lambda popup: self.wrong.append(f"opened {popup.url}"))
        page.on("dialog", self._dismiss)
        page.on("crash", lambda _: self.wrong.append("the page crashed"))

    def _only_here(self, route: "playwright.Route") -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            self.wrong.append(route.request.url)
            route.abort()

    def _dismiss(self, dialog: "playwright.Dialog") -> None:
        self.wrong.append(f"said {dialog.message}")
        dialog.dismiss()

    def enter(self) -> None:
        self.page.goto(self.server.url)
        self.page.locator(".lectern-welcome .starters button").first.wait_for()

    def ask(self, question: str) -> None:
        """Type, send, wait for the end."""
        ends = self.page.locator(".lectern-end").count()
        self.page.fill("#chat-input", question)
        self.page.locator("#chat-submit:enabled").click()
        self.page.locator(".lectern-end").nth(ends).wait_for(state="attached")

    def look(self) -> None:
        """Fail if anything acted, leads away or leaks."""
        assert self.wrong == []
        assert self.page.evaluate("window.pwned") is None
        acts = self.page.evaluate(_ACTS)
        assert acts == []
        texts = self.page.evaluate(_ANSWERS)
        assert [text for text in texts if _LEAKS.look(text)] == []
        assert not any("fault in Lectern" in text for text in texts)


@pytest.fixture
def reader(server: Served) -> Iterator[Reader]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as library:
        browser = library.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(_PATIENCE_MS)
        yield Reader(page, server)
        browser.close()
