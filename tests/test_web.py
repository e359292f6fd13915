"""The page without a browser: what is served, and what happens over Chainlit's socket."""

import asyncio
import json
import re
import socket
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio
from fake_runtime import REGULARISATION, document, passage
from fake_server import Served, served

from assistant.commands.serve import listen
from assistant.web import app_root
from assistant.web.marking import CLOSE, OPEN, marked, safe_markdown, surroundings
from knowledge.errors import CourseError

pytestmark = pytest.mark.browser  # no Chromium, but a served page

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("data")) as running:
        yield running


class Visitor:
    """A page's side of Chainlit's protocol; `messages` holds the latest state of every message by id, in order."""

    def __init__(self, page: Served) -> None:
        self.page, self.session = page, str(uuid.uuid4())
        self.messages: dict[str, dict[str, Any]] = {}
        self.events: list[tuple[str, Any]] = []
        self.socket = socketio.AsyncClient()
        self.socket.on("*", self._take)

    async def _take(self, event: str, *data: Any) -> None:
        content = data[0] if data else None
        self.events.append((event, json.loads(json.dumps(content, default=str))))
        if event in ("new_message", "update_message"):
            self.messages[content["id"]] = content
        elif event == "delete_message":
            self.messages.pop(content["id"], None)

    async def enter(self) -> None:
        auth = {"sessionId": self.session, "clientType": "webapp", "threadId": "", "userEnv": "{}", "chatProfile": ""}
        await self.socket.connect(self.page.url, socketio_path="/ws/socket.io", auth=auth, transports=["websocket"])
        await self.socket.emit("connection_successful")
        await self.until(lambda: any(m["metadata"].get("phase") == "ready" for m in self.answers()))
        await self.until(lambda: any(event == "chat_settings" for event, _ in self.events))

    def answers(self) -> list[dict[str, Any]]:
        return [m for m in self.messages.values() if m["type"] == "assistant_message"]

    async def until(self, holds: Callable[[], Any], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"not within {seconds} s; last events: {[name for name, _ in self.events[-5:]]}"
            await asyncio.sleep(0.02)

    async def send(self, text: str, files: list[dict[str, str]] | None = None) -> str:
        message = {"id": str(uuid.uuid4()), "threadId": "", "name": "User", "type": "user_message", "output": text}
        message["createdAt"] = "2026-01-01T00:00:00Z"
        await self.socket.emit("client_message", {"message": message, "fileReferences": files})
        return message["id"]

    async def ask(self, text: str) -> dict[str, Any]:
        """The finished message that answers."""
        known = set(self.messages)
        await self.send(text)
        await self.until(
            lambda: any(m["metadata"].get("phase") in ("done", "failed") for m in self.answers() if m["id"] not in known)
        )
        await self.until(lambda: self.events[-1][0] == "task_end")
        return self.answers()[-1]

    def run_id(self) -> str:
        return [m["id"] for m in self.messages.values() if m["name"] == "on_message"][-1]


def visit(page: Served, what: Callable[[Visitor], Coroutine[Any, Any, None]]) -> None:
    async def visiting() -> None:
        visitor = Visitor(page)
        await visitor.enter()
        try:
            await what(visitor)
        finally:
            await visitor.socket.disconnect()

    asyncio.run(asyncio.wait_for(visiting(), 60))


# What is served


def test_html_names_no_other_machine(page: Served) -> None:
    html = httpx.get(page.url).text
    assert "<title>Lectern</title>" in html
    assert not re.search(r"https?://|[\"'=]//", html)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_no_api_documentation_from_a_cdn(page: Served, path: str) -> None:
    assert not re.search(r"https?://", httpx.get(page.url + path).text)


def test_links_and_previews_to_outside_are_dropped() -> None:
    app_root.prepare()
    from assistant.web.page import without_outside

    html = '<link rel="preconnect" href="https://a.example" /><link href="/b.css"><meta property="og:image" content="https://c.example/d">'
    assert without_outside(html) == '<link href="/b.css">'


def test_own_files_name_no_other_machine() -> None:
    names = re.compile(r"https?://(?!www\.w3\.org/)")
    files = [ROOT / "chainlit.md", *(p for p in (ROOT / "public").rglob("*") if p.is_file())]
    assert len(files) > 8
    assert [path for path in files if names.search(path.read_text(encoding="utf-8"))] == []


def test_browser_is_told_to_stay_here(page: Served) -> None:
    policy = httpx.get(page.url).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_own_routes_come_before_the_page(page: Served) -> None:
    assert httpx.get(f"{page.url}/healthz").json()["status"] == "ok"


@pytest.mark.parametrize("header", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}])
def test_other_sites_are_refused(page: Served, header: dict[str, str]) -> None:
    assert httpx.get(page.url, headers=header).status_code == 403


