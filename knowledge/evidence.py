"""What of the course goes into a prompt: one whole section, and the best sentences from elsewhere.

The computed state of a section can be loaded, so all of it is free; every token after it costs 15 ms on two cores. So other
sections give only sentences that are about as good as the best of the section itself, and none if it stands clear of the rest.
While a section's state is not there yet, the best sentences of the best passages must do. The constants were chosen on the
development half of evals/bench/evidence.py, which prints what they achieve; docs/log.md has what was tried.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from knowledge.catalogue import Sentences
from knowledge.embedding import Vectors
from knowledge.index import CourseIndex
from knowledge.lexical import LexicalIndex, terms
from knowledge.passage import Passage, RankedPassage
from knowledge.retrieval import Retrieved
from knowledge.settings import EvidenceSettings

TokenCounter = Callable[[str], int]
Span = tuple[int, int]

_RUNNER_UP = 0.15  # what a section's second best passage adds; more, or a vote of all, chooses worse in the starter course
_SIMILARITY = 0.5  # against 1 for the share of the question's words and 1 for the score of the passage
_PER_TOKEN = 0.0015  # a sentence must be worth the time that it takes to read
_WORTH_READING = 0.5  # share of the best score in the section; what scores less only distracts
_LEAST = 12  # tokens that no excerpt falls below, its place named
_GAP = " … "
_CLOSED = re.compile(r"[.!?:…]['\"”’)\]*_]*$")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Sentences of one passage.

    Attributes:
        spans: half-open character ranges of `passage.text`, in reading order; neighbouring sentences are one span.
        tokens: of the text and the line that names its place.
    """

    passage: Passage
    spans: tuple[Span, ...]
    tokens: int

    @property
    def text(self) -> str:
        """The sentences, with a mark where some were left out between them."""
        return _GAP.join(self.passage.text[start:end] for start, end in self.spans)


@dataclass(frozen=True, slots=True)
class Plan:
    """The evidence for one question: `section` and `extras` if the section's state is there, else `pruned` instead of both.

    Attributes:
        section_id: names the state.
        section: every passage of the section, in reading order.
        extras: from other sections, in the order in which their passages were found; empty if the section stands clear.
        pruned: from any section, likewise.
    """

    section_id: str
    section: tuple[Passage, ...]
    extras: tuple[Excerpt, ...]
    pruned: tuple[Excerpt, ...]

    @property
    def section_tokens(self) -> int:
        """Of the section's passages, in the embedder's tokens."""
        return sum(passage.tokens for passage in self.section)

    @property
    def extra_tokens(self) -> int:
        """Of the extras."""
        return sum(excerpt.tokens for excerpt in self.extras)

    @property
    def pruned_tokens(self) -> int:
        """Of the pruned evidence."""
        return sum(excerpt.tokens for excerpt in self.pruned)

    def passages(self, cold: bool) -> tuple[Passage, ...]:
        """What an answer can cite, in the order of the prompt."""
        if cold:
            return tuple(excerpt.passage for excerpt in self.pruned)
        return (*self.section, *(excerpt.passage for excerpt in self.extras))


