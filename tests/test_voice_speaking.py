"""The voices: processes that crash, hang or are killed, missing parts, and (marked `model`) the real engines."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from assistant.cli import app
from assistant.settings import VoiceSettings
from assistant.voice import espeak, piper, speaking
from assistant.voice.engine_process import EngineProcess
from assistant.voice.espeak import EspeakVoice
from assistant.voice.piper import PiperVoice
from assistant.voice.speech import SPOKEN_RATE, Speech
from knowledge.errors import CourseError, MissingModel

ENGINE = """
    import itertools, os, sys, time, wave
    for number in itertools.count():
        line = sys.stdin.readline()
        if not line:
            break
        marks = os.path.join(os.path.dirname(__file__), "marks")
        if "always dies" in line or ("dies once" in line and not os.path.exists(marks)):
            open(marks, "w").close()
            print("RuntimeError: out of breath", file=sys.stderr)
            os._exit(3)
        if "hangs" in line:
            time.sleep(60)
        path = os.path.join(sys.argv[1], f"{number}.wav")
        if "as AIFF" in line:
            import av
            frame = av.AudioFrame(format="s16", layout="mono", samples=22050)
            frame.sample_rate = 22050
            frame.planes[0].update(b"\\x00\\x10" * 22050)
            with av.open(path, "w", format="aiff") as out:
                stream = out.add_stream("pcm_s16be", rate=22050, layout="mono")
                for packet in [*stream.encode(frame), *stream.encode(None)]:
                    out.mux(packet)
            print("Wrote " + path, file=sys.stderr, flush=True)
            continue
        if "as nothing" in line:
            open(path, "wb").write(b"FORM")
            print("Wrote " + path, file=sys.stderr, flush=True)
            continue
        with wave.open(path, "wb") as out:
            out.setnchannels(1); out.setsampwidth(2); out.setframerate(22050)
            out.writeframes(b"\\x01\\x00" * len(line.strip()))
        print("INFO:worker:Wrote " + path, file=sys.stderr, flush=True)
