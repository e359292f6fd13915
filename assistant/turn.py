"""One turn from question to checked answer: search -> choose evidence -> prompt -> generate -> check each sentence."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Protocol

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage

from assistant.events import Evidence, Exchange, Guarded, Refusal, Sentence, Turn, TurnEvent
from assistant.guards import Guards
from assistant.memory import needs_context
from assistant.prompts import answer_prompt, asked_with, passage_prompt, section_block
from assistant.scope import Scope, scope_of
from assistant.settings import AnswerSettings
from assistant.writing import Writer
from course_guard.grounding import Checker, Verifier
from course_guard.question import Screening
from knowledge.evidence import EvidencePlanner, Plan
from knowledge.passage import Passage, RankedPassage
from knowledge.retrieval import CourseRetriever, Retrieved

_MOST_SUGGESTIONS = 3
_DROPPED_AT_ONCE = 4
UNCLEAR = "underspecified"
GRADED_WORK = "input.graded_work"  # a warning of this rule asks for a hint instead of a solution
Further = tuple[str, tuple[Passage, ...]]  # a section's id and its passages


class Sections(Protocol):
    """What the model has read of the course before it was asked."""

    def is_ready(self, section_id: str, passages: tuple[Passage, ...]) -> bool:
        """Whether a prompt that begins with this section can be answered without reading it."""

    def want(self, section_id: str) -> None:
        """Somebody has asked about this section: read it next."""

    def further(self, plan: Plan, found: Retrieved) -> Sequence[Further]:
        """Sections that can be joined to the one of the plan; none unless joining is switched on."""


class TurnRun:
    """One turn under way: its clock and its counts."""

    def __init__(
        self,
        model: BaseChatModel,
        settings: AnswerSettings,
        turn: Turn,
        sections: Sections | None,
        guards: Guards | None = None,
    ) -> None:
        self._settings, self._turn, self._sections, self._guards = settings, turn, sections, guards
        self._started = time.monotonic()
        self._screened_at: float | None = None
        self._screening: Screening | None = None
        self._evidence_at: float | None = None
        self._section_id = self._prompted = ""
        self.writer = Writer(model, turn.max_tokens or settings.max_tokens, turn.stop, guards)

    def timings(self) -> dict[str, float | None]:
        """As in Done."""
        return {
            "screen_ms": self._ms(self._screened_at),
            "evidence_ms": self._ms(self._evidence_at),
            "first_token_ms": self._ms(self.writer.first_token_at),
            "first_sentence_ms": self._ms(self.writer.first_sentence_at),
            "total_ms": self._ms(time.monotonic()),
            "tokens_per_s": self.writer.tokens_per_s(),
        }

    def exchange(self, answer: str) -> Exchange | None:
        """What the next turn needs to go on from here; `answer` is what was shown."""
        return Exchange(self._turn.question, answer, self._section_id, self._prompted) if answer else None

    def _ms(self, moment: float | None) -> float | None:
        return None if moment is None else round((moment - self._started) * 1000, 1)

    def events(self, retriever: CourseRetriever, planner: EvidencePlanner, verifier: Verifier) -> Iterator[TurnEvent]:
        """Everything but Done."""
        for noticed in self._screened():
            yield noticed
            if isinstance(noticed, Refusal):
                return
        yield from self._answered(retriever, planner, verifier)

    def _screened(self) -> Iterator[Guarded | Refusal]:
        """What the guards say of the question, which goes on as they leave it."""
        if not self._guards:
            return
        self._screening = screening = self._guards.question.screen(self._turn.question)
        self._screened_at = time.monotonic()
        self._turn = replace(self._turn, question=screening.text)
        verdicts = (*self._turn.noticed, *screening.verdicts)
        if verdicts:
            yield Guarded(verdicts, screening.text)
        if blocked := next((verdict for verdict in verdicts if not verdict.allowed), None):
            yield Refusal(blocked.rule, blocked.reason)

    def _answered(self, retriever: CourseRetriever, planner: EvidencePlanner, verifier: Verifier) -> Iterator[TurnEvent]:
        turn = self._turn
        scope = scope_of(turn, retriever)
        searched, found = scope.searched, scope.found
        if scope.left_out:
            turn = self._turn = replace(turn, question=searched)  # or the model answers the rest as well
        plan = planner.plan(searched, found) if found.covered and not scope.unclear else None
        topics = _topics(found.passages)
        if plan is None:
            yield self._evidence((), scope, False)
            yield (
                Refusal(UNCLEAR, "What do you mean? Please name the topic.", topics)
                if scope.unclear
                else Refusal("not_covered", "The course does not seem to cover this.", topics)
            )
            return
        cold = self._sections is not None and not self._sections.is_ready(plan.section_id, plan.section)
        further = self._sections.further(plan, found) if self._sections and not cold else ()
        read = [*plan.passages(cold), *(passage for _, passages in further for passage in passages)]
        ranked = _ranked(read, found.passages)
        yield self._evidence(ranked, scope, cold)
        warnings = self._screening.warnings if self._screening else ()
        if graded := next((verdict for verdict in warnings if verdict.rule == GRADED_WORK), None):
            yield Refusal(GRADED_WORK, graded.reason, topics)  # where to read, and no answer of the model
            return
        checker = verifier.against([item.passage for item in ranked], searched)
        best = ranked[0].passage if found.relevance >= self._settings.second_try else None
        yield from self._written(self._prompts(plan, cold, further, best), checker, ranked, topics)
        if cold and self._sections is not None:
            self._sections.want(plan.section_id)

    def _written(
        self,
        prompts: Iterable[list[BaseMessage]],
        checker: Checker,
        ranked: Sequence[RankedPassage],
        topics: tuple[str, ...],
    ) -> Iterator[TurnEvent]:
        """What the first prompt brings of which anything may be shown; else why nothing is."""
        sources = [item.passage.text for item in ranked]
        refusal = Refusal("unsupported", "The nearest passages of the course do not support an answer to this.")
        for messages in prompts:
            shown = False
            for event in self.writer.checked(messages, checker, sources):
                if isinstance(event, Refusal):
                    refusal = event
                    break
                shown = shown or isinstance(event, Sentence)
                yield event
            if shown or self._turn.stop.is_set():
                return
        yield replace(refusal, suggestions=topics)

    def _prompts(self, plan: Plan, cold: bool, further: Sequence[Further], best: Passage | None) -> Iterator[list[BaseMessage]]:
        """The prompt; then one with the best passage alone, among others a small model may not have seen the answer."""
        yield self._prompt(plan, cold, further)
        if best is not None:
            yield passage_prompt(best, self._turn.question)

    def for_reader(self, event: TurnEvent) -> TurnEvent:
        """The event with the reader's own words where a rule has masked them; it is kept without them."""
        if isinstance(event, Sentence) and self._screening:
            return replace(event, text=self._screening.restored(event.text))
        return event

    def _evidence(self, ranked: tuple[RankedPassage, ...], scope: Scope, cold: bool) -> Evidence:
        self._evidence_at = time.monotonic()
        return Evidence(ranked, scope.searched, self._ms(self._evidence_at) or 0.0, cold, scope.left_out)

    def _prompt(self, plan: Plan, cold: bool, further: Sequence[Further]) -> list[BaseMessage]:
        """The prompt; the conversation is part of it where the question needs it, or where its state is there anyway."""
        turn = self._turn
        earlier: Sequence[Exchange] = ()
        if not cold and turn.earlier and turn.earlier[-1].section_id == plan.section_id:
            earlier = self._since_section(plan.section_id)
        elif needs_context(turn.question, turn.earlier):
            earlier = turn.earlier[max(0, len(turn.earlier) - self._settings.earlier_turns) :]
        if not cold:
            self._section_id = plan.section_id
            if not further and (prompted := asked_with(plan, turn.question)) != turn.question:
                self._prompted = prompted
        return answer_prompt(plan, cold, earlier, turn.question, [section_block(*section) for section in further])

    def _since_section(self, section_id: str) -> Sequence[Exchange]:
        """The exchanges about this section just before; several of the oldest go at once, so that the state mostly stays."""
        run = list(takewhile(lambda exchange: exchange.section_id == section_id, reversed(self._turn.earlier)))[::-1]
        more = max(0, len(run) - self._settings.earlier_turns)
        return run[more - more % _DROPPED_AT_ONCE :]


def _ranked(read: Sequence[Passage], found: Sequence[RankedPassage]) -> tuple[RankedPassage, ...]:
    """What is read, the found ones first and best first."""
    ids = {passage.id for passage in read}
    best = [item for item in found if item.passage.id in ids]
    listed = {item.passage.id for item in best}
    return (*best, *(RankedPassage(passage, 0.0, 0.0) for passage in read if passage.id not in listed))


def _topics(passages: Sequence[RankedPassage]) -> tuple[str, ...]:
    """The nearest things that the course does cover, for a reader who asked for something else."""
    names = []
    for ranked in passages:
        heading = ranked.passage.heading[-1] if ranked.passage.heading else ""
        title = ranked.passage.title
        names.append(title if heading in ("", title) else f"{title}: {heading}")
    return tuple(dict.fromkeys(names))[:_MOST_SUGGESTIONS]
