"""A claim against its evidence as a row of numbers: what overlap, the exact checks and, where there is one, the encoder say."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from course_guard.support.exact import Facts, compare, facts
from knowledge.embedding import Vectors
from knowledge.lexical import terms

WINDOW = 3  # sentences
PREMISES = 3  # windows that the encoder reads for one claim, and one more that joins the best sentences
_PREMISE_WORDS = 170  # with a claim of 40 words within the 256 tokens that the encoder reads
_FRAGMENT = 3  # content words; less means something only with the question
_CLAUSE = re.compile(r"[,;:.]\s+|\s+(?:and|but|which|because|while|whereas|although|so that|who|since|unless)\s+")

LEXICAL = (
    "similarity", "similarity_mean", "covered_sentence", "covered_window", "covered_all", "worst_clause", "scattered",
    "uncovered",
)  # fmt: skip
EXACT = (
    "numbers_missing", "numbers_far", "numbers_unbound", "names_missing", "names_far", "negation_added", "negation_dropped",
    "opposites", "absolutes", "disorder", "reversed",
)  # fmt: skip
ENCODER = ("entailment",)  # the highest logit over the premises
NAMES = (*LEXICAL, *EXACT, *ENCODER)
RISING = frozenset({
    "similarity", "similarity_mean", "covered_sentence", "covered_window", "covered_all", "worst_clause", *ENCODER,
})  # more of these never makes a claim less likely to be supported, more of the others never more likely  # fmt: skip

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """The evidence of one question, cut into sentences.

    Args:
        question: that the claims answer, or empty.
        sentences: of all passages, in order.
        passage: for each sentence, the number of its passage.
        vectors: unit vectors of the sentences, shape (sentences, dimension).
    """

    question: str
    sentences: Sequence[str]
    passage: Sequence[int]
    vectors: Vectors

    def window(self, place: int) -> tuple[int, int]:
        """Half-open range of the sentences that are read with sentence `place`: its neighbours in the same passage."""
        reach = WINDOW // 2
        same = [n for n in range(place - reach, place + reach + 1) if 0 <= n < len(self.sentences)]
        same = [n for n in same if self.passage[n] == self.passage[place]]
        return same[0], same[-1] + 1

    def text(self, start: int, end: int) -> str:
        """Sentences `start` to `end` as one text."""
        return " ".join(self.sentences[start:end])

    @cached_property
    def terms(self) -> tuple[frozenset[str], ...]:
        """Stemmed content words of each sentence."""
        return tuple(frozenset(terms(sentence)) for sentence in self.sentences)

    @cached_property
    def asked(self) -> frozenset[str]:
        """Stemmed content words of the question."""
        return frozenset(terms(self.question))

    @cached_property
    def everything(self) -> Facts:
        """What evidence and question say exactly."""
        return facts("\n".join((self.question, *self.sentences)))


@dataclass(frozen=True, slots=True)
class Reading:
    """One claim against its evidence, before the encoder has read anything.

    Attributes:
        values: by name; those of ENCODER are missing.
        scores: overlap of the claim with each sentence of the evidence.
        premises: texts for the encoder, best first.
        claim: for the encoder; a fragment comes with its question.
    """

    values: dict[str, float]
    scores: Floats
    premises: tuple[str, ...]
    claim: str


def is_fragment(claim: str) -> bool:
    """Whether a claim, such as "63.2%", means something only as an answer to its question."""
    return len(set(terms(claim))) <= _FRAGMENT


def read(claim: str, vectors: Vectors, evidence: Evidence) -> Reading:
    """Set a claim against the evidence.

    Args:
        claim: one sentence with at least one content word.
        vectors: unit vectors of its readings, shape (readings, dimension): itself, and if a fragment also with its question.
        evidence: with at least one sentence.
    """
    wanted = frozenset(terms(claim))
    similar = (evidence.vectors @ vectors.T).mean(axis=1).astype(np.float64)
    covered = np.array([_share(wanted, there | evidence.asked) for there in evidence.terms])
    scores = 0.5 * np.maximum(similar, 0) + 0.5 * covered
    best = int(scores.argmax())
    start, end = evidence.window(best)
    window = evidence.text(start, end)
    near = frozenset().union(*evidence.terms[start:end]) | evidence.asked
    everywhere = frozenset().union(*evidence.terms) | evidence.asked
    clauses = _clauses(claim)
    sources = _clauses(window) or [near]
    values = {
        "similarity": float(similar.max()),
        "similarity_mean": float(np.sort(similar)[-3:].mean()),
        "covered_sentence": float(covered.max()),
        "covered_window": _share(wanted, near),
        "covered_all": _share(wanted, everywhere),
        "worst_clause": min((_share(part, near) for part in clauses), default=1.0),
        "scattered": max((_share(part, near) - max(_share(part, there) for there in sources) for part in clauses), default=0.0),
        "uncovered": float(np.log1p(len(wanted - everywhere))),
    }
    said = facts(claim)
    values |= compare(said, facts(evidence.sentences[best]), facts(window), evidence.everything)
    text = f"{evidence.question} {claim}" if evidence.question and is_fragment(claim) else claim
    return Reading(values, scores, tuple(_premises(scores, evidence)), text)


def row(values: dict[str, float], names: Sequence[str]) -> Floats:
    """The values in the order of `names`."""
    return np.array([values[name] for name in names], dtype=np.float64)


def _premises(scores: Floats, evidence: Evidence) -> list[str]:
    """The windows around the best sentences, none inside another, and the best sentences of different windows together."""
    ranges: list[tuple[int, int]] = []
    centres: list[int] = []
    for place in np.argsort(-scores, kind="stable"):
        if any(start <= place < end for start, end in ranges):
            continue
        ranges.append(evidence.window(int(place)))
        centres.append(int(place))
        if len(ranges) == PREMISES:
            break
    found = [_cut(evidence.text(start, end)) for start, end in ranges]
    if len(centres) > 1:
        found.append(_cut(" ".join(evidence.sentences[place] for place in sorted(centres))))
    return found


def _cut(text: str) -> str:
    return " ".join(text.split()[:_PREMISE_WORDS])


def _clauses(text: str) -> list[frozenset[str]]:
    return [found for part in _CLAUSE.split(text) if (found := frozenset(terms(part)))]


def _share(wanted: frozenset[str], there: frozenset[str]) -> float:
    return len(wanted & there) / len(wanted) if wanted else 1.0
