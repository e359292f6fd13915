"""Is a question an attack on the assistant: an injected instruction, a jailbreak, an attempt to get at its prompt?

A logistic regression over MiniLM embeddings and a few word patterns, on each reading of the text (normalise.py) and each of its
sentences; the highest counts, so that one bad sentence among good ones is enough. Trained by finetune/guards/injection.py.

What it misses: requests that are harmful without attacking the assistant (other questions than the course's are refused for
lack of evidence), attacks spread over several turns, and attacks in languages that MiniLM does not know.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from course_guard.encodings import Reading
from course_guard.normalise import readings
from course_guard.verdict import Finding
from knowledge.embedding import Embedder, Vectors
from knowledge.errors import CourseError
from knowledge.sentences import sentence_spans

WEIGHTS = Path(__file__).parents[1] / "weights/injection.json"
_WHOLE = 900  # characters that MiniLM reads at once; longer texts are read in pieces
_WINDOWS = 8  # embedded at most, about 6 ms each; those with cues first
_LEAST = 0.05  # a lower probability is no finding

_YOURS = r"(?:your|the|all|any|previous|prior|above|earlier|initial|hidden|secret|system|these|those|its|my|of)"
_ORDERS = r"(?:instructions?|rules?|guidelines?|prompts?|directions|commands?|restrictions?|filters?|programming|safeguards)"
_CUES = {  # name: what it looks like; transparent features beside the embedding, none decides alone
    "override": rf"\b(?:ignore|disregard|forget|override|bypass|drop|skip|violate)\W+(?:\w+\W+){{0,3}}?{_ORDERS}\b",
    "from now on": r"\bfrom now on\W+(?:you|act|ignore|do not|never|always)\b|\byou are (?:now|no longer)\b"
    r"|\bnew instructions?:",
    "extraction": rf"\b(?:reveal|print|show|repeat|display|output|leak|share|give)\W+(?:\w+\W+){{0,3}}?{_YOURS}\W+"
    r"(?:\w+\W+){0,2}?(?:prompts?|instructions?|configuration|guidelines|text above|words above)\b",
    "mode": r"\b(?:developer|debug|god|dan|jailbreak|unrestricted|maintenance|sudo|admin) mode\b|\bdo anything now\b",
    "role play": r"\b(?:pretend|act as|role-?play|imagine|stay in character|you are an? )\W+(?:\w+\W+){0,8}?"
    r"(?:no|without|un(?:restricted|filtered|censored)|evil|never refuses?)\b",
    "no limits": r"\bwithout (?:any )?(?:restrictions?|limits?|filters?|rules|censorship|ethics)\b|\bun(?:filtered|censored)\b",
    "marks of a prompt": r"<\|?/?(?:system|im_start|im_end|user|assistant)\b|\[/?INST\]"
    r"|^\s*(?:system|assistant)\s*:|###\s*instruction",
    "canned reply": r"\b(?:say|reply|respond|answer|output|print)\W+(?:\w+\W+){0,3}?(?:only|exactly|with|just)\b"
    r"[^.?]{0,40}[\"“'`]|\bpwned\b",
}  # fmt: skip
_PATTERNS = tuple(re.compile(pattern, re.IGNORECASE | re.MULTILINE) for pattern in _CUES.values())
CUES = tuple(_CUES)


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a reading that is judged by itself.

    Attributes:
        span: where it stands in the reading.
        cues: 1 for each cue that it shows, in the order of CUES.
    """

    reading: Reading
    span: tuple[int, int]
    cues: tuple[int, ...]

    @property
    def text(self) -> str:
        """What is embedded."""
        return self.reading.text[slice(*self.span)]


def windows(text: str) -> list[Window]:
    """At most 8 windows: of each reading the whole, if it is short, and its sentences; suspicious ones before others."""
    found: dict[str, Window] = {}
    for reading in readings(text):
        for span in _spans(reading.text):
            window = Window(reading, span, _cues(reading, span))
            found.setdefault(window.text, window)
    ranked = sorted(found.values(), key=lambda window: -sum(window.cues) - (window.reading.kind != "seen"))
    return ranked[:_WINDOWS]


