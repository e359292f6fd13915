"""Which sentence of the evidence supports a sentence of the answer?

The model writes, the verifier cites: small models cite badly, so citations come from here and never from the model's own
brackets. Support is the mean of embedding similarity and of the share of content words found in the source, and it is zero
where a number stands in the answer that stands neither in the evidence nor in the question, and where the answer says yes in
the words of a negated source.

What it misses: any other negated or swapped claim in the words of the source passes. A trained verifier behind the same
Protocol is the remedy.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from course_guard.settings import GroundingSettings
from knowledge.catalogue import Sentences
from knowledge.embedding import Embedder, Vectors
from knowledge.index import embedded_sentences
from knowledge.lexical import terms
from knowledge.passage import Citation, Passage

StoredSentences = Callable[[Sequence[str]], Mapping[str, Sentences]]  # by passage id, for those that are known

_THOUSANDS = re.compile(r"(?<![\d.])[1-9]\d{0,2}(?:[,\u00a0\u2009\u202f]\d{3})+(?!\d)")
_NUMBER = re.compile(r"(?<![\w.])\.?\d+(?:\.\d+)*")
_SMALL_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"
_NUMBER_WORDS = {word: str(number) for number, word in enumerate(_SMALL_NUMBERS.split())}
_FRAGMENT = 3  # content words
_THRESHOLD = 0.62
_YES = re.compile(r"\W*yes\b", re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:not|no|never|cannot|neither|nor)\b|n['’]t\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Support:
    """How well the evidence supports a sentence.

    Attributes:
        probability: 0 to 1.
        citations: the fewest passages that give the support, best first; empty if there is none.
        reason: why it is not supported, or empty.
    """

    probability: float
    citations: tuple[Citation, ...]
    reason: str = ""


class Checker(Protocol):
    """Checks the sentences of one answer against one turn's evidence."""

    def check(self, sentence: str) -> Support:
        """Support of one finished sentence."""


class Verifier(Protocol):
    """Makes a Checker for the evidence of a turn."""

    def against(self, passages: Sequence[Passage], question: str) -> Checker:
        """Prepare the evidence; passage i is cited as [i + 1]."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One sentence of the evidence."""

    number: int
    passage: Passage
    start: int
    end: int
    text: str
    terms: frozenset[str]


class OverlapVerifier:
    """Support by embedding similarity and word overlap; needs no weights beyond the embedder's.

    Args:
        embedder: for the sentences of answers.
        settings: when a sentence counts as supported.
        stored: looks up the evidence's sentences, made by the same embedder; without it they are embedded for every question.
    """

    def __init__(
        self, embedder: Embedder, settings: GroundingSettings | None = None, stored: StoredSentences | None = None
    ) -> None:
        self._embedder = embedder
        self._settings = settings or GroundingSettings()
        self._stored = stored

    def against(self, passages: Sequence[Passage], question: str) -> "OverlapChecker":
        """Take the stored vectors of the evidence's sentences; embed those that there are none of, about 6 ms each."""
        stored = dict(self._stored([passage.id for passage in passages])) if self._stored else {}
        if missing := {p.id: p.text for p in passages if p.id not in stored}:
            stored |= embedded_sentences(missing, self._embedder)
        return OverlapChecker(passages, question, stored, self._embedder, self._settings)


