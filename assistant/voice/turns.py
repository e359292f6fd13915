"""Whose turn it is to speak: sound in; beginnings, pauses, whole utterances and interjections out.

Push-to-talk takes everything from press to release; hands-free ends an utterance after a pause. Everything but the detector is
pure: `Turns` is told how probable speech is in each window, and the functions below look at words.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from assistant.voice.recognise import HEARD_RATE, Samples
from knowledge.errors import CourseError

WINDOW = 512  # samples: what Silero v6 takes at 16 kHz
WINDOW_MS = 1000 * WINDOW / HEARD_RATE

_CONTEXT = 64  # samples before a window that Silero sees with it
_SPEECH, _SILENCE = 0.5, 0.35  # Silero's own thresholds: speech begins above the one and ends below the other
_MIN_SPEECH_MS = 250
_LEAD_MS, _TAIL_MS = 400, 250  # kept around speech: soft consonants are no speech to Silero
_LOOK_MS = 600  # of speech after which an interjection is listened to, again and again
_BREATH_MS = 190  # of silence after which it is listened to as well: "stop" takes no 600 ms
_ECHO_SHARE = 0.7  # of the letters that are being spoken at that moment
_RUN = 3  # letters in a row that count as the same; shorter runs are found in any two sentences
_STOP = re.compile(
    r"(?:ok |okay |please |that is |that's |be )*(?:stop|quiet|enough|silence)"
    r"(?: stop| it| talking| speaking| please| now| thanks| thank you)*"
)

_LISTENING = frozenset(
    ["uh", "huh", "mm", "mhm", "hm", "hmm", "yeah", "yes", "yep", "ok", "okay", "oh", "ah", "um", "right", "sure"]
)

Detector = Callable[[Samples], list[float]]
"""Whole windows in, the probability of speech in each out; remembers what came before."""


@dataclass(frozen=True, slots=True)
class Started:
    """Somebody has begun to speak."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Somebody has stopped to speak, maybe for good.

    Attributes:
        samples: so far; exactly those of the Utterance if nothing follows.
    """

    samples: Samples


@dataclass(frozen=True, slots=True)
class Interjection:
    """Somebody speaks while something is spoken to them; it may be an echo.

    Attributes:
        samples: so far.
    """

    samples: Samples


@dataclass(frozen=True, slots=True)
class Utterance:
    """Somebody has finished.

    Attributes:
        samples: with a little silence on both sides; empty if nothing was said.
        silence_ms: that was heard after the last word before the end was clear.
        cut: whether the time was up.
    """

    samples: Samples
    silence_ms: float = 0.0
    cut: bool = False


Signal = Started | Pause | Interjection | Utterance


class Turns:
    """Tells utterances from the probability of speech, window by window.

    Args:
        hands_free: whether a pause ends an utterance; else only `release` does.
        pause_ms: that pause.
        longest_s: longest utterance.
    """

    def __init__(self, hands_free: bool, pause_ms: float, longest_s: float) -> None:
        self.spoken_to = False
        """Whether something can be heard from the other side, so that speech may be an interjection or an echo."""
        self._hands_free = hands_free
        self._pause = _windows(pause_ms)
        self._longest = _windows(longest_s * 1000)
        self._lead: deque[Samples] = deque(maxlen=_windows(_LEAD_MS))
        self._kept: list[Samples] = []
        self._speech = self._quiet = self._looked = 0  # windows: of speech, of silence since, of speech at the last look
        self._talking = False

    def feed(self, window: Samples, probability: float) -> Signal | None:
        """Take one window of 512 samples."""
        self._talking = probability >= (_SILENCE if self._talking else _SPEECH)
        if not self._kept and not self._talking:
            self._lead.append(window)
            return None
        if not self._kept:
            self._kept = list(self._lead)
        self._kept.append(window)
        self._speech += self._talking
        self._quiet = 0 if self._talking else self._quiet + 1
        if len(self._kept) >= self._longest:
            return self._end(cut=True)
        if self._hands_free and self._quiet >= self._pause:
            if self._speech >= _windows(_MIN_SPEECH_MS):
                return self._end()
            self._reset()  # a click, a cough
        return self._progress()

    def release(self) -> Utterance:
        """The button was let go: what was said, if anything."""
        if self._speech < _windows(_MIN_SPEECH_MS):
            self._reset()
            return Utterance(np.zeros(0, np.float32))
        return self._end()

    def _progress(self) -> Signal | None:
        long, unheard = self._speech >= _windows(_MIN_SPEECH_MS), self._speech - self._looked
        if self.spoken_to and long and unheard:
            if unheard >= _windows(_LOOK_MS) or self._quiet == _windows(_BREATH_MS):
                self._looked = self._speech
                return Interjection(np.concatenate(self._kept))
            return None
        if long and self._quiet == _windows(_TAIL_MS):
            return Pause(np.concatenate(self._kept))
        return Started() if self._talking and self._speech == _windows(_MIN_SPEECH_MS) else None

    def _end(self, cut: bool = False) -> Utterance:
        windows = self._kept[: len(self._kept) - max(0, self._quiet - _windows(_TAIL_MS))]
        utterance = Utterance(np.concatenate(windows), self._quiet * WINDOW_MS, cut)
        self._reset()
        return utterance

    def _reset(self) -> None:
        self._lead.clear()
        self._kept = []
        self._speech = self._quiet = self._looked = 0
        self._talking = False


class Listener:
    """Samples of any number in, signals out.

    Args:
        detector: for instance SpeechDetector(); each listener needs its own.
        turns: what decides.
    """

    def __init__(self, detector: Detector, turns: Turns) -> None:
        self.turns = turns
        self._detector = detector
        self._rest: Samples = np.zeros(0, np.float32)

    def feed(self, samples: Samples) -> list[Signal]:
        """Take what the microphone heard."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // WINDOW * WINDOW
        self._rest = samples[whole:]
        if not whole:
            return []
        windows = samples[:whole].reshape(-1, WINDOW)
        found = (self.turns.feed(*pair) for pair in zip(windows, self._detector(samples[:whole]), strict=True))
        return [signal for signal in found if signal is not None]


