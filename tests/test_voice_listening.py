import json
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Event

import numpy as np
import pytest
from typer.testing import CliRunner

from assistant import cli
from assistant.models import MissingModel, model_path
from assistant.settings import VoiceSettings, load_settings
from assistant.voice import listening, whisper, windows
from assistant.voice.checkpoint import converted, read
from assistant.voice.phantoms import is_believable
from assistant.voice.recognise import HEARD_RATE, Segment
from assistant.voice.whisper import Decoded, Whisper
from assistant.voice.windows import Stretch, Window
from knowledge.errors import CourseError

R = HEARD_RATE
SPEECH = np.zeros(10 * R, np.float32)


class FakeWhisper(Whisper):
    """Decodes what the test says, and keeps what it was asked."""

    def __init__(self, *decoded, language="en", told="en"):
        super().__init__("fake", language, ["en", "de"])
        self.decoded, self.told, self.asked = decoded, told, []

    def _decode(self, window, language, hints):
        self.asked.append((len(window) / R, language, hints))
        return list(self.decoded), self.told


def said(text, start_s=0.0, end_s=1.0, confidence=0.9, no_speech=0.01, compression=1.0):
    return Decoded(text, start_s, end_s, confidence, no_speech, compression)


def speaking(monkeypatch, *spans):
    """The voice detector finds speech in these seconds."""
    found = [Stretch(round(start * R), round(end * R)) for start, end in spans]
    monkeypatch.setattr(windows, "stretches", lambda samples: list(found))
    monkeypatch.setattr(windows, "BLOCK_S", 1000)  # and all of it in one block


# Windows


def cut(monkeypatch, length_s, *spans):
    speaking(monkeypatch, *spans)
    return list(windows.windows([np.arange(round(length_s * R), dtype=np.float32)]))


def test_long_silences_are_cut_and_times_are_those_of_the_recording(monkeypatch):
    (window,) = cut(monkeypatch, 60, (2, 4), (30, 33))
    assert len(window.samples) / R == pytest.approx(5 + 4 * 0.4)
    assert window.speech_s == pytest.approx(5)
    assert window.seconds(0.4) == pytest.approx(2)  # the padding comes first
    assert window.seconds(2.8 + 0.4) == pytest.approx(30)
    assert window.seconds(99) == pytest.approx(33.4)  # Whisper may hear beyond the end
    assert window.samples[round(3.2 * R)] == 30 * R


def test_no_window_is_longer_than_whisper_hears_and_none_hears_a_sample_twice(monkeypatch):
    spans = [(start, start + 9.9) for start in range(0, 600, 10)]
    cuts = cut(monkeypatch, 600, *spans)
    assert all(len(window.samples) <= windows.LONGEST_S * R for window in cuts)
    pieces = [piece for window in cuts for piece in window.pieces]
    assert all(before[1] <= after[0] for before, after in zip(pieces, pieces[1:], strict=False))
    assert sum(window.speech_s for window in cuts) == pytest.approx(60 * 9.9)


