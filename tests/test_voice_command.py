"""`lectern voice` with a fake course, fake engines and, for the microphone, programs that only pretend."""

import shlex
import sys
import threading
import wave
from types import SimpleNamespace

import numpy as np
import pytest
from fake_runtime import FakeRuntime
from fake_voice import FakeEars, FakeVoice, loudness, pcm, say, silence

from assistant.commands import voice as command
from assistant.settings import Settings
from assistant.voice import conversation, devices
from knowledge.errors import CourseError

pytest.importorskip("av", reason="the extra voice is not installed")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Fakes in the place of course and engines; returns the course and what is spoken."""
    runtime, voice = FakeRuntime(Settings(data_dir=tmp_path)), FakeVoice(seconds=0.1)
    monkeypatch.setattr(command, "open_course", lambda model: runtime)
    monkeypatch.setattr(conversation, "SpeechDetector", lambda: loudness)
    for name, parts in {
        "listening": {"course_recogniser": lambda settings, index: FakeEars()},
        "speaking": {"voice": lambda settings: voice},
    }.items():
        monkeypatch.setitem(sys.modules, f"assistant.voice.{name}", SimpleNamespace(**parts))
    return SimpleNamespace(runtime=runtime, voice=voice)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Installs pretended programs: name -> Python code."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(name, code):
        path = folder / name
        path.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)}\n")
        path.chmod(0o755)

    return install


def recording(path, *sounds):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm(np.concatenate(sounds)))
    return path


def _nobody():
    """A keyboard that nobody touches."""
    threading.Event().wait()
    yield ""


def run(**options):
    command.voice(**({"file": None, "out": None, "hands_free": None, "model": None} | options))


def test_a_recorded_question_is_answered_into_a_file(course, tmp_path, capsys):
    out = tmp_path / "answer.wav"
    run(file=recording(tmp_path / "question.wav", silence(0.3), say(300)), out=out)
    said = capsys.readouterr().out
    assert "> What does dropout do during training?" in said
    assert "Dropout switches off randomly chosen units" in said
    assert "Sources" in said
    with wave.open(str(out)) as answer:
        assert answer.getframerate() == 24_000
        assert answer.getnframes() == 24_000 * len(course.voice.said) // 10 == 14_400


def test_errors_of_the_turn_are_the_commands(course, tmp_path):
    file = recording(tmp_path / "question.wav", say(1100))
    with pytest.raises(CourseError, match="lectern models pull"):
        run(file=file, out=tmp_path / "answer.wav")


def test_a_file_that_is_no_sound_is_refused_before_anything_is_loaded(course, tmp_path):
    (tmp_path / "notes.wav").write_text("no sound")
    with pytest.raises(CourseError, match=r"notes\.wav"):
        run(file=tmp_path / "notes.wav", out=tmp_path / "answer.wav")
    assert course.runtime.chain.turns == []


def test_out_needs_a_file(tmp_path):
    with pytest.raises(CourseError, match="--out needs --file"):
        run(out=tmp_path / "answer.wav")


def test_a_machine_without_sound_is_told_what_to_install(programs):
    with pytest.raises(CourseError, match="No program that records sound was found"):
        run()
    programs("arecord", "")
    with pytest.raises(CourseError, match="No program that plays sound was found"):
        run()


def test_a_conversation_in_the_terminal(course, programs, tmp_path, monkeypatch, capsys):
    sound = recording(tmp_path / "said.wav", say(300, 2), silence(1))
    # It ends by itself, as a recorder does that is unplugged.
    programs("arecord", f"import sys; sys.stdout.buffer.write(open({str(sound)!r}, 'rb').read()[44:])")
    heard = tmp_path / "heard.pcm"
    programs("aplay", f"import sys; open({str(heard)!r}, 'ab').write(sys.stdin.buffer.read())")
    monkeypatch.setattr(sys, "stdin", _nobody())
    run(hands_free=True)
    assert "> What does dropout do during training?" in capsys.readouterr().out
    assert len(course.voice.said) == 6


def test_a_microphone_that_does_not_open_says_why(programs):
    programs("arecord", "import sys; sys.exit('audio open error: No such file or directory')")
    with devices.Recording(devices.recorder()) as recording, pytest.raises(CourseError, match="No such file"):
        recording.read(3200)


def test_a_recorder_is_ended_with_its_recording(programs):
    programs("arecord", "import sys, time; sys.stdout.buffer.write(bytes(3200)); sys.stdout.flush(); time.sleep(60)")
    with devices.Recording(devices.recorder()) as open_microphone:
        assert open_microphone.read(3200) == bytes(3200)
        process = open_microphone._process
    assert process.poll() is not None


def test_what_is_played_is_played_to_its_end(programs, tmp_path):
    programs("aplay", f"import sys; open({str(tmp_path / 'heard')!r}, 'wb').write(sys.stdin.buffer.read())")
    playing = devices.Playing(devices.player())
    playing.play(b"ab")
    playing.play(b"cd")
    playing.finish()
    assert (tmp_path / "heard").read_bytes() == b"abcd"
    playing.finish()


def test_a_player_that_fails_says_so(programs):
    programs("aplay", "import sys; sys.exit(1)")
    playing = devices.Playing(devices.player())
    playing.play(bytes(1000))
    with pytest.raises(CourseError, match="could not play"):
        playing.finish()


def test_silence_ends_the_player_at_once(programs):
    programs("aplay", "import time; time.sleep(60)")
    playing = devices.Playing(devices.player())
    playing.play(bytes(1000))
    process = playing._process
    playing.silence()
    assert process.poll() is not None
    playing.silence()
    playing.play(bytes(1000))
    assert playing._process.poll() is None
    playing.silence()