def test_other_sites_get_no_socket(page: Served) -> None:
    async def intrude() -> None:
        intruder = socketio.AsyncClient()
        auth = {"sessionId": str(uuid.uuid4()), "clientType": "webapp"}
        with pytest.raises(socketio.exceptions.ConnectionError):
            await intruder.connect(
                page.url, {"Origin": "https://evil.example"}, auth, ["websocket"], socketio_path="/ws/socket.io", retry=False
            )

    asyncio.run(intrude())


def test_chainlit_leaves_nothing_in_the_repository(page: Served) -> None:
    assert not (ROOT / ".files").exists()
    assert not (ROOT / ".chainlit" / "translations").exists()


def test_configuration_is_for_the_installed_chainlit() -> None:
    assert f'generated_by = "{version("chainlit")}"' in (ROOT / ".chainlit" / "config.toml").read_text()


def test_every_wording_replaces_one_of_chainlit() -> None:
    spec = find_spec("chainlit")
    assert spec is not None and spec.origin is not None
    theirs = json.loads(Path(spec.origin).with_name("translations").joinpath("en-US.json").read_text())
    ours = json.loads((ROOT / "assistant" / "web" / "wording.json").read_text())

    def unknown(mine: dict[str, Any], known: dict[str, Any]) -> list[str]:
        return [k for k, v in mine.items() if k not in known or (isinstance(v, dict) and unknown(v, known[k]))]

    assert unknown(ours, theirs) == []


# Conversations