class SpeechDetector:
    """Silero's voice activity detector, version 6, as faster-whisper ships it, fed window by window.

    Raises:
        CourseError: faster-whisper is not installed.
    """

    def __init__(self) -> None:
        try:
            from faster_whisper.vad import get_vad_model
        except ModuleNotFoundError as error:
            raise CourseError("Listening needs faster-whisper, which is not installed.", "Run: make voice") from error
        self._session: Any = get_vad_model().session  # one for all; what it remembers is passed in and out
        self._memory = [np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32)]
        self._before: Samples = np.zeros(_CONTEXT, np.float32)

    def __call__(self, samples: Samples) -> list[float]:
        """The probability of speech in each window of `samples`, whose length is a multiple of WINDOW."""
        joined = np.concatenate([self._before, samples])
        self._before = joined[-_CONTEXT:]
        rows = np.lib.stride_tricks.sliding_window_view(joined, WINDOW + _CONTEXT)[::WINDOW]
        inputs = {"input": np.ascontiguousarray(rows), "h": self._memory[0], "c": self._memory[1]}
        probabilities, *self._memory = self._session.run(None, inputs)
        return [float(probability) for probability in probabilities.ravel()]


def is_stop(heard: str) -> bool:
    """Whether somebody asked for silence: "Stop.", "stop, please", "be quiet"."""
    return bool(_STOP.fullmatch(" ".join(_words(heard))))


def interrupts(heard: str, spoken: str) -> bool:
    """Whether words heard while `spoken` was being said are somebody's who wants to speak, or to have silence.

    One word is none, neither are signs of listening ("uh huh", "yes, right"), and neither is an echo: letters that `spoken` has
    in the same order, which finds it under recognition errors too.

    Args:
        heard: what was recognised.
        spoken: what was audible meanwhile; empty if nothing was.
    """
    words, echoed = _words(heard), set(_words(spoken))
    if is_stop(heard):
        return not set(words) <= echoed
    if len([word for word in words if word not in echoed | _LISTENING]) < 2:
        return False
    ours, theirs = "".join(words), "".join(_words(spoken))
    blocks = SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks if block.size >= _RUN) < _ECHO_SHARE * len(ours)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’-]\w+)*", text.lower())


def _windows(milliseconds: float) -> int:
    return max(1, round(milliseconds / WINDOW_MS))
