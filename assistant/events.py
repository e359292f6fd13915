"""What one turn streams. UI, CLI, API, voice and evals all consume these events and nothing else."""

import re
from dataclasses import dataclass, field
from threading import Event

from course_guard.verdict import Action, Verdict
from knowledge.passage import Citation, RankedPassage

_FOREMOST = 4
_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One earlier question of the conversation and the answer that was shown.

    Attributes:
        section_id: the section that the model answered from, or empty.
        prompted: what it was asked, word for word, where that is more than the question; empty if it was just the question.
    """

    question: str
    answer: str
    section_id: str = ""
    prompted: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question to the assistant.

    Attributes:
        conversation: groups turns in the history; any string.
        earlier: the conversation so far, oldest first.
        sources: how many of the best passages the answer may draw on; None takes the setting.
        max_tokens: longest answer in tokens; None takes the setting.
        noticed: what was decided about the question before it was read, such as that it came too soon after others.
        consent: whether who asks allows that the turn becomes training rows.
        stop: set it from any thread to stop the answer; what was checked so far stays.
    """

    question: str
    conversation: str = ""
    earlier: tuple[Exchange, ...] = ()
    sources: int | None = None
    max_tokens: int | None = None
    noticed: tuple[Verdict, ...] = ()
    consent: bool = False
    stop: Event = field(default_factory=Event, compare=False)

    def __post_init__(self) -> None:
        """Half a pair of surrogates, which a browser may send, can be neither kept nor read; it becomes U+FFFD."""
        object.__setattr__(self, "question", _HALF_PAIR.sub("\ufffd", self.question))


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the assistant itself that the reader should know, such as an adapter that cannot be used."""

    text: str


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the guards noticed: in the question, before anything else, or in a sentence of the answer, before it.

    Attributes:
        verdicts: of the rules that noticed something, also of those that only watch.
        question: as it goes on and is kept, masked where a rule masks; None if this is about the answer.
    """

    verdicts: tuple[Verdict, ...]
    question: str | None = None

    @property
    def warnings(self) -> list[str]:
        """What the reader is told beside the answer."""
        return [verdict.reason for verdict in self.verdicts if verdict.action is Action.WARN]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the answer may draw on, before the first word of it. Passage i is cited as [i + 1].

    Attributes:
        passages: those that the search found, best first, then the rest of the section that the model reads (score 0).
        standalone: what was searched for.
        cold: whether only the best sentences of them are read, because the section has not been read ahead.
        left_out: parts of the question that the course does not seem to cover, though it covers others.
    """

    passages: tuple[RankedPassage, ...]
    standalone: str
    elapsed_ms: float
    cold: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def foremost(self) -> int:
        """How many of the passages to list at once: those that were found, four at most; the rest is for whoever asks."""
        return sum(ranked.score > 0 for ranked in self.passages[:_FOREMOST])


@dataclass(frozen=True, slots=True)
class Sentence:
    """A checked sentence (or list item, or code block) that may be shown.

    Attributes:
        lead: white space and list marks that stand before it, so that `"".join(s.lead + s.text)` is the answer's Markdown.
        support: 0 to 1, how well the cited passages support it.
    """

    text: str
    lead: str
    citations: tuple[Citation, ...]
    support: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """A sentence that the model wrote and no passage supports: kept from the reader, kept in the history."""

    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """There is no answer.

    Attributes:
        rule: "not_covered", "underspecified", "unsupported" or the name of a guard rule.
        reason: one sentence for the reader.
        suggestions: the nearest topics that the course does cover.
    """

    rule: str
    reason: str
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The end of every turn, stopped or not.

    Attributes:
        turn_id: the key of the turn in the history; feedback refers to it.
        answer: the shown Markdown without citation marks; empty after a refusal.
        exchange: what belongs into `earlier` of the next turn of this conversation; None if nothing was answered.
        stopped: whether it ended early: by the reader, or by an error that is raised next.
        cached_tokens: of the prompt's tokens, how many did not have to be computed.
        timings: screen_ms, evidence_ms, first_token_ms, first_sentence_ms, total_ms and tokens_per_s; None for what never came.
    """

    turn_id: str
    answer: str
    model: str
    stopped: bool
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    timings: dict[str, float | None]
    exchange: Exchange | None = None


TurnEvent = Notice | Guarded | Evidence | Sentence | Dropped | Refusal | Done
