"""What one turn streams. UI, CLI, API, voice and evals all consume these events and nothing else."""

from dataclasses import dataclass, field
from threading import Event

from knowledge.passage import Citation, RankedPassage


@dataclass(frozen=True, slots=True)
class Exchange:
    """One earlier question of the conversation and the answer that was shown."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A question to the assistant.

    Attributes:
        conversation: groups turns in the history; any string.
        earlier: the conversation so far, oldest first.
        sources: how many passages to answer from; None takes the setting.
        max_tokens: longest answer in tokens; None takes the setting.
        stop: set it from any thread to stop the answer; what was checked so far stays.
    """

    question: str
    conversation: str = ""
    earlier: tuple[Exchange, ...] = ()
    sources: int | None = None
    max_tokens: int | None = None
    stop: Event = field(default_factory=Event, compare=False)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the answer may draw on, before the first word of it. Passage i is cited as [i + 1]."""

    passages: tuple[RankedPassage, ...]
    standalone: str
    elapsed_ms: float


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
        rule: "not_covered", "unsupported" or the name of a guard rule.
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
        stopped: whether it ended early: by the reader, or by an error that is raised next.
        timings: evidence_ms, first_token_ms, first_sentence_ms, total_ms and tokens_per_s; None for what never came.
    """

    turn_id: str
    answer: str
    model: str
    stopped: bool
    prompt_tokens: int
    completion_tokens: int
    timings: dict[str, float | None]


TurnEvent = Evidence | Sentence | Dropped | Refusal | Done