class EvidencePlanner:
    """Chooses the evidence for a question.

    Args:
        index: the course.
        settings: sizes.
        count_tokens: of the model that will read the evidence; without it the embedder's count stands in.
    """

    def __init__(
        self, index: CourseIndex, settings: EvidenceSettings | None = None, count_tokens: TokenCounter | None = None
    ) -> None:
        self._index = index
        self._settings = settings or EvidenceSettings()
        self._count_tokens = count_tokens or index.embedder.count_tokens

    def plan(self, question: str, found: Retrieved) -> Plan | None:
        """Choose.

        Args:
            question: the standalone question that was searched for.
            found: what was found; up to `settings.candidates` of its passages are looked at.

        Returns:
            The plan, or None if there is nothing to choose from.
        """
        ranked = found.passages[: self._settings.candidates]
        if not ranked or not (section := self._index.section_passages(best_section(ranked))):
            return None  # nothing found, or another process has just replaced the document
        asked = _Question(found.vector, _weights(question, self._index.lexical()), {r.passage.id: r.score for r in ranked})
        passages = {p.id: p for p in (*(r.passage for r in ranked), *section)}
        stored = self._index.sentences(list(passages))
        pieces = [piece for id_, passage in passages.items() if id_ in stored for piece in asked.judge(passage, stored[id_])]
        pieces.sort(key=lambda piece: -piece.score)  # equals stay in order of rank, then of reading
        here = [piece for piece in pieces if piece.passage.section_id == section[0].section_id]
        best_here = max((piece.score for piece in here), default=0.0)
        extras = self._pick(
            pieces, self._settings.clear * best_here, self._settings.extra_tokens, {piece.text for piece in here}
        )
        found_pieces = [piece for piece in pieces if piece.passage.id in asked.found]
        pruned = self._pick(found_pieces, _WORTH_READING * best_here, self._settings.pruned_tokens, set())
        order = list(passages)  # by rank
        by_rank = [sorted(chosen, key=lambda excerpt: order.index(excerpt.passage.id)) for chosen in (extras, pruned)]
        return Plan(section[0].section_id, section, tuple(by_rank[0]), tuple(by_rank[1]))

    def _pick(self, pieces: Iterable["_Piece"], floor: float, budget: int, seen: set[str]) -> list[Excerpt]:
        """The best pieces that reach `floor`, say nothing twice and fit, gathered by passage."""
        chosen: dict[str, Excerpt] = {}
        for piece in pieces:
            if piece.score < floor or budget < _LEAST:
                break
            if piece.text in seen:
                continue
            before = chosen.get(piece.passage.id)
            after = self._excerpt(piece.passage, (*before.spans, *piece.spans) if before else piece.spans)
            cost = after.tokens - (before.tokens if before else 0)
            if cost <= budget:
                seen.add(piece.text)
                chosen[piece.passage.id] = after
                budget -= cost
        return list(chosen.values())

    def _excerpt(self, passage: Passage, spans: Iterable[Span]) -> Excerpt:
        joined: list[Span] = []
        for start, end in sorted(spans):
            if joined and not passage.text[joined[-1][1] : start].strip():
                start, _ = joined.pop()
            joined.append((start, end))
        place = " > ".join(dict.fromkeys((passage.title, *passage.heading)))
        excerpt = Excerpt(passage, tuple(joined), 0)
        return replace(excerpt, tokens=self._count_tokens(f"{place}:\n{excerpt.text}\n\n"))


def best_section(ranked: Sequence[RankedPassage]) -> str:
    """Id of the section whose best passage, with a little of its second best, scores highest."""
    scores: dict[str, list[float]] = {}
    for item in ranked:
        scores.setdefault(item.passage.section_id, []).append(item.score)
    return max(scores, key=lambda id_: scores[id_][0] + _RUNNER_UP * sum(scores[id_][1:2]))


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is taken or left as a whole: a sentence, or all of a table."""

    passage: Passage
    spans: tuple[Span, ...]
    score: float

    @property
    def text(self) -> str:
        return self.passage.text[self.spans[0][0] : self.spans[-1][1]]


@dataclass(frozen=True, slots=True)
class _Question:
    """What pieces are compared with: the question's vector and words, and the scores of the passages that it found."""

    vector: Vectors
    weights: Mapping[str, float]
    found: Mapping[str, float]

    def judge(self, passage: Passage, sentences: Sentences) -> Iterator[_Piece]:
        """The pieces of a passage, in reading order."""
        similarity = sentences.vectors.astype(np.float32) @ self.vector
        prose = sum(bool(_CLOSED.search(passage.text[start:end])) for start, end in sentences.spans)
        if 2 * prose < len(sentences.spans):  # the rows of a table, lines of code or points of a list mean little alone
            yield self._piece(passage, sentences.spans, float(similarity.max()))
            return
        for span, nearness in zip(sentences.spans, similarity.tolist(), strict=True):
            yield self._piece(passage, (span,), nearness)

    def _piece(self, passage: Passage, spans: tuple[Span, ...], similarity: float) -> _Piece:
        start, end = spans[0][0], spans[-1][1]
        words = sum(self.weights[term] for term in self.weights.keys() & set(terms(passage.text[start:end])))
        tokens = passage.tokens * (end - start) / len(passage.text)
        score = _SIMILARITY * similarity + words + self.found.get(passage.id, 0.0) - _PER_TOKEN * tokens
        return _Piece(passage, spans, score)


def _weights(question: str, lexical: LexicalIndex) -> dict[str, float]:
    """What each content word of the question counts, by rarity; together 1."""
    rarity = {term: lexical.rarity(term) for term in terms(question)}
    total = sum(rarity.values()) or 1.0
    return {term: value / total for term, value in rarity.items()}
