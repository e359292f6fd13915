import io
import struct
import tracemalloc
import wave

import numpy as np
import pytest

from assistant.voice.audio import HeardStream, read_audio, to_heard, to_pcm, to_spoken, write_wav
from assistant.voice.recognise import HEARD_RATE
from assistant.voice.speech import SPOKEN_RATE
from knowledge.errors import CourseError, UnreadableFile

av = pytest.importorskip("av", reason="needs the extra voice")

# container and codec of what a student may drop into the page
FORMATS = {
    "a.wav": "pcm_s16le",
    "a.mp3": "libmp3lame",
    "a.m4a": "aac",
    "a.ogg": "libopus",
    "a.flac": "flac",
    "a.webm": "libopus",
}


def tone(seconds, rate, hertz=440.0, peak=0.5):
    return (np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate) * peak).astype(np.float32)


def pitch(samples, rate):
    return np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples)


def encode(path, codec, samples, rate=48_000, tracks=1):
    with av.open(str(path), "w") as out:
        streams = [out.add_stream(codec, rate=rate, layout="stereo") for _ in range(tracks)]
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.repeat(to_pcm(samples)[None], 2, 1), format="s16", layout="stereo")
            frame.sample_rate = rate
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                out.mux(packet)
    return path


def wav(path, data, rate=16_000, kind=1, bits=16, channels=1):
    """A WAV with any header over any data."""
    layout = struct.pack("<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_recordings_of_every_kind_are_read_at_the_rate_of_whisper(tmp_path, name):
    samples = read_audio(encode(tmp_path / name, FORMATS[name], tone(2, 48_000)), 60)
    assert samples.dtype == np.float32
    assert len(samples) / HEARD_RATE == pytest.approx(2, abs=0.1)  # encoders pad
    assert pitch(samples, HEARD_RATE) == pytest.approx(440, abs=3)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.06)


def test_what_a_file_is_its_bytes_say(tmp_path):
    encode(tmp_path / "a.ogg", "libopus", tone(1, 48_000)).rename(tmp_path / "a.wav")
    assert len(read_audio(tmp_path / "a.wav", 60)) / HEARD_RATE == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "content",
    [b"", b"# Bayes\n\nThe posterior is the likelihood times the prior.", b"RIFF\x24\x00\x00\x00WAVE", bytes(range(256)) * 40],
    ids=["empty", "text", "only a header", "bytes"],
)
def test_what_is_no_recording_is_named(tmp_path, content):
    (tmp_path / "talk.mp3").write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"talk\.mp3") as caught:
        read_audio(tmp_path / "talk.mp3", 60)
    assert caught.value.remedy


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(UnreadableFile, match="no file"):
            read_audio(path, 60)


def test_a_recording_of_no_length_has_no_sound(tmp_path):
    with pytest.raises(UnreadableFile, match="no sound in it"):
        read_audio(wav(tmp_path / "a.wav", b""), 60)


