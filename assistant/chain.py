"""One turn from question to checked answer, as a LangChain Runnable that streams events.

condense -> retrieve -> prompt -> generate -> check each sentence -> show -> remember
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig

from assistant.answer import Answer, collect
from assistant.events import Done, Dropped, Evidence, Refusal, Sentence, Turn, TurnEvent
from assistant.history import History, TurnRecord, now
from assistant.memory import standalone
from assistant.prompts import PROMPT_VERSION, answer_prompt, says_not_covered
from assistant.settings import AnswerSettings
from assistant.streaming import SentenceBuffer
from course_guard.grounding import Checker, Verifier
from knowledge.passage import RankedPassage
from knowledge.retrieval import CourseRetriever

_MOST_SUGGESTIONS = 3


class CourseChain(Runnable[Turn, Any]):
    """The assistant.

    `stream` and `astream` yield TurnEvents, ending with Done; `invoke` returns them gathered as an Answer. Everything shown
    has passed the verifier.

    Args:
        retriever: finds passages and decides whether the course covers the question.
        model: any LangChain chat model; one that takes `stop_event` and `max_tokens` can be stopped and bounded.
        verifier: decides which sentences are supported, and by what.
        history: keeps every turn; None keeps nothing.
        settings: sizes of evidence and answer.
        model_name: recorded with each turn.
    """

    def __init__(
        self,
        retriever: CourseRetriever,
        model: BaseChatModel,
        verifier: Verifier,
        history: History | None = None,
        settings: AnswerSettings | None = None,
        model_name: str = "",
    ) -> None:
        self._retriever = retriever
        self._model = model
        self._verifier = verifier
        self._history = history
        self._settings = settings or AnswerSettings()
        self._model_name = model_name

    def with_model(self, model: BaseChatModel, model_name: str) -> "CourseChain":
        """The same assistant answering with another model."""
        return CourseChain(self._retriever, model, self._verifier, self._history, self._settings, model_name)

    def invoke(self, input: Turn, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        """Answer and wait for the end."""
        return collect(input, self.stream(input))

    def stream(self, input: Turn, config: RunnableConfig | None = None, **kwargs: Any | None) -> Iterator[TurnEvent]:
        """Events as they happen; close the iterator or set `input.stop` to end early. Errors are raised after Done."""
        answer = Answer(input)
        run = _Run(self._model, self._settings, input)
        failure: Exception | None = None
        try:
            for event in run.events(self._retriever, self._verifier):
                answer.add(event)
                yield event
        except Exception as error:
            failure = error  # raised below: readers and history get what there is first
            input.stop.set()
        except BaseException:  # the reader has left, or pressed Ctrl-C
            input.stop.set()
            raise
        finally:
            done = Done(
                turn_id=uuid4().hex,
                answer=answer.text,
                model=self._model_name,
                stopped=input.stop.is_set(),
                prompt_tokens=run.prompt_tokens,
                completion_tokens=run.completion_tokens,
                timings=run.timings(),
            )
            answer.add(done)
            self._remember(answer, failure)
        yield done
        if failure is not None:
            raise failure

    async def astream(
        self, input: Turn, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> AsyncIterator[TurnEvent]:
        """As `stream`, with the work in a thread of its own; cancelling it stops the model."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[TurnEvent | BaseException | None] = asyncio.Queue()

        def tell(item: TurnEvent | BaseException | None) -> None:
            with suppress(RuntimeError):  # the loop has ended, and nobody listens any more
                loop.call_soon_threadsafe(queue.put_nowait, item)

        def work() -> None:
            try:
                for event in self.stream(input):
                    tell(event)
            except BaseException as error:
                tell(error)  # raised in the consumer
            else:
                tell(None)

        threading.Thread(target=work, name="turn", daemon=True).start()
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            input.stop.set()

    def _remember(self, answer: Answer, failure: Exception | None) -> None:
        if self._history is None or answer.done is None:
            return
        index = self._retriever.index
        record = answer.as_json() | {
            "error": f"{type(failure).__name__}: {failure}" if failure else None,
            "versions": {
                "prompt": PROMPT_VERSION,
                "embedder": index.embedder.identity,
                "index": index.catalogue.generation,
                "settings": self._settings.model_dump(),
            },
        }
        self._history.add(
            TurnRecord(
                id=answer.done.turn_id,
                conversation=answer.turn.conversation,
                asked_at=now(),
                question=answer.turn.question,
                standalone=record["standalone"],
                answer=answer.text,
                refused=answer.refusal.rule if answer.refusal else None,
                record=record,
            )
        )


