"""The model writes, the check passes or leaves out, sentence by sentence."""

import time
from collections.abc import Collection, Iterator, Sequence
from threading import Event

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage

from assistant.events import Dropped, Guarded, Refusal, Sentence
from assistant.guards import Guards
from assistant.prompts import says_not_covered
from assistant.streaming import SentenceBuffer
from course_guard.grounding import Checker, Support
from course_guard.question import Screening
from course_guard.rules.markup import urls_in
from course_guard.rules.planted import planted_spans
from knowledge.passage import Citation

_WITHHELD = "(withheld)"
Written = Guarded | Sentence | Dropped | Refusal


class Writer:
    """What is written in one turn, with its clock and its counts; several prompts add up.

    Args:
        model: streams; one that takes `stop_event` and `max_tokens` can be stopped and bounded.
        limit: longest answer in tokens.
        stop: ends it early.
        guards: look at each sentence; None lets everything pass.

    Attributes:
        first_token_at, last_token_at, first_sentence_at: moments of time.monotonic(); None for what never came.
    """

    def __init__(self, model: BaseChatModel, limit: int, stop: Event, guards: Guards | None) -> None:
        self._model, self._limit, self._stop, self._guards = model, limit, stop, guards
        self._cut_off, self._seen = "", set[str]()
        self.first_token_at: float | None = None
        self.last_token_at: float | None = None
        self.first_sentence_at: float | None = None
        self.prompt_tokens = self.completion_tokens = self.cached_tokens = 0

    def tokens_per_s(self) -> float | None:
        """How fast it was written."""
        seconds = (self.last_token_at or 0.0) - (self.first_token_at or 0.0)
        return round((self.completion_tokens - 1) / seconds, 2) if seconds > 0 else None

    def checked(self, messages: list[BaseMessage], checker: Checker, sources: Sequence[str]) -> Iterator[Written]:
        """Sentences that may be shown, and what was left out; a refusal is the model's own and the last event.

        Args:
            messages: the prompt.
            checker: of this turn's evidence.
            sources: texts of the evidence.
        """
        addresses = urls_in(sources)
        for lead, text in self._sentences(messages):
            if says_not_covered(text):
                yield Refusal("not_covered", "The course does not seem to cover this.")
                return
            if text in self._seen:
                return  # a small model that repeats itself has nothing more to say
            self._seen.add(text)
            support = checker.check(text)
            if any(map(_is_planted, support.citations)):
                support = Support(0.0, (), "Its source speaks to the assistant instead of the reader.")
            screening = self._screened(text, len(sources), addresses)  # all of them: those left out can be read, too
            if screening.verdicts:
                yield Guarded(screening.verdicts)
            if blocked := screening.blocked:
                yield Dropped(_WITHHELD, blocked.reason)
            elif support.citations:
                self.first_sentence_at = self.first_sentence_at or time.monotonic()
                yield Sentence(screening.text, lead, support.citations, support.probability)
            else:
                yield Dropped(screening.text, support.reason)
        if self._cut_off:
            screening = self._screened(self._cut_off, len(sources), addresses)
            shown = _WITHHELD if screening.blocked else screening.text
            yield Dropped(shown, "The answer had reached its longest length in tokens.")

    def _screened(self, text: str, sources: int, addresses: Collection[str]) -> Screening:
        return self._guards.answer.screen(text, sources, addresses) if self._guards else Screening(text)

    def _sentences(self, messages: list[BaseMessage]) -> Iterator[tuple[str, str]]:
        buffer, before, self._cut_off = SentenceBuffer(), self.completion_tokens, ""
        for chunk in self._model.stream(messages, max_tokens=self._limit, stop_event=self._stop):
            if chunk.content:
                self.completion_tokens += 1  # until the model says how many it were, which it cannot if it is interrupted
                self.last_token_at = time.monotonic()
                self.first_token_at = self.first_token_at or self.last_token_at
                yield from buffer.feed(str(chunk.content))
            if usage := getattr(chunk, "usage_metadata", None):
                self.completion_tokens = before + usage["output_tokens"]
                self.prompt_tokens += usage["input_tokens"]
                self.cached_tokens += usage.get("input_token_details", {}).get("cache_read", 0)
        rest = buffer.finish()
        stopped = self._stop.is_set()
        if rest and (stopped or self.completion_tokens - before >= self._limit):
            _, unfinished = rest.pop()  # it could be checked only in part
            self._cut_off = "" if stopped else unfinished
        yield from rest


def _is_planted(citation: Citation) -> bool:
    """Whether a sentence rests on one that was planted for the assistant, which supports whatever it says."""
    start = citation.passage.start
    return any(a < citation.end - start and citation.start - start < b for a, b in planted_spans(citation.passage.text))