class OverlapChecker:
    """One turn's evidence, ready to be compared with sentences."""

    def __init__(
        self,
        passages: Sequence[Passage],
        question: str,
        sentences: Mapping[str, Sentences],
        embedder: Embedder,
        settings: GroundingSettings,
    ) -> None:
        self._embedder = embedder
        self._settings = settings
        self._question = question
        self._question_terms = _terms(question)
        self._sources = [
            _Source(number, passage, passage.start + a, passage.start + b, passage.text[a:b], _terms(passage.text[a:b]))
            for number, passage in enumerate(passages, start=1)
            for a, b in sentences[passage.id].spans
        ]
        self._context = {
            number: _terms(" ".join((passage.title, *passage.heading, passage.text)))
            for number, passage in enumerate(passages, start=1)
        }
        self._numbers = frozenset().union(*(_numbers(text) for text in (question, *(p.text for p in passages))))
        vectors = [sentences[passage.id].vectors for passage in passages if sentences[passage.id].spans]
        self._vectors: Vectors | None = np.concatenate(vectors).astype(np.float32) if self._sources else None

    def check(self, sentence: str) -> Support:
        """Support of one sentence; Markdown marks do not matter."""
        wanted = _terms(sentence)
        if self._vectors is None:
            return Support(0.0, (), "There is no evidence to check it against.")
        if not wanted:
            return Support(0.0, (), "It says nothing that could be checked.")
        if missing := _claimed_numbers(sentence) - self._numbers:
            return Support(0.0, (), f"No source has the number {', '.join(sorted(missing))}.")
        # "63.2%" means something only as an answer, so a fragment is compared with and without its question.
        readings = [sentence, f"{self._question} {sentence}"] if len(wanted) <= _FRAGMENT else [sentence]
        similarity = (self._vectors @ self._embedder.embed(readings).T).mean(axis=1)
        scores = np.array([self._score(s, wanted, float(c)) for s, c in zip(self._sources, similarity, strict=True)])
        best = int(scores.argmax())
        probability = min(1.0, float(scores[best]))
        if probability < (_THRESHOLD if self._settings.threshold is None else self._settings.threshold):
            return Support(probability, (), "No passage supports it well enough.")
        if _YES.match(sentence) and _NEGATION.search(self._sources[best].text) and not _NEGATION.search(sentence):
            return Support(0.0, (), "It says yes, but its source says that something is not so.")
        cited = [self._sources[best]]
        if (second := self._complement(wanted, cited[0], scores)) is not None:
            cited.append(second)
        citations = tuple(Citation(s.number, s.passage, s.text, s.start, s.end) for s in cited)
        return Support(probability, citations)

    def _score(self, source: _Source, wanted: frozenset[str], similarity: float) -> float:
        return 0.5 * max(0.0, similarity) + 0.5 * self._coverage(source, wanted)

    def _coverage(self, source: _Source, wanted: frozenset[str]) -> float:
        """Share of the words found: full marks in the cited sentence, nearly so elsewhere in its passage or the question."""
        near = self._context[source.number] | self._question_terms
        return sum(1.0 if w in source.terms else 0.8 if w in near else 0.0 for w in wanted) / len(wanted)

    def _complement(self, wanted: frozenset[str], first: _Source, scores: "np.ndarray") -> _Source | None:
        """A sentence of another passage that covers words which the first passage lacks altogether."""
        lacking = wanted - self._context[first.number] - self._question_terms
        best, gain = None, self._settings.second_citation * len(wanted)
        for source, score in zip(self._sources, scores, strict=True):
            covered = len(lacking & source.terms)
            if source.number != first.number and covered >= max(1.0, gain) and score > 0.3:
                best, gain = source, covered + 1e-9
        return best


def _terms(text: str) -> frozenset[str]:
    return frozenset(terms(_without_separators(text)))


def _without_separators(text: str) -> str:
    """1,024 as 1024."""
    return _THOUSANDS.sub(lambda found: "".join(filter(str.isdigit, found[0])), text)


def _numbers(text: str) -> frozenset[str]:
    """The numbers of a source, however they are written: with separators, superfluous zeros or as a word."""
    return _digits(text) | _number_words(text)


def _claimed_numbers(sentence: str) -> frozenset[str]:
    """The numbers that an answer must have from somewhere; the word "one" is seldom meant as a number."""
    return _digits(sentence) | (_number_words(sentence) - {"1"})


def _digits(text: str) -> frozenset[str]:
    return frozenset(_plain(number) for number in _NUMBER.findall(_without_separators(text)))


def _number_words(text: str) -> frozenset[str]:
    return frozenset(_NUMBER_WORDS[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _NUMBER_WORDS)


def _plain(number: str) -> str:
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    number = number.lstrip("0")
    return number if number and not number.startswith(".") else f"0{number}"
