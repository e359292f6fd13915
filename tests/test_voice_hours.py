"""A recording of two hours: heard in bounded memory, with progress, until somebody stops it."""

import struct
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from assistant.cli import app
from assistant.commands.show import place
from assistant.settings import VoiceSettings, load_settings
from assistant.voice import decoding, listening, recordings
from assistant.voice.audio import to_pcm
from assistant.voice.decoding import length_s
from assistant.voice.recognise import HEARD_RATE
from assistant.voice.recordings import heard, short_recording, transcriber
from assistant.voice.whisper import Decoded, Whisper
from assistant.voice.windows import BLOCK_S
from knowledge.errors import UnreadableFile
from knowledge.ingest import ingest

av = pytest.importorskip("av", reason="needs the extra voice")
vad = pytest.importorskip("faster_whisper.vad", reason="needs the extra voice")

RATE = 8_000
HOURS_2 = 7200
SPOKEN_AT = (30, 3600, 7170)  # seconds, four each
WORDS = "Sentence number {} says that gradient descent follows the slope."


class FakeWhisper(Whisper):
    """Hears a sentence in each window; `at_window` may interrupt."""

    def __init__(self, at_window=lambda number: None):
        super().__init__("fake", "en", ["en"])
        self.windows, self.at_window = 0, at_window

    def _decode(self, window, language, hints):
        self.windows += 1
        self.at_window(self.windows)
        return [Decoded(WORDS.format(self.windows), 0.5, 3.0, 0.9, 0.01, 1.0)], "en"


def tone(seconds, rate):
    return (0.3 * np.sin(np.arange(seconds * rate, dtype=np.float32))).astype(np.float32)


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    """What is not silent is speech."""

    def found(samples, options):
        loud = np.flatnonzero(np.abs(samples) > 0.01)
        return [{"start": int(loud[0]), "end": int(loud[-1]) + 1}] if len(loud) else []

    monkeypatch.setattr(vad, "get_speech_timestamps", found)


@pytest.fixture
def file(tmp_path):
    """Two hours of silence as a sparse WAV, in which somebody speaks three times."""
    path, size = tmp_path / "lectures" / "two hours.wav", HOURS_2 * RATE * 2
    path.parent.mkdir()
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, RATE * 2, 2, 16)
    with path.open("wb") as out:
        out.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size))
        for second in SPOKEN_AT:
            out.seek(44 + second * RATE * 2)
            out.write(to_pcm(tone(4, RATE)).tobytes())
        out.truncate(44 + size)
    return path


@pytest.fixture
def lecture(file, monkeypatch):
    """The same without the time that decoding takes; `read` counts the seconds that were decoded."""
    read = []

    def pieces(path, longest_s):
        for start in range(0, HOURS_2, 10):
            read.append(10)
            sound = np.zeros(10 * HEARD_RATE, np.float32)
            for second in SPOKEN_AT:
                if start == second // 10 * 10:
                    sound[: 4 * HEARD_RATE] = tone(4, HEARD_RATE)
            yield sound

    monkeypatch.setattr(decoding, "decoded", pieces)
    return SimpleNamespace(path=file, read=read)


def test_two_hours_take_no_more_memory_than_minutes(lecture):
    told = []
    tracemalloc.start()
    segments = list(heard(lecture.path, FakeWhisper(), VoiceSettings(), lambda *at: told.append(at)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [segment.start_s for segment in segments] == [pytest.approx(second + 0.1, abs=0.05) for second in SPOKEN_AT]
    assert peak < 60 << 20, "the whole is 461 MB"
    assert told[0] == (0.0, HOURS_2)
    assert told[-1] == (HOURS_2, HOURS_2)
    assert told == sorted(told)
    assert len({at for at, _ in told}) > 100, "silence moves on too"


def test_what_was_said_before_a_long_silence_is_not_kept_waiting(lecture):
    told, seen = [], []
    for segment in heard(lecture.path, FakeWhisper(), VoiceSettings(), lambda at, total: told.append(at)):
        seen.append((told[-1], segment.start_s))
    assert len(seen) == 3
    assert all(at <= start + BLOCK_S for at, start in seen)


def test_it_stops_when_it_is_told_to_in_the_midst_of_silence(lecture):
    told = []
    segments = heard(lecture.path, FakeWhisper(), VoiceSettings(), lambda at, _: told.append(at), lambda: told[-1] > 1000)
    assert len(list(segments)) == 1
    assert sum(lecture.read) < 1300
    assert told[-1] < 1200


def test_two_hours_are_ingested_and_cited_with_their_minute(file, index, monkeypatch):
    monkeypatch.setattr(listening, "recogniser", lambda settings: FakeWhisper())
    told = []
    report = ingest(index, [file], told.append, transcribe=transcriber(VoiceSettings(), index))
    assert len(report.added) == 1, report.skipped
    assert [place(passage) for passage in index.catalogue.all_passages()] == [
        "Two hours, 0:30",
        "Two hours, 1:00:00",
        "Two hours, 1:59:30",
    ]
    assert max(progress.heard_s for progress in told) > 7100


def test_an_interrupt_of_an_ingest_leaves_the_index_as_it_was(lecture, ingested, monkeypatch):
    def interrupt(number):
        if number == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(listening, "recogniser", lambda settings: FakeWhisper(interrupt))
    before = ingested.catalogue.generation
    with pytest.raises(KeyboardInterrupt):
        ingest(ingested, [lecture.path], transcribe=transcriber(VoiceSettings(), ingested))
    assert ingested.catalogue.generation == before


def test_a_transcript_is_printed_as_it_comes_and_an_interrupt_leaves_what_is_right(lecture, tmp_path, monkeypatch):
    def interrupt(number):
        if number == 3:
            raise KeyboardInterrupt

    monkeypatch.setenv("LECTERN_DATA_DIR", str(tmp_path / "data"))
    load_settings.cache_clear()
    monkeypatch.setattr(listening, "recogniser", lambda voice: FakeWhisper(interrupt))
    done = CliRunner().invoke(app, ["transcribe", str(lecture.path)])
    load_settings.cache_clear()
    assert done.stdout.splitlines() == [
        f"00:00:30  {WORDS.format(1)}",
        f"01:00:00  {WORDS.format(2)}",
    ]
    assert done.exit_code == 130
    assert "Traceback" not in done.output


def test_a_lecture_that_is_dropped_into_the_page_is_no_question_and_is_not_decoded_to_know_it(file, monkeypatch):
    monkeypatch.setattr(decoding, "_frames", lambda *_: pytest.fail("decoded"))
    assert short_recording(file, VoiceSettings()) is None
    assert recordings.short_recording(file.with_name("none.wav"), VoiceSettings()) is None


def test_the_longest_recording_is_a_setting(file):
    with pytest.raises(UnreadableFile, match="120 minutes long; recordings may have 90 minutes"):
        next(heard(file, FakeWhisper(), VoiceSettings(longest_recording_min=90), lambda *_: None))


def test_an_mp3_does_not_say_how_long_it_is_and_is_measured_without_being_decoded(tmp_path, monkeypatch):
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libmp3lame", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 90 * RATE), np.int16), format="s16", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    monkeypatch.setattr(decoding, "_frames", lambda *_: pytest.fail("decoded"))
    assert length_s(path, 120) == pytest.approx(90, abs=0.5)
    with pytest.raises(UnreadableFile, match="too long; recordings may have 1 minutes"):
        length_s(path, 60)
