"""The trained verifier behind the protocols of course_guard.grounding."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from course_guard.grounding import Checker, OverlapVerifier, StoredSentences, Support
from course_guard.settings import GroundingSettings
from course_guard.support.calibration import Calibration, Calibrator, read_calibration
from course_guard.support.encoder import PairReader
from course_guard.support.exact import facts
from course_guard.support.features import Evidence, Reading, is_fragment, read
from knowledge.catalogue import Sentences
from knowledge.embedding import Embedder
from knowledge.errors import CourseError
from knowledge.index import embedded_sentences
from knowledge.lexical import terms
from knowledge.passage import Citation, Passage

_BLOCK = re.compile(r"\s*(?:```|~~~|\||\$\$)")  # code, tables and formulas are no language that the encoder has learnt
WRONG_NUMBER = 0.1  # what is left of the probability where a number stands in no source: too little to be shown


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a sentence of the evidence stands: in the text of its passage, and the number that the passage is cited by."""

    number: int
    passage: Passage
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.passage.text[self.start : self.end]

    def citation(self) -> Citation:
        first = self.passage.start
        return Citation(self.number, self.passage, self.text, first + self.start, first + self.end)


class TrainedVerifier:
    """Support by overlap, exact checks and, where there is one, an encoder, calibrated to a probability.

    Args:
        embedder: for the sentences of answers.
        reader: the trained encoder or another model that reads pairs; without one there are overlap and exact checks.
        settings: `second_citation` is used; the threshold is the calibration's own unless `threshold` is given.
        stored: looks up the evidence's sentences, made by the same embedder; without it they are embedded for every question.
        calibration: as it ships with Lectern, unless given.
        threshold: lowest probability that counts as supported, instead of the fitted one.

    Raises:
        CourseError: there is no calibration, or none for this encoder.
    """

    def __init__(
        self,
        embedder: Embedder,
        reader: PairReader | None = None,
        settings: GroundingSettings | None = None,
        stored: StoredSentences | None = None,
        calibration: Calibration | None = None,
        threshold: float | None = None,
    ) -> None:
        calibration = calibration or read_calibration()
        self._embedder, self._reader, self._stored = embedder, reader, stored
        self._settings = settings or GroundingSettings()
        self._overlap = OverlapVerifier(embedder, self._settings.model_copy(update={"threshold": None}), stored)
        self._calibrator = _calibrator(calibration, reader)
        self.threshold = self._calibrator.threshold if threshold is None else threshold

    def against(self, passages: Sequence[Passage], question: str) -> "TrainedChecker":
        """Take the stored vectors of the evidence's sentences; embed those that there are none of, about 6 ms each."""
        stored = dict(self._stored([passage.id for passage in passages])) if self._stored else {}
        if missing := {p.id: p.text for p in passages if p.id not in stored}:
            stored |= embedded_sentences(missing, self._embedder)
        return TrainedChecker(self, passages, question, stored, partial(self._overlap.against, passages, question))

    def probability(self, reading: Reading) -> float:
        """Probability that what was read is supported; the encoder reads its premises, if there is an encoder."""
        values = dict(reading.values)
        if self._reader is not None:
            logits = self._reader.logits([(premise, reading.claim) for premise in reading.premises])
            values["entailment"] = float(logits.max())
        found = self._calibrator.probability(values)
        return found * WRONG_NUMBER if values["numbers_missing"] else found

    def read(self, sentence: str, evidence: Evidence) -> Reading:
        """Set one sentence against the evidence."""
        readings = [sentence, f"{evidence.question} {sentence}"] if evidence.question and is_fragment(sentence) else [sentence]
        return read(sentence, self._embedder.embed(readings), evidence)

    @property
    def second_citation(self) -> float:
        """How much more of a sentence a second passage must cover to be cited too."""
        return self._settings.second_citation


class TrainedChecker:
    """One turn's evidence, ready to be compared with sentences."""

    def __init__(
        self,
        verifier: TrainedVerifier,
        passages: Sequence[Passage],
        question: str,
        sentences: Mapping[str, Sentences],
        blocks: Callable[[], Checker],
    ) -> None:
        self._verifier, self._blocks = verifier, blocks
        self._places = [
            _Place(number, passage, start, end)
            for number, passage in enumerate(passages, start=1)
            for start, end in sentences[passage.id].spans
        ]
        vectors = [sentences[passage.id].vectors for passage in passages if sentences[passage.id].spans]
        self._evidence = (
            Evidence(
                question,
                [place.text for place in self._places],
                [place.number for place in self._places],
                np.concatenate(vectors).astype(np.float32),
            )
            if vectors
            else None
        )

    def check(self, sentence: str) -> Support:
        """Support of one sentence; Markdown marks do not matter."""
        if self._evidence is None:
            return Support(0.0, (), "There is no evidence to check it against.")
        if not terms(sentence):
            return Support(0.0, (), "It says nothing that could be checked.")
        if _BLOCK.match(sentence):
            return self._blocks().check(sentence)
        reading = self._verifier.read(sentence, self._evidence)
        probability = self._verifier.probability(reading)
        if probability < self._verifier.threshold or reading.values["numbers_missing"]:
            return Support(probability, (), _reason(sentence, reading, self._evidence))
        return Support(probability, tuple(place.citation() for place in self._cited(sentence, reading)))

    def _cited(self, sentence: str, reading: Reading) -> list[_Place]:
        """The best sentence, and one of another passage that covers words which the first passage lacks altogether."""
        evidence = self._evidence
        assert evidence is not None
        best = int(reading.scores.argmax())
        first = self._places[best]
        there = frozenset(terms(" ".join((first.passage.title, *first.passage.heading, first.passage.text))))
        wanted = frozenset(terms(sentence))
        lacking = wanted - there - evidence.asked
        least = max(1.0, self._verifier.second_citation * len(wanted))
        others = [n for n, place in enumerate(self._places) if place.number != first.number and reading.scores[n] > 0.3]
        gain = {n: len(lacking & evidence.terms[n]) for n in others}
        second = max(others, key=lambda n: (gain[n], reading.scores[n]), default=None)
        return [first, self._places[second]] if second is not None and gain[second] >= least else [first]


def _calibrator(calibration: Calibration, reader: PairReader | None) -> Calibrator:
    if reader is None:
        return calibration.without_encoder
    if calibration.with_encoder is None or calibration.encoder != reader.identity:
        raise CourseError(
            f"There is no calibration for {reader.identity}.", "Run: python -m finetune.guards.verifier.calibrate"
        )
    return calibration.with_encoder


def _reason(sentence: str, reading: Reading, evidence: Evidence) -> str:
    """Why a sentence is not supported, as far as the exact checks can tell."""
    values, said = reading.values, facts(sentence)
    if values["numbers_missing"]:
        missing = sorted({f"{value:g}" for value, _ in said.numbers if value not in evidence.everything.values})
        return f"No source has the number {', '.join(missing)}."
    if values["names_missing"]:
        return "It names something that no source names."
    if values["opposites"]:
        return "It says the opposite of its nearest source."
    if values["negation_added"] or values["negation_dropped"]:
        return "It denies what its nearest source says, or says what that denies."
    return "No passage supports it well enough."
