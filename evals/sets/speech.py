"""Recordings of people with transcripts, sentences of the starter course to be spoken, and sounds in which nobody speaks."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from assistant.voice.recognise import HEARD_RATE, Samples
from evals.task import Sample, split_of
from knowledge.errors import CourseError
from knowledge.ingest import STARTER_COURSE
from knowledge.loaders.load import load
from knowledge.sentences import sentence_spans

_SAID = re.compile(r'transcript:? "([^"]+)"')
_FILE = re.compile(r"^\| (\S+\.(?:wav|flac)) \|", re.MULTILINE)
_CARD = re.compile(r"<s>(.+?)</s> \((\w+)\)")
_SPOKEN = 105  # sentences of the course
_WORDS = range(8, 26)
_UNSPEAKABLE = re.compile(r"[`$|=<>{}\\/_\[\]*#]|https?:|[^\x00-\x7f’‘“”–é]")
SOUNDS = ("silence", "white noise", "pink noise", "hum", "chords", "melody", "drums", "clicks")
_CLIPS = 5  # of each
CLIP_S = 30


def people(folder: Path) -> Iterator[Sample]:
    """Recordings whose words PROVENANCE.md or a file beside them tells.

    Args:
        folder: with PROVENANCE.md, LDC93S1.txt and cards.transcription.

    Raises:
        CourseError: one of these is missing.
    """
    known: dict[str, str] = {}
    for part in _text(folder / "PROVENANCE.md").split("\n## "):
        if said := _SAID.search(part):
            known |= dict.fromkeys(_FILE.findall(part), said[1])
    line = _text(folder / "LDC93S1.txt").split(maxsplit=2)[2].strip()
    known |= {"LDC93S1.wav": line, "LDC93S1_pcms16le_1_8000.wav": line}
    known |= {f"{name}.wav": words.strip() for words, name in _CARD.findall(_text(folder / "cards.transcription"))}
    for name, words in sorted(known.items()):
        if (folder / name).is_file():
            yield Sample(name, {"recording": name}, {"said": words}, name, split_of(name))


def course() -> Iterator[Sample]:
    """Sentences of the starter course that can be read aloud as they stand, about three of each lesson."""
    found: list[tuple[str, str]] = []
    for path in sorted(STARTER_COURSE.glob("*.md")):
        document = load(path)
        texts = [document.text[block.start : block.end] for block in document.blocks if block.kind == "text"]
        sentences = [" ".join(text[a:b].split()) for text in texts for a, b in sentence_spans(text)]
        good = [s for s in sentences if len(s.split()) in _WORDS and not _UNSPEAKABLE.search(s) and s[0].isupper()]
        random.Random(path.stem).shuffle(good)
        found += [(path.stem, sentence) for sentence in good[:3]]
    random.Random(0).shuffle(found)
    for number, (lesson, sentence) in enumerate(sorted(found[:_SPOKEN]), start=1):
        yield Sample(f"{lesson[:2]}-{number}", {"text": sentence}, {"said": sentence}, lesson, split_of(lesson))


def nothing() -> Iterator[Sample]:
    """Twenty minutes without a word, in clips."""
    for sound in SOUNDS:
        for seed in range(_CLIPS):
            name = f"{sound} {seed}"
            yield Sample(name.replace(" ", "-"), {"sound": sound, "seed": seed}, {"said": ""}, name, split_of(name))


def make_sound(kind: str, seed: int) -> Samples:
    """One clip of CLIP_S seconds, peak at most 0.3; the same arguments give the same samples."""
    draw = np.random.default_rng([SOUNDS.index(kind), seed])
    count = CLIP_S * HEARD_RATE
    time = np.arange(count) / HEARD_RATE
    if kind == "silence":
        return np.zeros(count, dtype=np.float32)
    if kind == "white noise":
        made = draw.standard_normal(count)
    elif kind == "pink noise":
        spectrum = np.fft.rfft(draw.standard_normal(count))
        made = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), count)
    elif kind == "hum":
        base = draw.choice([50.0, 60.0])
        made = 0.02 * draw.standard_normal(count)
        made += np.sum([np.sin(2 * np.pi * base * n * time) / n for n in (1, 2, 3, 5, 7)], axis=0)
    elif kind == "chords":
        made = np.sum([_notes(draw, time, 2.0, 220 * 2 ** (step / 12)) for step in (0, 4, 7, 12)], axis=0)
    elif kind == "melody":
        made = _notes(draw, time, 0.4, 330.0)
    elif kind == "drums":
        made = draw.standard_normal(count) * np.exp(-25 * (time % draw.choice([0.4, 0.5, 0.6])))
    else:
        made = np.where(draw.random(count) < 3 / HEARD_RATE, draw.choice([-1.0, 1.0], count), 0.0)
    return np.asarray(0.3 * made / np.abs(made).max(), dtype=np.float32)


def _notes(draw: np.random.Generator, time: np.ndarray, length: float, base: float) -> np.ndarray:
    """Notes of a major scale with harmonics that die away."""
    steps = draw.choice([0, 2, 4, 5, 7, 9, 11, 12], size=int(CLIP_S / length) + 1)
    pitch = base * 2 ** (steps[(time / length).astype(int)] / 12)
    phase = 2 * np.pi * np.cumsum(pitch) / HEARD_RATE
    overtones = np.sum([np.sin(n * phase) / n for n in (1, 2, 3, 4)], axis=0)
    return np.asarray(np.exp(-3 * (time % length)) * overtones)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror}.", "Name the folder of public data with --data.") from error