@pytest.fixture
def detector(monkeypatch):
    """What is not silent is speech, of which gaps of half a second are a part; blocks are short."""
    vad = pytest.importorskip("faster_whisper.vad", reason="needs the extra voice")

    def found(samples, options):
        loud = np.flatnonzero(samples)
        runs = np.split(loud, np.flatnonzero(np.diff(loud) > R // 2) + 1) if len(loud) else []
        return [{"start": int(run[0]), "end": int(run[-1]) + 1} for run in runs]

    monkeypatch.setattr(vad, "get_speech_timestamps", found)
    monkeypatch.setattr(windows, "BLOCK_S", 10)


def heard_in(seconds, *spans, pieces=7):
    """Windows of a recording with speech in these seconds, which comes in pieces; each sample is its number."""
    sound = np.zeros(round(seconds * R), np.float32)
    for start, end in spans:
        at = slice(round(start * R), round(end * R))
        sound[at] = np.arange(len(sound), dtype=np.float32)[at]
    return list(windows.windows(np.array_split(sound, pieces)))


def spans_of(found):
    return [(round(start / R, 2), round(end / R, 2)) for window in found for start, end in window.pieces]


def test_who_speaks_across_the_border_of_two_blocks_is_heard_in_one_piece(detector):
    (window,) = heard_in(25, (8, 12))
    assert spans_of([window]) == [(7.6, 12.4)]
    assert window.speech_s == 4
    assert window.samples[round(0.5 * R)] == round(8.1 * R)


@pytest.mark.parametrize("start", [9.3, 9.5, 9.9, 10.0, 10.2, 10.5])
def test_speech_at_the_border_of_two_blocks_keeps_what_is_around_it(detector, start):
    found = heard_in(40, (1, 3), (start, start + 2))
    assert spans_of(found) == [(0.6, 3.4), (round(start - 0.4, 2), round(start + 2.4, 2))]


def test_a_pause_at_the_border_is_heard_once(detector):
    found = spans_of(heard_in(40, (7, 9.39), (10, 12), pieces=40))
    assert found == [(6.6, 9.79), (9.79, 12.4)]


def test_who_speaks_without_end_is_heard_all_the_same(detector):
    found = heard_in(25, (0.1, 25))
    pieces = [piece for window in found for piece in window.pieces]
    assert pieces[0][0] == 0
    assert pieces[-1][1] == 25 * R
    assert all(before[1] == after[0] for before, after in pairwise(pieces))


def test_a_recording_is_read_no_further_than_it_is_heard(detector):
    read = []

    def sound():
        for number in range(60):
            read.append(number)
            yield np.ones(R, np.float32) if number % 5 < 3 else np.zeros(R, np.float32)

    found = windows.windows(sound())
    next(found)
    assert len(read) <= 40, "28 s of speech, and a block"
    assert len(list(found)) == 1


def test_pieces_of_any_length_make_the_same_windows(detector):
    spans = [(start, start + 2.7) for start in range(1, 90, 4)]
    once = heard_in(95, *spans, pieces=1)
    often = heard_in(95, *spans, pieces=991)
    assert spans_of(once) == spans_of(often)
    for one, other in zip(once, often, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)


def noises(seconds=8):
    random, t = np.random.default_rng(3), np.arange(seconds * R) / R
    chord = sum(np.sin(2 * np.pi * f * k * t) / k for f in (220, 277, 330) for k in range(1, 9))
    return {
        "silence": np.zeros(seconds * R),
        "white noise": random.normal(0, 0.1, seconds * R),
        "hum": sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 12)) * 0.1,
        "a chord": chord / np.abs(chord).max() * 0.5,
    }


@pytest.mark.parametrize("name", noises())
def test_silence_noise_and_music_never_reach_whisper(name):
    pytest.importorskip("faster_whisper", reason="needs the extra voice")
    fake = FakeWhisper(said("Thank you."))
    heard = fake.hear(noises()[name].astype(np.float32))
    assert (heard.segments, heard.speech_s, heard.text, heard.confidence) == ((), 0.0, "", 0.0)
    assert fake.asked == []


# What is believed: figures of the measurement that phantoms.py tells of


@pytest.mark.parametrize(
    ("text", "speech_s", "confidence", "no_speech", "compression"),
    [
        ("10 of cloves.", 0.9, 0.53, 0.05, 0.6),
        ("5 5", 1.2, 0.45, 0.24, 0.3),
        ("Ever tried, ever failed. No matter, try again.", 4.4, 0.92, 0.14, 1.2),
        ("1,001 90210 01803", 4.7, 0.58, 0.72, 0.7),
        ("and says, how do I get to Dublin?", 26.0, 0.87, 0.57, 1.6),
        ("Thank you.", 0.6, 0.95, 0.02, 0.6),
        ("Thank you.", 1.5, 0.6, 0.02, 0.6),
        ("Bye.", 0.4, 0.8, 0.1, 0.3),
    ],
)
def test_what_people_said_is_believed(text, speech_s, confidence, no_speech, compression):
    assert is_believable(text, speech_s, confidence, no_speech, compression)


