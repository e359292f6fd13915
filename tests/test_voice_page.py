"""Talking with the page: over Chainlit's socket, and in a headless Chromium whose microphone plays a file."""

import asyncio
import contextlib
import re
import shutil
import time
from importlib.util import find_spec

import pytest
from fake_server import served
from fake_voice import pcm, say, silence
from test_web import Visitor

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not find_spec("faster_whisper") or not find_spec("pyttsx3"), reason="the extra voice is not installed"),
]

QUESTION = "What does dropout do during training?"
COUNT_SOUND = """() => {
    const { add16BitPCM } = WavStreamPlayer.prototype;
    window.heard = 0;
    WavStreamPlayer.prototype.add16BitPCM = function (...sound) { window.heard++; return add16BitPCM.apply(this, sound); };
}"""
RATE = 24_000  # of the page's recorder and player


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    script = __file__.replace("test_voice_page", "fake_voice_server")
    with served(tmp_path_factory.mktemp("data"), script) as running:
        yield running


class Speaker(Visitor):
    """A page with a microphone."""

    async def press(self):
        await self.socket.emit("audio_start")
        await self.until(lambda: ("audio_connection", "on") in self.events)

    async def speak(self, *sounds, pace=0.0):
        for samples in sounds:
            data = pcm(samples)
            for start in range(0, len(data), 8192):
                chunk = {"isStart": start == 0, "mimeType": "pcm16", "elapsedTime": 0, "data": data[start : start + 8192]}
                await self.socket.emit("audio_chunk", chunk)
                await asyncio.sleep(pace)

    async def ask_aloud(self, *sounds):
        await self.press()
        await self.speak(*sounds)
        await self.socket.emit("audio_end")

    async def hands_free(self):
        await self.socket.emit("chat_settings_change", {"words": 150, "sources": 20, "hands_free": True})
        await asyncio.sleep(0.2)

    def said(self):
        return [data for event, data in self.events if event == "window_message"]

    def state(self):
        return self.said()[-1].get("state") if self.said() else None

    def questions(self):
        return [m for m in self.messages.values() if m["type"] == "user_message"]

    def sound(self):
        return [data for event, data in self.events if event == "audio_chunk"]


def talk(page, what):
    page.pace(0.05)

    async def talking():
        speaker = Speaker(page)
        await speaker.enter()
        try:
            await what(speaker)
        finally:
            await speaker.socket.disconnect()

    asyncio.run(asyncio.wait_for(talking(), 60))


def tone(hertz, seconds=1.0):
    return say(hertz, seconds, RATE)


def still(seconds):
    return silence(seconds, RATE)


async def done(speaker, count=1):
    """The answers, finished and heard."""
    finished = lambda: [m for m in speaker.answers() if m["metadata"].get("phase") == "done"]  # noqa: E731
    await speaker.until(lambda: len(finished()) == count and speaker.state() in ("idle", "listening"), 20)
    return finished()


def test_a_spoken_question_is_shown_answered_with_sources_and_spoken(page):
    async def check(it):
        await it.ask_aloud(still(0.5), tone(300), still(0.3))
        (answer,) = await done(it)
        (question,) = it.questions()
        assert question["output"] == QUESTION
        assert answer["metadata"]["passages"][0]["title"] == "Regularisation"
        assert re.search(r"\[1\]\(#quote-", answer["output"])
        assert len({chunk["track"] for chunk in it.sound()}) == 1
        assert {chunk["mimeType"] for chunk in it.sound()} == {"pcm16"}
        states = [said["state"] for said in it.said()]
        assert [s for s, before in zip(states, ["", *states], strict=False) if s != before] == [
            "loading",
            "listening",
            "thinking",
            "speaking",
            "idle",
        ]
        latency = it.said()[-1]["latency"]
        assert 0 < latency["end_of_turn_ms"] < latency["transcript_ms"] < latency["first_sound_ms"]

    talk(page, check)


def test_the_question_comes_before_the_answer_and_can_be_edited(page):
    async def check(it):
        await it.ask_aloud(tone(900))
        await it.until(lambda: it.state() == "idle" and it.questions())
        (question,) = it.questions()
        assert any("I heard: What does drop art do. Is that right?" in m["output"] for m in it.answers())
        await it.socket.emit("edit_message", {"message": {**question, "output": QUESTION}})
        await done(it)
        assert page.state()["turns"][-1]["question"] == QUESTION
        assert not any("Is that right?" in m["output"] for m in it.answers()), "what followed is taken back"

    talk(page, check)


def test_spoken_and_typed_questions_are_one_conversation(page):
    async def check(it):
        await it.ask("And typed: what does dropout do?")
        heard = len(it.sound())
        assert heard == 0, "typed questions are not spoken"
        await it.ask_aloud(tone(300))
        await done(it, 2)
        assert page.state()["turns"][-1]["earlier"] == ["And typed: what does dropout do?"]
        await it.ask("What does the whole section say?")
        assert page.state()["turns"][-1]["earlier"] == ["And typed: what does dropout do?", QUESTION]

    talk(page, check)


def test_thumbs_judge_a_spoken_turn(page):
    async def check(it):
        await it.ask_aloud(tone(300))
        await done(it)
        assert it.run_id()

    talk(page, check)


def test_nothing_said_is_said(page):
    async def check(it):
        await it.ask_aloud(still(1))
        await it.until(lambda: it.state() == "idle" and it.sound())
        assert it.answers()[-1]["output"] == "I did not hear anything."
        assert it.questions() == []

    talk(page, check)


def test_no_microphone_is_no_question(page):
    async def check(it):
        await it.ask_aloud()
        await it.until(lambda: it.state() == "idle")
        assert it.questions() == it.sound() == []
        await it.ask_aloud(tone(300))
        await done(it)

    talk(page, check)


