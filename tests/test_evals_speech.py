"""What is spoken and heard in evaluations, and how it is counted."""

import json

import numpy as np
import pytest

from evals.scorers.hearing import PHANTOMS, hearing, real_time_factor, word_error_rate
from evals.sets import speech
from evals.task import Sample

pytest.importorskip("jiwer")


def sample(said):
    return Sample("1", {}, {"said": said}, "g", "test")


def output(text, seconds=1.0, audio=4.0):
    return {"heard": {"clean": {"text": text, "confidence": 0.9, "seconds": seconds}}, "audio_s": audio}


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("Adam keeps two averages.", "adam keeps 2 averages", 0),
        ("It's twenty per cent.", "it is 20%", 0),
        ("The rank of a matrix.", "The bank of matrix.", 2),
        ("a very good rank", "", 4),
        ("rank", "the rank again", 2),
        ("Normalisation minimises the colour.", "normalization minimizes the color", 0),
        ("He analysed his advice.", "he analyzed his advise", 1),
    ],
)
def test_errors_are_words_whatever_their_spelling(said, heard, errors):
    assert hearing(sample(said), output(heard))["errors: clean"] == errors


def test_the_rate_is_of_all_words_together():
    rows = [hearing(sample("rank of a matrix"), output("rank of a")), hearing(sample("vector"), output("factor"))]
    assert word_error_rate("clean").compute(rows) == pytest.approx(2 / 5)
    assert real_time_factor().compute(rows) == pytest.approx(2 / 8)
    assert word_error_rate("noise").compute(rows) is None


def test_words_where_nobody_speaks_are_counted():
    rows = [hearing(sample(""), output("Thank you.", audio=30)), hearing(sample(""), output("", audio=30))]
    words, minutes = (metric.compute(rows) for metric in PHANTOMS)
    assert (words, minutes) == (2, 1)


def test_sounds_are_what_they_are_called_and_the_same_each_time():
    for kind in speech.SOUNDS:
        made = speech.make_sound(kind, 1)
        assert (made.dtype, len(made)) == (np.float32, speech.CLIP_S * 16_000)
        assert np.abs(made).max() == pytest.approx(0.0 if kind == "silence" else 0.3)
        assert np.array_equal(made, speech.make_sound(kind, 1))
    assert sum(1 for _ in speech.nothing()) * speech.CLIP_S == 20 * 60


def test_sentences_of_the_course_can_be_spoken_as_they_stand():
    found = list(speech.course())
    assert len(found) >= 100
    assert len({s.group for s in found}) > 30
    assert all("`" not in s.input["text"] and 8 <= len(s.input["text"].split()) <= 25 for s in found)


def test_transcripts_are_read_from_beside_the_recordings(tmp_path):
    (tmp_path / "PROVENANCE.md").write_text(
        '# speech\n\n## one\n- note: transcript: "Some words."\n\n| a.flac | x | 1 |\n\n## two\n\n| b.wav | x | 1 |\n'
    )
    (tmp_path / "LDC93S1.txt").write_text("0 46797 She had it.\n")
    (tmp_path / "cards.transcription").write_text("<s> ten of clubs  </s> (001)\n")
    for name in ("a.flac", "b.wav", "LDC93S1.wav", "001.wav"):
        (tmp_path / name).touch()
    found = {s.input["recording"]: s.target["said"] for s in speech.people(tmp_path)}
    assert found == {"a.flac": "Some words.", "LDC93S1.wav": "She had it.", "001.wav": "ten of clubs"}
    assert json.dumps(found)