@pytest.mark.parametrize(
    ("text", "speech_s", "confidence", "no_speech", "compression"),
    [
        ("you", 5.0, 0.08, 0.70, 0.3),
        ("I'm going to put it on the side.", 5.0, 0.24, 0.76, 0.8),
        ("I'm not sure if I can do it.", 5.0, 0.19, 0.57, 0.8),
        ("I'm a... I'm a... I'm a...", 5.0, 0.48, 0.61, 1.3),
        ("I'm not a man, " * 30, 20.0, 0.93, 0.2, 19.2),
        ("Thank you.", 0.5, 0.6, 0.1, 0.6),
        ("Thanks for watching!", 4.0, 0.65, 0.4, 0.9),
        ("Subtitles by the Amara.org community", 0.9, 0.69, 0.1, 1.0),
        ("...", 3.0, 0.9, 0.0, 1.0),
        ("What I would like to say about this subject is that it is of importance.", 0.5, 0.9, 0.0, 1.0),
    ],
)
def test_what_nobody_said_is_not_believed(text, speech_s, confidence, no_speech, compression):
    assert not is_believable(text, speech_s, confidence, no_speech, compression)


# Hearing


def test_an_utterance_becomes_segments_with_times_of_the_recording(monkeypatch):
    speaking(monkeypatch, (5, 8))
    fake = FakeWhisper(said(" What is LoRA? ", 0.4, 2.4, 0.8))
    heard = fake.hear(SPEECH, "LoRA, BM25")
    assert heard.segments == (Segment("What is LoRA?", pytest.approx(5.0), pytest.approx(7.0), 0.8),)
    assert (heard.language, heard.speech_s) == ("en", 3.0)
    assert fake.asked == [(pytest.approx(3.8), "en", "LoRA, BM25")]


def test_the_language_that_the_first_window_told_holds_for_the_rest(monkeypatch):
    speaking(monkeypatch, (0, 25), (30, 55))
    fake = FakeWhisper(said("Guten Tag."), language="", told="de")
    assert fake.hear(np.zeros(60 * R, np.float32)).language == "de"
    assert [language for _, language, _ in fake.asked] == ["", "de"]


def test_a_window_that_is_not_believed_tells_no_language(monkeypatch):
    speaking(monkeypatch, (0, 25), (30, 55))
    fake = FakeWhisper(said("you", confidence=0.1), language="", told="cy")
    assert fake.hear(np.zeros(60 * R, np.float32)).language == "en"
    assert [language for _, language, _ in fake.asked] == ["", ""]


def test_a_long_recording_is_followed_until_somebody_stops_it(monkeypatch):
    speaking(monkeypatch, (0, 25), (30, 55), (60, 85))
    fake, stop = FakeWhisper(said("One.")), Event()
    segments = fake.follow([np.zeros(90 * R, np.float32)], stopped=stop.is_set)
    assert next(segments).start_s == 0
    stop.set()
    assert list(segments) == []
    assert len(fake.asked) == 1


def test_a_question_is_heard_while_a_lecture_is_followed(monkeypatch):
    speaking(monkeypatch, (0, 25), (30, 55))
    fake, lecture = FakeWhisper(said("One.")), np.zeros(60 * R, np.float32)
    segments = fake.follow([lecture])
    next(segments)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(fake.hear, lecture).result(timeout=5).text == "One. One."


def test_a_language_that_the_weights_do_not_know_is_named():
    with pytest.raises(CourseError, match=r"'xx'.*one of de, en.*voice\.language"):
        FakeWhisper(language="xx")


# The recogniser of the settings