class InjectionRule:
    """The classifier as a rule.

    Args:
        embedder: the one that the weights were trained with.
        weights: the file that `python -m finetune.guards.injection` writes.

    Raises:
        CourseError: the weights are missing or belong to another embedder.
    """

    name = "input.injection"

    def __init__(self, embedder: Embedder, weights: Path = WEIGHTS) -> None:
        self._embedder = embedder
        self._weights = weights
        wanted = self._model.embedder
        if embedder.identity.partition(":")[2] != wanted.partition(":")[2]:
            raise CourseError(
                f"The injection classifier belongs to the embedder {wanted}, not to {embedder.identity}.",
                "Switch the rule input.injection off in policy.toml, or train it: python -m finetune.guards.injection --help",
            )

    def look(self, text: str) -> Finding | None:
        """A finding with the calibrated probability as score and the sentences responsible as spans."""
        pieces = windows(text)
        if not pieces:
            return None
        probabilities = self.probabilities(pieces)
        score = float(probabilities.max())
        if score < _LEAST:
            return None
        guilty = [window for window, p in zip(pieces, probabilities, strict=True) if p >= max(0.5, 0.9 * score) or p == score]
        return Finding(_reason(guilty), _smallest([w.reading.original(*w.span) for w in guilty]), score)

    def probabilities(self, pieces: Sequence[Window]) -> Vectors:
        """For each window how likely it is an attack, shape (len(pieces),)."""
        features = np.hstack([self._embedder.embed([w.text for w in pieces]), [w.cues for w in pieces]])
        model = self._model
        logits = model.slope * (features @ model.coefficients + model.intercept) + model.offset
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), dtype=np.float32)

    @cached_property
    def _model(self) -> "_Model":
        try:
            stored = json.loads(self._weights.read_text(encoding="utf-8"))
            coefficients = np.asarray(stored["coefficients"], dtype=np.float32)
            return _Model(stored["embedder"], coefficients, float(stored["intercept"]), *map(float, stored["calibration"]))
        except (OSError, ValueError, KeyError) as error:
            problem = f"The weights of the injection rule cannot be read: {error}."
            raise CourseError(problem, "Install Lectern again.") from error


@dataclass(frozen=True, slots=True)
class _Model:
    """A logistic regression: coefficients of shape (dimension + cues,), and Platt's slope and offset on its logits."""

    embedder: str
    coefficients: Vectors
    intercept: float
    slope: float
    offset: float


def _spans(text: str) -> list[tuple[int, int]]:
    """The whole text if it is short, and its sentences, long ones cut."""
    sentences = sentence_spans(text)
    pieces = [(i, min(i + _WHOLE, end)) for start, end in sentences for i in range(start, end, _WHOLE)]
    if len(pieces) > 1 and sentences[-1][1] - sentences[0][0] <= _WHOLE:
        pieces.insert(0, (sentences[0][0], sentences[-1][1]))
    return pieces


def _cues(reading: Reading, span: tuple[int, int]) -> tuple[int, ...]:
    piece = reading.text[slice(*span)]
    return tuple(int(bool(pattern.search(piece))) for pattern in _PATTERNS)


def _reason(guilty: Sequence[Window]) -> str:
    names = [name for i, name in enumerate(CUES) if any(window.cues[i] for window in guilty)]
    hidden = "Hidden or encoded text" if any(window.reading.kind != "seen" for window in guilty) else "It"
    shown = f" ({', '.join(names)})" if names else ""
    return f"{hidden} reads like an attempt to change how the assistant works{shown}."


def _smallest(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Spans without those that hold another one, in order."""
    return tuple(sorted({a for a in spans if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in spans)}))
