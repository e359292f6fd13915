"""The events of one turn gathered into one value: what `lectern ask --json` prints and the history keeps."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from assistant.events import Done, Dropped, Evidence, Guarded, Refusal, Sentence, Turn, TurnEvent
from course_guard.verdict import Verdict
from knowledge.passage import Citation, Passage, RankedPassage


@dataclass(slots=True)
class Answer:
    """A finished turn."""

    turn: Turn
    evidence: Evidence | None = None
    sentences: list[Sentence] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    refusal: Refusal | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    done: Done | None = None

    def add(self, event: TurnEvent) -> None:
        """Take one event in."""
        match event:
            case Guarded():
                self.verdicts.extend(event.verdicts)
                if event.question is not None:
                    self.turn = replace(self.turn, question=event.question)
            case Evidence():
                self.evidence = event
            case Sentence():
                self.sentences.append(event)
            case Dropped():
                self.dropped.append(event)
            case Refusal():
                self.refusal = event
            case Done():
                self.done = event

    @property
    def text(self) -> str:
        """The shown answer as Markdown, without citation marks."""
        return "".join(s.lead + s.text for s in self.sentences).strip()

    def as_json(self) -> dict[str, Any]:
        """The object of `lectern ask --json`; keys as README lists them."""
        return {
            "id": self.done.turn_id if self.done else None,
            "question": self.turn.question,
            "standalone": self.evidence.standalone if self.evidence else self.turn.question,
            "answer": self.text,
            "sentences": [
                {"text": s.text, "support": round(s.support, 3), "citations": [citation_json(c) for c in s.citations]}
                for s in self.sentences
            ],
            "dropped": [{"text": d.text, "reason": d.reason} for d in self.dropped],
            "evidence": [ranked_json(r) for r in self.evidence.passages] if self.evidence else [],
            "left_out": list(self.evidence.left_out) if self.evidence else [],
            "cold": self.evidence is not None and self.evidence.cold,
            "refused": self.refusal is not None,
            "rule": self.refusal.rule if self.refusal else None,
            "reason": self.refusal.reason if self.refusal else None,
            "suggestions": list(self.refusal.suggestions) if self.refusal else [],
            "verdicts": [verdict_json(verdict) for verdict in self.verdicts],
            "stopped": self.done.stopped if self.done else True,
            "model": self.done.model if self.done else None,
            "prompt_tokens": self.done.prompt_tokens if self.done else None,
            "cached_tokens": self.done.cached_tokens if self.done else None,
            "timings": self.done.timings if self.done else {},
        }


def collect(turn: Turn, events: Iterable[TurnEvent]) -> Answer:
    """All events of a turn as one Answer."""
    answer = Answer(turn)
    for event in events:
        answer.add(event)
    return answer


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """What a guard decided, and why."""
    return {**asdict(verdict), "action": str(verdict.action), "score": round(verdict.score, 3)}


def citation_json(citation: Citation) -> dict[str, Any]:
    """A citation's place: document, heading, page, quote and character span."""
    span = {"number": citation.number, "quote": citation.quote, "start": citation.start, "end": citation.end}
    return {**_place(citation.passage), **span}


def ranked_json(ranked: RankedPassage) -> dict[str, Any]:
    """A passage of the evidence with its scores."""
    passage = ranked.passage
    scores = {"score": round(ranked.score, 5), "similarity": round(ranked.similarity, 4)}
    return {**_place(passage), "passage": passage.id, "text": passage.text, **scores}


def _place(passage: Passage) -> dict[str, Any]:
    return {
        "document": passage.title,
        "source": passage.source,
        "heading": " > ".join(passage.heading),
        "page": passage.page,
    }