def test_hands_free_ends_at_a_pause_and_is_interrupted_by_words(page):
    async def check(it):
        await it.hands_free()
        await it.press()
        await it.speak(tone(400), still(1))
        await it.until(lambda: len(it.sound()) > 2)
        await it.speak(tone(600), still(1))
        await asyncio.sleep(0.3)
        interrupted = [event for event, _ in it.events].count("audio_interrupt")
        assert it.state() == "speaking", "uh-huh"
        await it.speak(tone(300, 1.5), still(1))
        await it.until(lambda: len(it.questions()) == 2)
        assert [event for event, _ in it.events].count("audio_interrupt") > interrupted
        await done(it, 2)
        assert len({chunk["track"] for chunk in it.sound()}) == 2
        assert it.state() == "listening"
        await it.socket.emit("audio_end")
        await it.until(lambda: it.state() == "idle")

    talk(page, check)


@pytest.mark.parametrize("how", ["stop", "window_message"])
def test_both_stop_buttons_silence_at_once(page, how):
    async def check(it):
        page.pace(0.1)
        await it.ask_aloud(tone(400))
        await it.until(lambda: len(it.sound()) > 2)
        await it.socket.emit(how, *(["lectern:hush"] if how == "window_message" else []))
        await it.until(lambda: it.state() == "idle", 2)
        heard = len(it.sound())
        await asyncio.sleep(0.5)
        assert len(it.sound()) == heard
        assert page.state()["done"][-1]["stopped"]

    talk(page, check)


def test_a_lost_connection_drops_what_was_said(page):
    async def check(it):
        turns = len(page.state()["turns"])
        await it.press()
        await it.speak(tone(300))
        await it.until(lambda: it.state() == "listening")
        await it.socket.disconnect()
        await asyncio.sleep(0.3)
        it.events.clear()
        auth = {"sessionId": it.session, "clientType": "webapp", "threadId": "", "userEnv": "{}", "chatProfile": ""}
        await it.socket.connect(page.url, socketio_path="/ws/socket.io", auth=auth, transports=["websocket"])
        await it.socket.emit("connection_successful")
        await it.speak(tone(300, 0.2))  # its microphone is still open
        await it.until(lambda: ("audio_connection", "off") in it.events)
        assert it.said()[-1]["problem"] == "lost"
        await it.socket.emit("audio_end")
        await asyncio.sleep(0.5)
        assert len(page.state()["turns"]) == turns
        await it.ask_aloud(tone(300))
        await done(it)

    talk(page, check)


def test_a_connection_lost_while_speaking_stops_the_answer(page):
    async def check(it):
        page.pace(0.1)
        finished = len(page.state()["done"])
        await it.ask_aloud(tone(400))
        await it.until(lambda: len(it.sound()) > 2)
        await it.socket.disconnect()
        deadline = time.monotonic() + 5
        while len(page.state()["done"]) == finished:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert page.state()["done"][-1]["stopped"]

    talk(page, check)


def test_two_tabs_do_not_hear_each_other(page):
    async def check(first):
        second = Speaker(page)
        await second.enter()
        await first.press()
        await second.press()
        await asyncio.gather(first.speak(tone(300), pace=0.02), second.speak(tone(800), pace=0.02))
        await first.socket.emit("audio_end")
        await second.socket.emit("audio_end")
        await asyncio.gather(done(first), done(second))
        assert [q["output"] for q in first.questions()] == [QUESTION]
        assert [q["output"] for q in second.questions()] == ["What is the weather?"]
        assert {c["track"] for c in first.sound()}.isdisjoint({c["track"] for c in second.sound()})
        await second.socket.disconnect()

    talk(page, check)


def test_missing_weights_are_told_and_tried_again(page):
    async def check(it):
        (page.data_dir / "deaf").touch()
        try:
            await it.socket.emit("audio_start")
            await it.until(lambda: ("audio_connection", "off") in it.events)
        finally:
            (page.data_dir / "deaf").unlink()
        await it.until(lambda: any("Run: make voice" in m["output"] for m in it.answers()))
        await it.ask_aloud(tone(300))
        await done(it)

    talk(page, check)


def test_nothing_is_kept(page):
    assert not (page.data_dir / "spoken").exists()


# In the browser


@contextlib.contextmanager
def chromium(recording=None, *arguments):
    """A browser whose microphone plays a file once, or that has none."""
    library = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", *arguments]
    if recording:
        options += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        options += [f"--use-file-for-fake-audio-capture={recording}%noloop"]
    with library.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture
def spoken(tmp_path):
    """A file with a spoken question."""
    import numpy as np

    from assistant.voice.audio import write_wav

    path = tmp_path / "question.wav"
    write_wav(path, np.concatenate([tone(300, 1.5), still(20)]), RATE)
    return path


def test_the_microphone_of_a_browser(page, spoken):
    from test_browser import CITATION, enter, window

    with chromium(spoken) as browser, window(browser) as tab:
        tab.set_default_timeout(60_000)
        enter(tab, page)
        tab.evaluate(COUNT_SOUND)
        tab.evaluate("document.activeElement.blur()")
        tab.keyboard.press("p")
        line = tab.locator("#lectern-voice")
        line.get_by_text("Listening. Press the microphone").wait_for()
        assert line.locator("[role=status]").count() == 1
        time.sleep(1.5)
        tab.evaluate("document.activeElement.blur()")
        tab.keyboard.press("p")
        tab.locator('[data-step-type="user_message"]', has_text=QUESTION).wait_for()
        tab.locator(CITATION).first.wait_for()
        line.get_by_text("Speaking").wait_for()
        tab.wait_for_function("window.heard > 0")
        tab.locator('#lectern-voice[data-state="idle"]').wait_for(state="attached")