class _Run:
    """One turn under way: its clock and its counts."""

    def __init__(self, model: BaseChatModel, settings: AnswerSettings, turn: Turn) -> None:
        self._model, self._settings, self._turn = model, settings, turn
        self._started = time.monotonic()
        self._evidence_at: float | None = None
        self._first_token_at: float | None = None
        self._last_token_at: float | None = None
        self._first_sentence_at: float | None = None
        self._cut_off = ""
        self.prompt_tokens = 0
        self.completion_tokens = 0

    def timings(self) -> dict[str, float | None]:
        writing = (self._last_token_at or 0.0) - (self._first_token_at or 0.0)
        return {
            "evidence_ms": self._ms(self._evidence_at),
            "first_token_ms": self._ms(self._first_token_at),
            "first_sentence_ms": self._ms(self._first_sentence_at),
            "total_ms": self._ms(time.monotonic()),
            "tokens_per_s": round((self.completion_tokens - 1) / writing, 2) if writing > 0 else None,
        }

    def _ms(self, moment: float | None) -> float | None:
        return None if moment is None else round((moment - self._started) * 1000, 1)

    def events(self, retriever: CourseRetriever, verifier: Verifier) -> Iterator[TurnEvent]:
        turn = self._turn
        earlier = turn.earlier[max(0, len(turn.earlier) - self._settings.earlier_turns) :]
        question = standalone(turn.question, turn.earlier, self._model, turn.stop)
        found = retriever.retrieve(question, turn.sources or self._settings.sources)
        self._evidence_at = time.monotonic()
        yield Evidence(found.passages if found.covered else (), question, self._ms(self._evidence_at) or 0.0)
        topics = _topics(found.passages)
        if not found.covered:
            yield Refusal("not_covered", "The course does not seem to cover this.", topics)
            return
        passages = [ranked.passage for ranked in found.passages]
        checker = verifier.against(passages, question)
        shown = dropped = 0
        for event in self._checked(answer_prompt(passages, earlier, question), checker):
            shown += isinstance(event, Sentence)
            dropped += isinstance(event, Dropped)
            if isinstance(event, Refusal):
                if not shown:
                    yield replace(event, suggestions=topics)
                return
            yield event
        if not shown and not turn.stop.is_set():
            reason = "The nearest passages of the course do not support an answer to this."
            yield Refusal("unsupported", reason, topics)

    def _checked(self, messages: list[BaseMessage], checker: Checker) -> Iterator[Sentence | Dropped | Refusal]:
        seen: set[str] = set()
        for lead, text in self._sentences(messages):
            if says_not_covered(text):
                yield Refusal("not_covered", "The course does not seem to cover this.")
                return
            if text in seen:
                return  # a small model that repeats itself has nothing more to say
            seen.add(text)
            support = checker.check(text)
            if support.citations:
                self._first_sentence_at = self._first_sentence_at or time.monotonic()
                yield Sentence(text, lead, support.citations, support.probability)
            else:
                yield Dropped(text, support.reason)
        if self._cut_off:
            yield Dropped(self._cut_off, "The answer had reached its longest length in tokens.")

    def _sentences(self, messages: list[BaseMessage]) -> Iterator[tuple[str, str]]:
        buffer = SentenceBuffer()
        limit = self._turn.max_tokens or self._settings.max_tokens
        for chunk in self._model.stream(messages, max_tokens=limit, stop_event=self._turn.stop):
            if chunk.content:
                self.completion_tokens += 1  # until the model says how many it were, which it cannot if it is interrupted
                self._last_token_at = time.monotonic()
                self._first_token_at = self._first_token_at or self._last_token_at
                yield from buffer.feed(str(chunk.content))
            if usage := getattr(chunk, "usage_metadata", None):
                self.prompt_tokens, self.completion_tokens = usage["input_tokens"], usage["output_tokens"]
        rest = buffer.finish()
        stopped = self._turn.stop.is_set()
        if rest and (stopped or self.completion_tokens >= limit):
            _, unfinished = rest.pop()  # it could be checked only in part
            self._cut_off = "" if stopped else unfinished
        yield from rest


def _topics(passages: tuple[RankedPassage, ...]) -> tuple[str, ...]:
    """The nearest things that the course does cover, for a reader who asked for something else."""
    names = []
    for ranked in passages:
        heading = ranked.passage.heading[-1] if ranked.passage.heading else ""
        title = ranked.passage.title
        names.append(title if heading in ("", title) else f"{title}: {heading}")
    return tuple(dict.fromkeys(names))[:_MOST_SUGGESTIONS]
