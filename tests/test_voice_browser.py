"""What can go wrong with a microphone in a browser, and once everything real: Whisper, a voice, a spoken question."""

import re
import time
from importlib.util import find_spec

import numpy as np
import pytest
from fake_server import served
from test_browser import CITATION, enter, window
from test_voice_page import COUNT_SOUND, QUESTION, RATE, chromium, still, tone

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not find_spec("faster_whisper") or not find_spec("pyttsx3"), reason="the extra voice is not installed"),
]

SECONDS = 1000
PLAIN_HTTP = """
    Object.defineProperty(window, "isSecureContext", { value: false });
    Object.defineProperty(Navigator.prototype, "mediaDevices", { value: undefined });
"""  # what a page gets that came over http from another machine


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    script = __file__.replace("test_voice_browser", "fake_voice_server")
    with served(tmp_path_factory.mktemp("data"), script) as running:
        yield running


def recording(tmp_path, *sounds):
    """A file for the microphone, which goes on in silence."""
    from assistant.voice.audio import write_wav

    write_wav(tmp_path / "said.wav", np.concatenate([*sounds, still(30)]), RATE)
    return tmp_path / "said.wav"


def come_in(tab, page):
    tab.set_default_timeout(60 * SECONDS)
    enter(tab, page)
    tab.evaluate(COUNT_SOUND)


def press(tab):
    """By the keyboard, as somebody who uses no mouse does."""
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("p")


def line(tab):
    return tab.locator("#lectern-voice")


def state(tab, name):
    tab.locator(f'#lectern-voice[data-state="{name}"]').wait_for(state="attached")


def ask(tab, seconds=1.5):
    """Press, let the microphone hear, press again."""
    press(tab)
    line(tab).get_by_text("Listening. Press the microphone").wait_for()
    time.sleep(seconds)
    press(tab)


def types_on(tab):
    """The page goes on: a typed question is answered."""
    tab.fill("#chat-input", QUESTION)
    tab.keyboard.press("Enter")
    tab.locator(CITATION).first.wait_for()


@pytest.mark.parametrize(
    ("arguments", "script", "told"),
    [
        (["--use-fake-device-for-media-stream", "--deny-permission-prompts"], "", "told to give no microphone"),
        ([], "", "There is no microphone. Connect one"),
        ([], PLAIN_HTTP, "only to pages that come over https, or from this machine (localhost)"),
    ],
    ids=["denied", "none", "plain http"],
)
def test_where_the_browser_gives_no_microphone_the_page_says_why(page, arguments, script, told):
    with chromium(None, *arguments) as browser, window(browser) as tab:
        if script:
            tab.add_init_script(script)
        come_in(tab, page)
        turns = len(page.state()["turns"])
        press(tab)
        alarm = line(tab).get_by_role("alert")
        alarm.get_by_text(told).wait_for()
        state(tab, "problem")
        assert alarm.inner_text().count(".") >= 2, "what to do is said too"
        assert len(page.state()["turns"]) == turns
        line(tab).get_by_role("button", name="Close").click()
        state(tab, "idle")
        types_on(tab)


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_stop_in_the_page_silences_at_once(page, tmp_path, how):
    with chromium(recording(tmp_path, tone(400, 1.5))) as browser, window(browser) as tab:
        come_in(tab, page)
        page.pace(0.3)
        ask(tab)
        tab.wait_for_function("window.heard > 2")
        began = time.monotonic()
        if how == "button":
            line(tab).get_by_role("button", name="Stop").click()
        else:
            tab.keyboard.press("Escape")
        state(tab, "idle")
        assert time.monotonic() - began < 5, "a busy machine takes its time, an answer of 60 sentences takes 20 s"
        tab.locator(".lectern-end").first.wait_for()
        heard = tab.evaluate("window.heard")
        time.sleep(1.5)
        assert tab.evaluate("window.heard") == heard
        assert page.state()["done"][-1]["stopped"]


def test_a_connection_that_is_lost_while_somebody_speaks_is_told(page, tmp_path):
    sockets = []

    def tunnel(socket):
        sockets.append(socket)
        socket.connect_to_server()

    with chromium(recording(tmp_path, tone(300, 1.5))) as browser, window(browser) as tab:
        tab.route_web_socket(re.compile("/ws/socket.io"), tunnel)
        come_in(tab, page)
        turns = len(page.state()["turns"])
        press(tab)
        line(tab).get_by_text("Listening. Press the microphone").wait_for()
        sockets[-1].close()
        line(tab).get_by_role("alert").get_by_text("The connection was lost, and what you said with it").wait_for()
        assert len(sockets) > 1, "the page has connected anew"
        assert len(page.state()["turns"]) == turns
        line(tab).get_by_role("button", name="Close").click()
        types_on(tab)


def test_two_tabs_of_one_browser_answer_each_its_own(page, tmp_path):
    with chromium(recording(tmp_path, tone(300, 1.5))) as browser, window(browser) as first:
        come_in(first, page)
        second = first.context.new_page()
        come_in(second, page)
        first.bring_to_front()
        ask(first)
        first.locator(CITATION).first.wait_for()
        first.wait_for_function("window.heard > 0")
        state(first, "idle")
        assert second.evaluate("window.heard") == 0
        assert second.locator(CITATION).count() == 0
        assert second.locator('[data-step-type="user_message"]').count() == 0
        state(second, "idle")
        heard = first.evaluate("window.heard")
        second.bring_to_front()
        types_on(second)
        assert second.evaluate("window.heard") == 0, "typed questions are not spoken"
        assert first.evaluate("window.heard") == heard


@pytest.mark.model
@pytest.mark.parametrize("speaker", ["espeak", "piper"])
def test_a_question_asked_aloud_is_heard_answered_and_spoken_by_real_engines(tmp_path, speaker):
    from assistant.models import model_path
    from assistant.settings import VoiceSettings
    from assistant.voice.espeak import EspeakVoice
    from assistant.voice.piper import PiperVoice
    from knowledge.errors import CourseError

    try:
        model_path(VoiceSettings().model)
        voice = PiperVoice() if speaker == "piper" else EspeakVoice(rate=150)
        said = voice.say(QUESTION).samples / np.float32(32768)
        voice.close()
    except CourseError as error:
        pytest.skip(str(error))
    sound = recording(tmp_path, still(0.5), said)
    script = __file__.replace("test_voice_browser", "real_voice_server")
    with served(tmp_path / "data", script) as page, chromium(sound) as browser, window(browser) as tab:
        come_in(tab, page)
        tab.set_default_timeout(180 * SECONDS)
        press(tab)
        line(tab).get_by_text("Listening. Press the microphone").wait_for()
        time.sleep(len(said) / RATE + 1.5)
        press(tab)
        question = tab.locator('[data-step-type="user_message"]')
        question.wait_for()
        assert "dropout" in question.inner_text().lower()
        assert page.state()["turns"][-1]["question"] in question.inner_text()
        tab.locator(CITATION).first.wait_for()
        tab.wait_for_function("window.heard > 3")
        line(tab).get_by_text("Speaking").wait_for()
        line(tab).get_by_role("button", name="Stop").click()
        state(tab, "idle")
        assert not (page.data_dir / "spoken").exists()