def test_evidence_comes_before_the_first_sentence(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        answer = await visitor.ask("What does dropout do during training?")
        states = [data for event, data in visitor.events if event == "update_message" and data["id"] == answer["id"]]
        first = next(state for state in states if state["metadata"].get("passages"))
        assert first["output"] == ""
        assert [p["title"] for p in first["metadata"]["passages"]] == [
            "Regularisation",
            "Training deep networks",
            "Regularisation",
        ]
        assert first["metadata"]["passages"][1]["page"] == 7

    visit(page, check)


def test_what_was_found_is_listed_and_the_rest_of_the_section_folded(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        answer = await visitor.ask("What does the whole section say?")
        facts = answer["metadata"]
        assert (len(facts["passages"]), facts["foremost"], facts["cold"]) == (8, 4, False)
        assert all(passage["text"] for passage in facts["passages"])
        assert [quote["number"] for quote in facts["quotes"].values()] == [1, 7]
        assert (await visitor.ask("What does the cold whole section say?"))["metadata"]["cold"]

    visit(page, check)


def test_each_citation_opens_its_own_quote(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        answer = await visitor.ask("What does dropout do during training?")
        links = re.findall(r"\[(\d)\]\(#quote-(\S+) ", answer["output"])
        quotes = answer["metadata"]["quotes"]
        assert len(links) == 6
        assert all(quotes[key]["number"] == int(number) for number, key in links)
        marks = [re.findall(f"{OPEN}(.*?){CLOSE}", quotes[key]["text"], re.DOTALL) for _, key in links]
        assert marks[0] == ["Dropout switches off randomly chosen units during training."]
        assert marks[1] == ["Each unit is kept with a probability p"]
        assert len(marks[4]) == 2, "two quotes of one passage are marked together"
        assert "Regularisation keeps a network" in quotes[links[0][1]]["text"], "the panel shows text around the passage"

    visit(page, check)


def test_sentences_that_were_left_out_are_listed(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        answer = await visitor.ask("What does dropout do during training?")
        assert answer["metadata"]["dropped"] == [{"text": "It was first used in 1998.", "reason": "No passage supports it."}]
        assert "1998" not in answer["output"]

    visit(page, check)


def test_refusal_says_why_and_what_is_near(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        answer = await visitor.ask("What is the weather?")
        assert answer["output"] == "**Not in the course**\n\nThe course does not seem to cover this."
        assert answer["metadata"]["refused"] == "not_covered"
        assert len(answer["metadata"]["suggestions"]) == 2

    visit(page, check)


def test_conversation_is_remembered_without_refusals(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        await visitor.ask("What does dropout do during training?")
        await visitor.ask("What is the weather?")
        await visitor.ask("And why does dropout help?")
        assert page.state()["turns"][-1]["earlier"] == ["What does dropout do during training?"]

    visit(page, check)


def test_edited_question_takes_back_what_followed(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        first = await visitor.send("What does dropout do?")
        await visitor.until(lambda: visitor.answers() and visitor.answers()[-1]["metadata"].get("phase") == "done")
        await visitor.ask("And dropout again?")
        asked = len(page.state()["turns"])
        await visitor.socket.emit("edit_message", {"message": {"id": first, "output": "What does dropout not do?"}})
        await visitor.until(lambda: len(page.state()["done"]) > asked)
        assert page.state()["turns"][-1] | {"question": "What does dropout not do?", "earlier": []} == page.state()["turns"][-1]

    visit(page, check)


def test_stop_keeps_what_was_shown_and_ends_soon(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        await visitor.send("Tell me a long story about training")
        await visitor.until(lambda: visitor.answers() and "Sentence 3" in visitor.answers()[-1]["output"])
        stopped_at = time.monotonic()
        await visitor.socket.emit("stop")
        await visitor.until(lambda: visitor.answers()[-1]["metadata"].get("phase") == "done")
        assert time.monotonic() - stopped_at < 1
        answer = visitor.answers()[-1]
        assert answer["metadata"]["stopped"]
        assert "Sentence 3" in answer["output"] and "Sentence 40" not in answer["output"]
        assert len(visitor.answers()) == 1, "Chainlit's own message about the stop must not appear"
        assert (await visitor.ask("What does dropout do?"))["metadata"]["phase"] == "done"

    visit(page, check)


def test_leaving_for_a_new_chat_frees_the_model(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        done = len(page.state()["done"])
        await visitor.send("Tell me a long story about training")
        await visitor.until(lambda: visitor.answers() and "Sentence 2" in visitor.answers()[-1]["output"])
        await visitor.socket.emit("clear_session")
        await asyncio.sleep(0.2)  # this client would disconnect before it has sent that
        await visitor.socket.disconnect()
        await visitor.until(lambda: len(page.state()["done"]) > done, 2)
        assert page.state()["done"][-1]["stopped"]

    visit(page, check)


def test_errors_say_what_to_do(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        answer = await visitor.ask("Is something missing?")
        assert answer["isError"]
        assert answer["output"] == "**The weights of fake-1.5b are not here.**\n\nFetch them: lectern models pull"
        answer = await visitor.ask("Is the chain broken?")
        assert answer["isError"] and "fault in Lectern" in answer["output"]
        assert not (await visitor.ask("What does dropout do?"))["isError"]

    visit(page, check)


def test_settings_reach_the_next_turn(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        values = {"words": 300, "sources": 2, "model": "fake-0.5b"}
        await visitor.socket.emit("chat_settings_change", values)
        await visitor.until(lambda: any(event == "toast" for event, _ in visitor.events))
        await visitor.ask("What does dropout do?")
        assert page.state()["turns"][-1]["sources"] == 2
        assert page.state()["turns"][-1]["max_tokens"] == 400
        assert page.state()["model"] == "fake-0.5b"

    visit(page, check)


def test_first_question_waits_for_the_model_and_says_so(page: Served) -> None:
    page.unload(1.0)

    async def check(visitor: Visitor) -> None:
        answer = await visitor.ask("What does dropout do?")
        phases = [m["metadata"].get("phase") for _, m in visitor.events if isinstance(m, dict) and m.get("id") == answer["id"]]
        assert phases[0] == "loading"
        assert phases[-1] == "done"

    visit(page, check)


# Feedback


def test_thumb_and_comment_reach_the_turn(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        await visitor.ask("What does dropout do?")
        turn = page.state()["done"][-1]["turn_id"]
        feedback = {"forId": visitor.run_id(), "value": 0, "comment": "wrong source"}
        async with httpx.AsyncClient(base_url=page.url) as http:
            reply = await http.put("/feedback", json={"feedback": feedback, "sessionId": visitor.session})
            assert reply.json()["success"]
            assert page.state()["judged"][turn] == [0, "wrong source"]
            await http.request("DELETE", "/feedback", json={"feedbackId": reply.json()["feedbackId"]})
        assert turn not in page.state()["judged"]

    visit(page, check)


def test_thumb_for_an_unknown_answer_is_an_error(page: Served) -> None:
    reply = httpx.put(f"{page.url}/feedback", json={"feedback": {"forId": "x", "value": 1}, "sessionId": "y"})
    assert reply.status_code == 500
    assert "before Lectern was started" in reply.text


# The course's sources


def test_upload_is_kept_ingested_and_reported(page: Served) -> None:
    async def check(visitor: Visitor) -> None:
        files = []
        async with httpx.AsyncClient(base_url=page.url) as http:
            for name, mime in (("../my notes.md", "text/markdown"), ("photo.xyz", "application/octet-stream")):
                upload = {"file": (name, b"# Notes\n\nText.", mime)}
                files.append(
                    {
                        "id": (await http.post("/project/file", params={"session_id": visitor.session}, files=upload)).json()[
                            "id"
                        ]
                    }
                )
        await visitor.send("", files)
        await visitor.until(lambda: visitor.answers() and visitor.answers()[-1]["metadata"].get("phase") == "done")
        states = [
            m["metadata"]["progress"]
            for _, m in visitor.events
            if isinstance(m, dict) and (m.get("metadata") or {}).get("progress")
        ]
        assert states[0]["file"] == "my notes.md" and states[0]["passages_per_s"] == 31.0
        assert visitor.answers()[-1]["output"].startswith("1 file added, 8 passages in 2 s.")
        assert "- **photo.xyz**: this format is not read." in visitor.answers()[-1]["output"]
        assert [path.name for path in (page.data_dir / "uploads").iterdir()] == ["my notes.md"]
        assert str(page.data_dir / "uploads" / "my notes.md") in page.state()["documents"]

    visit(page, check)


def test_sources_can_be_seen_and_removed(page: Served) -> None:
    uploaded = page.data_dir / "uploads" / "extra.md"

    async def check(visitor: Visitor) -> None:
        await visitor.socket.emit("window_message", "something else")
        await visitor.socket.emit("window_message", "lectern:sources")
        await visitor.until(lambda: any(event == "set_sidebar_elements" for event, _ in visitor.events))
        shown = [data for event, data in visitor.events if event == "set_sidebar_elements"]
        assert len(shown) == 1
        documents = shown[0]["elements"][0]["props"]["documents"]
        assert {"Regularisation", "Training deep networks"} <= {info["title"] for info in documents}
        action = {"name": "remove_source", "payload": {"source": "slides/training-deep-networks.pdf"}}
        async with httpx.AsyncClient(base_url=page.url) as http:
            reply = await http.post("/project/action", json={"sessionId": visitor.session, "action": action})
        assert "Training deep networks" not in {info["title"] for info in reply.json()["response"]["documents"]}
        assert "slides/training-deep-networks.pdf" not in page.state()["documents"]

    assert not uploaded.exists()
    visit(page, check)


def test_names_of_uploads_are_made_safe(tmp_path: Path) -> None:
    app_root.prepare()
    from assistant.web.upload import keep, safe_name

    assert safe_name("../../etc/passwd") == "passwd"
    assert safe_name("C:\\Users\\me\\Übung 1.pdf") == "Übung 1.pdf"
    assert safe_name("..") == "file"
    source = tmp_path / "upload"
    source.write_text("x")
    kept = keep([("a/b.md", source), ("c/b.md", source)], tmp_path / "uploads")
    assert [path.name for path in kept] == ["b.md", "b-2.md"]


# Marked text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from $5 to $10", "from \\$5 to \\$10"),
        ("the loss $L'$ and $$x^2$$", "the loss $L'$ and $$x^2$$"),
        ("note:this, at 10:30", "note\\:this, at 10:30"),
        ("`a:b` and `$x`", "`a:b` and `$x`"),
        ("```python\nx: int = 5 # $\n```", "```python\nx: int = 5 # $\n```"),
    ],
)
def test_markdown_is_made_safe(text: str, expected: str) -> None:
    assert safe_markdown(text) == expected


@pytest.mark.parametrize(
    ("text", "quote", "expected"),
    [
        ("One. Two. Three.", "Two.", "One. <Two.> Three."),
        ("- item one\n- item two", "- item two", "- item one\n- <item two>"),
        ("## Heading\n\ntext", "## Heading", "## <Heading>\n\ntext"),
        ("| a | b |\n|---|---|\n| c | d |", "| c | d |", "| a | b |\n|---|---|\n| <c | d> |"),
        ("```python\nx = 1\n```", "```python\nx = 1\n```", "```python\n<x = 1>\n```"),
        ("a **bold** word", "**bold**", "a <**bold**> word"),
        ("2 - 1 is one", "- 1 is", "2 <- 1 is> one"),
    ],
)
def test_marks_leave_markdown_whole(text: str, quote: str, expected: str) -> None:
    start = text.index(quote)
    found = marked(text, [(start, start + len(quote))])
    assert found.replace(OPEN, "<").replace(CLOSE, ">") == expected


def test_overlapping_quotes_are_one_mark() -> None:
    assert marked("abcdef", [(0, 3), (2, 5)]) == f"{OPEN}abcde{CLOSE}f"


def test_surroundings_end_at_blocks_and_hold_the_passage() -> None:
    found = document("a.md", "A", REGULARISATION)
    quoted = passage(found, "Dropout", "Dropout switches", "as a rule.")
    start, end = surroundings(found, quoted)
    assert start == 0
    assert end >= quoted.end and found.text[end : end + 1] in ("", "\n")


def test_surroundings_of_one_huge_block_are_cut_at_words() -> None:
    found = document("a.txt", "A", "word " * 2000)
    quoted = passage(found, "", "word", "word")
    start, end = surroundings(found, quoted)
    assert 0 <= start <= quoted.start and quoted.end <= end < len(found.text)
    assert marked(found.text, [(quoted.start, quoted.end)], (start, end)).endswith(" …")


# The command


def test_busy_port_names_the_remedy() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CourseError, match=f"--port {port + 1}"):
            listen("127.0.0.1", port)


def test_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(CourseError, match="192.0.2.1"):
        listen("192.0.2.1", 0)