@pytest.fixture
def fresh():
    listening._build.cache_clear()
    yield
    listening._build.cache_clear()


def test_weights_that_do_not_listen_are_refused(fresh):
    with pytest.raises(MissingModel, match=r"all-minilm-l6-v2 does not understand speech.*faster-whisper-base"):
        listening.recogniser(VoiceSettings(model="all-minilm-l6-v2"))


def test_weights_that_are_not_here_name_the_command(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("LECTERN_MODELS_DIR", str(tmp_path))
    with pytest.raises(MissingModel, match="lectern models pull faster-whisper-base"):
        listening.recogniser(VoiceSettings())


@pytest.fixture
def weights(fresh, tmp_path, monkeypatch):
    """A folder that looks like weights."""
    for name in ("tokenizer.json", "model.bin"):
        (tmp_path / name).write_bytes(b"{}")
    monkeypatch.setattr(listening, "model_path", lambda name: tmp_path)
    return tmp_path


@pytest.mark.parametrize(("listener", "package"), [("faster-whisper", "faster_whisper"), ("openai-whisper", "whisper")])
def test_a_missing_package_names_the_remedy(weights, monkeypatch, listener, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CourseError, match=f"package {listener}, which is not installed.*(make voice|openai-whisper\\])"):
        listening.recogniser(VoiceSettings(listener=listener))


def test_damaged_weights_name_the_remedy(weights):
    pytest.importorskip("faster_whisper", reason="needs the extra voice")
    with pytest.raises(CourseError, match="--repair"):
        listening.recogniser(VoiceSettings())


def test_without_a_tokenizer_the_hub_is_not_asked(weights):
    (weights / "tokenizer.json").unlink()
    with pytest.raises(CourseError, match=r"lacks tokenizer\.json"):
        listening.recogniser(VoiceSettings())


# Weights of CTranslate2


def ct2(tensors, version=6, kind="WhisperSpec"):
    def text(value):
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    types = ("float32", "int8", "int16", "int32", "float16", "bfloat16")
    body = struct.pack("<I", version) + text(kind) + struct.pack("<II", 3, len(tensors))
    for name, value in tensors.items():
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        body += text(name) + shape + struct.pack("<BI", types.index(str(value.dtype)), value.nbytes) + value.tobytes()
    return body + struct.pack("<I", 0)


def whisper_of_one_layer(key_bias=0.0):
    random = np.random.default_rng(0)

    def some(*shape):
        return random.normal(size=shape).astype(np.float16)

    tensors = {
        "encoder/num_heads": np.array(2, np.int16),
        "encoder/conv1/weight": some(4, 8, 3),
        "encoder/conv1/bias": some(4),
        "encoder/conv2/weight": some(4, 4, 3),
        "encoder/conv2/bias": some(4),
        "decoder/embeddings/weight": some(11, 4),
    }
    for side, context in (("encoder", 6), ("decoder", 5)):
        tensors[f"{side}/position_encodings/encodings"] = some(context, 4)
        parts = {"self_attention": (12, 4), "ffn": (16, 4)} | ({"attention": (4, 8, 4)} if side == "decoder" else {})
        for name, norm in [("layer_norm", ""), *((f"layer_0/{part}/layer_norm", "") for part in parts)]:
            tensors |= {f"{side}/{name}/gamma{norm}": some(4), f"{side}/{name}/beta{norm}": some(4)}
        for part, rows in parts.items():
            for number, height in enumerate(rows):
                width = 16 if part == "ffn" and number == 1 else 4
                tensors[f"{side}/layer_0/{part}/linear_{number}/weight"] = some(height, width)
                tensors[f"{side}/layer_0/{part}/linear_{number}/bias"] = some(height)
        tensors[f"{side}/layer_0/self_attention/linear_0/bias"][4:8] = key_bias
    tensors["decoder/layer_0/attention/linear_1/bias"][:4] = key_bias
    return tensors


def test_every_tensor_is_cut_and_named_as_openai_s(tmp_path):
    tensors = whisper_of_one_layer()
    (tmp_path / "model.bin").write_bytes(ct2(tensors))
    dims, weights = converted(read(tmp_path / "model.bin"))
    assert dims == {
        "n_mels": 8, "n_audio_ctx": 6, "n_audio_state": 4, "n_audio_head": 2, "n_audio_layer": 1,
        "n_vocab": 11, "n_text_ctx": 5, "n_text_state": 4, "n_text_head": 2, "n_text_layer": 1,
    }  # fmt: skip
    stacked = tensors["decoder/layer_0/self_attention/linear_0/weight"]
    np.testing.assert_array_equal(weights["decoder.blocks.0.attn.value.weight"], stacked[8:].astype(np.float32))
    crossed = tensors["decoder/layer_0/attention/linear_1/weight"]
    np.testing.assert_array_equal(weights["decoder.blocks.0.cross_attn.key.weight"], crossed[:4].astype(np.float32))
    assert "encoder.blocks.0.attn.key.bias" not in weights
    assert sum(weight.size for weight in weights.values()) == sum(t.size for t in tensors.values()) - 1 - 3 * 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ct2(whisper_of_one_layer(), version=5), "version 5"),
        (ct2(whisper_of_one_layer(), kind="TransformerSpec"), "a TransformerSpec"),
        (ct2(whisper_of_one_layer())[:-900], "ends too early"),
        (ct2({"encoder/conv1/weight_scale": np.ones(3, np.float32)}), "quantised"),
    ],
)
def test_weights_that_are_not_whole_and_whisper_s_are_refused(tmp_path, content, message):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "model.bin")