"""


@pytest.fixture
def engine(tmp_path):
    script = tmp_path / "engine.py"
    script.write_text(textwrap.dedent(ENGINE))
    made = EngineProcess("test", [sys.executable, str(script), "{folder}"], "Mend it.", patience_s=15)
    yield made
    made.close()


def test_a_sentence_a_line(engine):
    samples, rate = engine.say("one\n two\x00three")
    assert len(samples) == len("one two three")
    assert samples.dtype == np.int16
    assert rate == 22_050
    assert engine.say("four")[0].tolist() == [1] * 4
    assert not list(Path(engine._folder.name).iterdir())  # no sound is kept


def test_the_voice_of_macos_writes_aiff_under_any_name(engine):
    pytest.importorskip("av", reason="needs the extra voice")
    samples, rate = engine.say("as AIFF")
    assert rate == SPOKEN_RATE
    assert len(samples) == pytest.approx(SPOKEN_RATE, abs=20)
    assert set(samples[100:-100].tolist()) <= {4095, 4096, 4097}
    assert not list(Path(engine._folder.name).iterdir())


def test_what_is_no_sound_is_said(engine):
    pytest.importorskip("av", reason="needs the extra voice")
    with pytest.raises(CourseError, match="wrote no sound that can be read"):
        engine.say("as nothing")
    assert len(engine.say("four")[0]) == 4


def test_a_warmed_engine_has_started_and_says_nothing_of_its_own(engine):
    engine.warm()
    before = engine.pid
    assert before is not None
    engine.warm()
    assert engine.say("four")[0].tolist() == [1] * 4
    assert engine.say("seven")[0].tolist() == [1] * 5
    assert engine.pid == before
    assert not list(Path(engine._folder.name).iterdir())


def test_an_engine_that_died_while_idle_is_warmed_again(engine):
    engine.say("one")
    before = engine.pid
    os.kill(before, signal.SIGKILL)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    engine.warm()
    assert engine.pid not in (None, before)
    assert len(engine.say("four")[0]) == 4


def test_an_engine_that_dies_of_warming_is_reported_by_the_sentence(engine):
    engine._command[1:2] = ["-c", "import sys; sys.exit('no voice')"]
    engine.warm()
    with pytest.raises(CourseError, match="no voice"):
        engine.say("four")


def test_silence_starts_nothing(engine):
    assert len(engine.say(" ... \n")[0]) == 0
    assert engine.pid is None


def test_an_engine_that_dies_over_a_sentence_is_started_once_more(engine):
    assert len(engine.say("dies once")[0]) == len("dies once")


def test_an_engine_that_was_killed_is_started_again(engine):
    engine.say("one")
    before = engine.pid
    os.kill(before, signal.SIGKILL)
    assert len(engine.say("four")[0]) == 4
    assert engine.pid != before


def test_an_engine_that_dies_twice_is_reported_with_its_last_words_and_may_be_tried_again(engine):
    with pytest.raises(CourseError, match="test has stopped: RuntimeError: out of breath. Mend it"):
        engine.say("always dies")
    assert len(engine.say("four")[0]) == 4


def test_an_engine_that_hangs_is_ended(engine):
    engine._patience_s = 1
    with pytest.raises(CourseError, match="no answer in 1 s"):
        engine.say("hangs")
    assert engine.pid is None


def test_an_interrupted_sentence_is_not_taken_for_the_next(engine):
    engine.say("one")
    engine._lines = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        engine.say("a long sentence")
    assert len(engine.say("four")[0]) == 4


class Interrupted:
    def get(self, timeout):
        raise KeyboardInterrupt


def test_threads_wait_for_each_other(engine):
    said = {}
    threads = [threading.Thread(target=lambda n=n: said.update({n: len(engine.say("x" * n)[0])})) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {n: n for n in range(1, 9)}


def test_the_engine_ends_with_us_even_if_we_are_killed(engine, tmp_path):
    ours = tmp_path / "ours.py"
    ours.write_text(
        "import sys, time\nfrom assistant.voice.engine_process import EngineProcess\n"
        f"engine = EngineProcess('test', {[sys.executable, str(tmp_path / 'engine.py'), '{folder}']!r}, '')\n"
        "engine.say('one')\nprint(engine.pid, flush=True)\ntime.sleep(60)\n"
    )
    place = os.environ | {"TMPDIR": str(tmp_path)}  # its folder of sound outlives a kill
    process = subprocess.Popen([sys.executable, str(ours)], stdout=subprocess.PIPE, text=True, env=place)
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 60
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(child)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        EngineProcess("test", [str(tmp_path / "nothing")], "").say("one")


@pytest.mark.parametrize(("make", "says"), [(EspeakVoice, "Run: make voice"), (PiperVoice, "pip install piper-tts")])
def test_a_missing_package_is_named_with_its_remedy(make, says, monkeypatch):
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)
    monkeypatch.setattr(piper, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match=says) as raised:
        make()
    assert raised.value.exit_code == 2


def test_a_missing_piper_model_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(piper, "find_spec", lambda name: True)
    monkeypatch.setenv("LECTERN_MODELS_DIR", str(tmp_path))
    with pytest.raises(MissingModel, match="models pull piper-en_us-joe-medium"):
        PiperVoice()
    with pytest.raises(MissingModel, match="There is no file"):
        PiperVoice(str(tmp_path / "mine.onnx"))


def test_piper_is_run_with_its_model_and_pace_and_never_imported(monkeypatch, tmp_path):
    monkeypatch.setattr(piper, "find_spec", lambda name: True)
    for name in ("mine.onnx", "mine.onnx.json"):
        (tmp_path / name).touch()
    command = PiperVoice(str(tmp_path / "mine.onnx"), rate=346)._process._command
    assert command[1:6] == ["-P", "-m", "piper", "--model", str(tmp_path / "mine.onnx")]
    assert command[command.index("--length-scale") + 1] == "0.500"
    assert "piper" not in sys.modules


def test_the_voice_of_the_settings_is_made_once(monkeypatch):
    monkeypatch.setattr(speaking, "EspeakVoice", lambda name, rate: ("espeak", name, rate, object()))
    monkeypatch.setattr(speaking, "PiperVoice", lambda name, rate: ("piper", name, rate, object()))
    speaking._made.cache_clear()
    try:
        assert speaking.voice(VoiceSettings())[:3] == ("espeak", "", 170)
        assert speaking.voice(VoiceSettings(speaker="piper", voice="v", rate=200))[:3] == ("piper", "v", 200)
        assert speaking.voice(VoiceSettings()) is speaking.voice(VoiceSettings(pause_ms=900))
    finally:
        speaking._made.cache_clear()


class FakeVoice:
    name = "fake"

    def __init__(self):
        self.said, self.closed = [], False

    def say(self, text):
        self.said.append(text)
        return Speech(np.ones(SPOKEN_RATE // 2, np.int16), text)

    def close(self):
        self.closed = True

    def warm(self):
        pass


def test_say_writes_a_file_sentence_by_sentence(monkeypatch, tmp_path):
    fake, asked = FakeVoice(), []
    monkeypatch.setattr(speaking, "voice", lambda settings: asked.append(settings) or fake)
    out = tmp_path / "said.wav"
    done = CliRunner().invoke(app, ["say", "LoRA adds a $BA$ matrix. It is **small** [1].", "--out", str(out), "--rate", "200"])
    assert done.exit_code == 0, done.output
    assert fake.said == ["Lora adds a B A matrix.", "It is small, source one."]
    assert fake.closed
    assert asked[0].rate == 200
    assert out.stat().st_size == 44 + 2 * SPOKEN_RATE
    assert "1.0 s" in done.output


def test_say_needs_words_and_a_player(monkeypatch):
    monkeypatch.setattr(speaking, "voice", lambda settings: FakeVoice())
    monkeypatch.setattr("assistant.voice.devices.shutil.which", lambda name: None)
    for text, problem in ((" ", "nothing to say"), ("🙂", "no words"), ("Hello.", "plays sound")):
        done = CliRunner().invoke(app, ["say", text])
        assert isinstance(done.exception, CourseError)
        assert problem in str(done.exception)


real = pytest.mark.model
needs_espeak = pytest.mark.skipif(find_spec("pyttsx3") is None, reason="pyttsx3 is not installed: make voice")
needs_piper = pytest.mark.skipif(find_spec("piper") is None, reason="piper-tts is not installed")


def made(make, *options):
    try:
        voice = make(*options)
        voice.say("Ready.")
    except CourseError as error:
        pytest.skip(str(error))
    return voice


@real
@pytest.mark.parametrize("make", [pytest.param(EspeakVoice, marks=needs_espeak), pytest.param(PiperVoice, marks=needs_piper)])
def test_a_real_voice_speaks_and_survives_being_killed(make, capfd):
    voice = made(make)
    try:
        slow = voice.say("Attention weighs values by the similarity of queries and keys.")
        assert 2 < slow.seconds < 8
        assert np.abs(slow.samples).max() > 2000
        os.kill(voice._process.pid, signal.SIGKILL)
        again = voice.say("Attention weighs values by the similarity of queries and keys.")
        assert abs(again.seconds - slow.seconds) < 1
        assert voice.say("...").seconds == 0
        fast = made(make, "", 300)
        assert fast.say(slow.text).seconds < 0.8 * slow.seconds
        fast.close()
    finally:
        voice.close()
    assert capfd.readouterr().out == ""  # standard output belongs to our commands


@real
@needs_espeak
def test_espeak_lists_its_voices_and_refuses_others():
    made(EspeakVoice).close()
    assert any(known.language.startswith("en") for known in espeak.voices())
    with pytest.raises(CourseError, match="no voice called 'nobody'.*say --list"):
        EspeakVoice("nobody").say("Hello.")


@real
@needs_espeak
def test_a_missing_libespeak_is_named_with_its_remedy(monkeypatch, tmp_path):
    broken = tmp_path / "pyttsx3"
    broken.mkdir()
    (broken / "__init__.py").write_text("def init():\n    raise RuntimeError('probably no eSpeak-ng installed!')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CourseError, match=r"probably no eSpeak-ng.*apt-get install libespeak-ng1"):
        EspeakVoice().say("Hello.")
    with pytest.raises(CourseError, match=r"probably no eSpeak-ng.*apt-get install libespeak-ng1"):
        espeak.voices()
