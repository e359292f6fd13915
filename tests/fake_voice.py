"""A recogniser and a voice without weights: what is "said" is a tone, and its pitch says which words were meant."""

import time

import numpy as np

from assistant.voice.recognise import HEARD_RATE, Heard, Segment
from assistant.voice.speech import SPOKEN_RATE, Speech

WORDS = {  # hertz -> words, confidence
    300: ("What does dropout do during training?", 0.9),
    400: ("Tell me a long story about training", 0.9),
    500: ("Stop.", 0.9),
    600: ("Uh-huh.", 0.9),
    700: ("Sentence 0 about training.", 0.9),  # what the fake chain's long story begins with: an echo
    800: ("What is the weather?", 0.9),
    900: ("What does drop art do?", 0.2),
    1000: ("Yes.", 0.9),
    1100: ("Is something missing?", 0.9),
    1200: ("", 0.0),  # noise that the detector takes for speech
    1300: ("Is this broken?", 0.9),
}


def say(hertz, seconds=1.0, rate=HEARD_RATE):
    """A tone as float32 samples."""
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def silence(seconds, rate=HEARD_RATE):
    """Nothing."""
    return np.zeros(int(seconds * rate), np.float32)


def pcm(samples):
    """As the page sends it."""
    return (samples * 32767).astype("<i2").tobytes()


def loudness(samples):
    """A detector of tones."""
    return [0.95 if np.abs(window).max() > 0.02 else 0.02 for window in samples.reshape(-1, 512)]


class FakeEars:
    """Speaks Recogniser; `slow` is the seconds that it takes."""

    name = "fake"

    def __init__(self, slow=0.0):
        self.slow, self.heard, self.hints = slow, [], []

    def hear(self, samples, hints=""):
        """The words of the tone's pitch."""
        time.sleep(self.slow)
        self.heard.append(len(samples) / HEARD_RATE)
        self.hints.append(hints)
        padded = np.concatenate([samples, np.zeros(max(0, HEARD_RATE - len(samples)), np.float32)])
        hertz = np.abs(np.fft.rfft(padded)).argmax() * HEARD_RATE / len(padded)
        text, confidence = WORDS[min(WORDS, key=lambda known: abs(known - hertz))]
        seconds = len(samples) / HEARD_RATE
        return Heard((Segment(text, 0.0, seconds, confidence),) if text else (), "en", seconds)

    def follow(self, samples, stopped=lambda: False):
        """All at once."""
        yield from self.hear(samples).segments


class FakeVoice:
    """Speaks Voice; a sentence lasts `seconds`, and takes `slow` seconds to make."""

    name = "fake"

    def __init__(self, seconds=0.3, slow=0.0):
        self.seconds, self.slow, self.said, self.broken = seconds, slow, [], None
        self.warmed = 0

    def say(self, text):
        """A tone for it."""
        if self.broken:
            raise self.broken
        time.sleep(self.slow)
        self.said.append(text)
        return Speech((say(440, self.seconds, SPOKEN_RATE) * 32767).astype(np.int16), text)

    def warm(self):
        """Counted."""
        self.warmed += 1

    def close(self):
        """Nothing to free."""