def test_a_key_with_a_bias_cannot_be_whisper_s():
    with pytest.raises(ValueError, match="bias for its keys"):
        converted(whisper_of_one_layer(key_bias=0.5))


def test_a_missing_tensor_is_named():
    tensors = whisper_of_one_layer()
    del tensors["decoder/layer_norm/gamma"]
    with pytest.raises(ValueError, match="no decoder/layer_norm/gamma"):
        converted(tensors)


# `lectern transcribe`


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs `lectern transcribe` with a recogniser that hears two segments in a.wav, and nothing in silence.wav."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LECTERN_DATA_DIR", str(tmp_path / "data"))
    load_settings.cache_clear()
    settings = []

    def recogniser(voice):
        settings.append(voice)
        return FakeWhisper(said("What is LoRA?", 0.4, 1.6, 0.8123), said("And BM25?", 1.6, 3.0, 0.9))

    monkeypatch.setattr(listening, "recogniser", recogniser)
    monkeypatch.setattr("assistant.voice.decoding.length_s", lambda path, longest_s: 3700.0)
    monkeypatch.setattr("assistant.voice.decoding.decoded", decode_fake)
    window = Window(SPEECH, 3.0, ((3599 * R, 3609 * R),))
    monkeypatch.setattr(whisper, "windows", lambda sound: [window] if sum(map(len, sound)) else [])

    def run(*arguments):
        result = CliRunner().invoke(cli.app, ["transcribe", *arguments])
        return result, settings[-1] if settings else None

    yield run
    load_settings.cache_clear()


def decode_fake(path, longest_s):
    if path.name == "bad.wav":
        raise CourseError("bad.wav is no recording.", "Give another.")
    yield np.zeros(0 if path.name == "silence.wav" else 9, np.float32)


def test_each_line_has_the_time_at_which_it_begins(command):
    result, _ = command("a.wav")
    assert result.stdout == "00:59:59  What is LoRA?\n01:00:00  And BM25?\n"
    assert result.exit_code == 0


def test_words_alone(command):
    assert command("a.wav", "--text")[0].stdout == "What is LoRA?\nAnd BM25?\n"