def test_a_film_without_sound_is_told_so(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    with pytest.raises(UnreadableFile, match="no sound track"):
        read_audio(tmp_path / "a.mp4", 60)


def test_a_file_of_very_many_tracks_is_refused(tmp_path):
    path = encode(tmp_path / "a.mka", "pcm_s16le", tone(0.1, 48_000), tracks=33)
    with pytest.raises(UnreadableFile, match="33 tracks"):
        read_audio(path, 60)


def test_too_long_a_recording_is_told_its_length_and_the_setting(tmp_path):
    path = encode(tmp_path / "a.flac", "flac", np.zeros(48_000 * 180, np.float32))
    with pytest.raises(UnreadableFile, match=r"3 minutes long; recordings may have 2 minutes.*voice\.longest_recording_min"):
        read_audio(path, 120)


def test_decoding_stops_at_the_limit_whatever_the_file_claims(tmp_path):
    """An MP3 says nothing of its length."""
    path = encode(tmp_path / "a.mp3", "libmp3lame", np.zeros(48_000 * 120, np.float32))
    whole = path.read_bytes()
    path.write_bytes(whole[len(whole) // 100 :])  # without the header that LAME writes
    tracemalloc.start()
    with pytest.raises(UnreadableFile, match="too long; recordings may have 0.1 minutes"):
        read_audio(path, 6)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 6 * HEARD_RATE * 4


def test_a_rate_that_would_blow_a_file_up_is_refused(tmp_path):
    with pytest.raises(UnreadableFile, match="1 samples a second"):
        read_audio(wav(tmp_path / "a.wav", bytes(40), rate=1), 60)


def test_a_playlist_opens_no_other_file(tmp_path):
    wav(tmp_path / "secret.wav", to_pcm(tone(1, 16_000)).tobytes())
    (tmp_path / "a.mp3").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(UnreadableFile):
        read_audio(tmp_path / "a.mp3", 60)


def test_a_recording_that_was_cut_short_is_heard_as_far_as_it_goes(tmp_path):
    path = encode(tmp_path / "a.mp3", "libmp3lame", tone(4, 48_000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(read_audio(path, 60)) / HEARD_RATE == pytest.approx(2, abs=0.3)


def test_a_damaged_recording_is_refused(tmp_path):
    path = encode(
        tmp_path / "a.flac", "flac", tone(4, 48_000) + np.random.default_rng(0).normal(0, 0.1, 192_000).astype(np.float32)
    )
    data = bytearray(path.read_bytes())
    for at in range(9_000, len(data), 700):
        data[at : at + 8] = b"\xff\xf8\x00\x00\xde\xad\xbe\xef"
    path.write_bytes(bytes(data))
    with pytest.raises(UnreadableFile, match="damaged"):
        read_audio(path, 60)


def test_floats_that_are_no_sound_stay_within_bounds(tmp_path):
    odd = np.array([0.1, np.nan, np.inf, -np.inf, 1e30, 0.2] * 2_000, np.float32)
    samples = read_audio(wav(tmp_path / "a.wav", odd.tobytes(), kind=3, bits=32), 60)
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1


def test_chunks_of_any_size_give_what_the_whole_gives():
    pcm = to_pcm(tone(1, SPOKEN_RATE)).tobytes()
    random, stream, parts, at = np.random.default_rng(7), HeardStream(), [], 0
    while at < len(pcm):
        size = int(random.integers(0, 3_000))
        parts.append(stream.feed(pcm[at : at + size]))
        at += size
    heard = np.concatenate([*parts, stream.end()])
    np.testing.assert_array_equal(heard, to_heard(pcm))
    np.testing.assert_allclose(heard[200:-200], tone(1, HEARD_RATE)[200:-200], atol=2e-3)


def test_a_stream_takes_one_byte_after_the_other():
    pcm, stream = to_pcm(tone(0.05, SPOKEN_RATE)).tobytes(), HeardStream()
    heard = np.concatenate([*(stream.feed(pcm[i : i + 1]) for i in range(len(pcm))), stream.end()])
    np.testing.assert_array_equal(heard, to_heard(pcm))


def test_a_stream_that_ended_begins_anew():
    pcm, stream = to_pcm(tone(0.3, SPOKEN_RATE)).tobytes(), HeardStream()
    stream.feed(pcm + b"\x01")  # half a sample is forgotten
    stream.end()
    np.testing.assert_array_equal(np.concatenate([stream.feed(pcm), stream.end()]), to_heard(pcm))
    assert len(HeardStream().end()) == 0


@pytest.mark.parametrize("rate", [22_050, 24_000, 16_000])
def test_a_voice_of_any_rate_is_played_at_the_page_s(rate):
    for samples in (tone(1, rate), to_pcm(tone(1, rate))):
        spoken = to_spoken(samples, rate)
        assert spoken.dtype == np.int16
        assert len(spoken) == pytest.approx(SPOKEN_RATE, abs=5)
        assert pitch(spoken, SPOKEN_RATE) == pytest.approx(440, abs=2)
        assert np.abs(spoken).max() == pytest.approx(0.5 * 32767, rel=0.02)


def test_nothing_to_say_is_no_sound():
    assert len(to_spoken(np.zeros(0, np.int16), 22_050)) == 0


def test_floats_beyond_the_bounds_do_not_wrap():
    assert to_pcm(np.array([2.0, -2.0, 0.0], np.float32)).tolist() == [32767, -32767, 0]


def test_a_written_wav_is_read_again(tmp_path):
    samples = to_pcm(tone(0.5, SPOKEN_RATE))
    write_wav(tmp_path / "a.wav", samples, SPOKEN_RATE)
    with wave.open(io.BytesIO((tmp_path / "a.wav").read_bytes())) as back:
        assert (back.getnchannels(), back.getsampwidth(), back.getframerate()) == (1, 2, SPOKEN_RATE)
        np.testing.assert_array_equal(np.frombuffer(back.readframes(back.getnframes()), np.int16), samples)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(CourseError, match="cannot be written"):
        write_wav(tmp_path / "no" / "a.wav", np.zeros(9, np.int16), SPOKEN_RATE)