def test_subtitles(command):
    assert command("a.wav", "--srt")[0].stdout == (
        "1\n00:59:59,400 --> 01:00:00,600\nWhat is LoRA?\n\n2\n01:00:00,600 --> 01:00:02,000\nAnd BM25?\n\n"
    )


def test_json_is_one_object_a_file(command):
    result, _ = command("a.wav", "silence.wav", "--json")
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["text"] == "What is LoRA? And BM25?"
    assert first["segments"][0] == {"text": "What is LoRA?", "start_s": 3599.4, "end_s": 3600.6, "confidence": 0.81}
    assert second == {"file": "silence.wav", "text": "", "segments": []}
    assert "silence.wav: nobody speaks" in result.stderr


def test_model_and_language_of_the_command_count(command):
    _, voice = command("a.wav", "--model", "faster-whisper-tiny.en", "--language", "")
    assert (voice.model, voice.language) == ("faster-whisper-tiny.en", "")


def test_a_bad_file_is_named_and_the_others_are_heard(command):
    result, _ = command("bad.wav", "a.wav", "--text")
    assert result.stdout == "# a.wav\nWhat is LoRA?\nAnd BM25?\n"
    assert "bad.wav is no recording. Give another." in result.stderr
    assert result.exit_code == 1


def test_a_bad_file_alone_is_an_error(command):
    result, _ = command("bad.wav")
    assert isinstance(result.exception, CourseError)
    assert command("bad.wav", "bad.wav")[0].exit_code == 2


def test_options_that_exclude_each_other_are_refused(command):
    assert isinstance(command("a.wav", "--json", "--srt")[0].exception, CourseError)
    assert isinstance(command("a.wav", "b.wav", "--srt")[0].exception, CourseError)


# With real weights


def real(model="faster-whisper-tiny.en"):
    try:
        return model_path(model)
    except MissingModel as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def spoken():
    """A synthetic voice says a sentence."""
    pytest.importorskip("pyttsx3", reason="needs the extra voice")
    from assistant.voice.audio import to_heard
    from assistant.voice.espeak import EspeakVoice

    voice = EspeakVoice()
    try:
        return to_heard(voice.say("The teacher explains the lesson, and the students ask questions.").samples.tobytes())
    except CourseError as error:
        pytest.skip(str(error))
    finally:
        voice.close()


@pytest.mark.model
def test_faster_whisper_hears_a_voice_and_when_it_spoke(spoken):
    pytest.importorskip("faster_whisper", reason="needs the extra voice")
    from assistant.voice.whisper_fast import FastWhisper

    silence = np.zeros(5 * R, np.float32)
    heard = FastWhisper(real(), "en", 1).hear(np.concatenate([silence, spoken, silence]))
    words = heard.text.lower().replace(",", "").rstrip(".").split()
    assert len({"teacher", "explains", "lesson", "students", "ask", "questions"} & set(words)) >= 4
    assert 4 < heard.segments[0].start_s < 6
    assert heard.segments[-1].end_s < 6 + len(spoken) / R


@pytest.mark.model
def test_both_engines_compute_the_same_from_the_same_weights(spoken):
    pytest.importorskip("faster_whisper", reason="needs the extra voice")
    pytest.importorskip("whisper", reason="needs openai-whisper")
    from assistant.voice.whisper_fast import FastWhisper
    from assistant.voice.whisper_openai import OpenAIWhisper

    fast, published = FastWhisper(real(), "en", 1, "float32").hear(spoken), OpenAIWhisper(real(), "en").hear(spoken)
    assert published.text == fast.text
    assert published.confidence == pytest.approx(fast.confidence, abs=0.01)


@pytest.mark.model
def test_an_english_model_knows_no_german():
    pytest.importorskip("faster_whisper", reason="needs the extra voice")
    from assistant.voice.whisper_fast import FastWhisper

    with pytest.raises(CourseError, match="only English"):
        FastWhisper(real(), "de", 1)
