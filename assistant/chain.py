"""The assistant as a LangChain Runnable that streams the events of a turn, and remembers it. What happens in one: turn.py."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableConfig

from assistant.answer import Answer, collect
from assistant.events import Done, Turn, TurnEvent
from assistant.guards import Guards
from assistant.history import History, TurnRecord, now
from assistant.prompts import PROMPT_VERSION
from assistant.settings import AnswerSettings
from assistant.turn import Sections, TurnRun
from course_guard.grounding import Verifier
from knowledge.evidence import EvidencePlanner
from knowledge.retrieval import CourseRetriever


class CourseChain(Runnable[Turn, Any]):
    """The assistant.

    `stream` and `astream` yield TurnEvents, ending with Done; `invoke` returns them gathered as an Answer. Everything shown
    has passed the verifier.

    Args:
        retriever: finds passages and decides whether the course covers the question.
        planner: chooses what of them the model reads.
        model: any LangChain chat model; one that takes `stop_event` and `max_tokens` can be stopped and bounded.
        verifier: decides which sentences are supported, and by what.
        history: keeps every turn; None keeps nothing.
        settings: sizes of evidence and answer.
        model_name: recorded with each turn.
        sections: knows which sections the model has read ahead; None where that makes no difference to it.
        guards: look at questions and sentences; None lets everything pass.
    """

    def __init__(
        self,
        retriever: CourseRetriever,
        planner: EvidencePlanner,
        model: BaseChatModel,
        verifier: Verifier,
        history: History | None = None,
        settings: AnswerSettings | None = None,
        model_name: str = "",
        sections: Sections | None = None,
        guards: Guards | None = None,
    ) -> None:
        self.retriever = retriever
        self.planner = planner
        self._model = model
        self._verifier = verifier
        self._history = history
        self._settings = settings or AnswerSettings()
        self._model_name = model_name
        self._sections = sections
        self._guards = guards

    def with_model(
        self,
        model: BaseChatModel,
        model_name: str,
        planner: EvidencePlanner | None = None,
        sections: Sections | None = None,
    ) -> "CourseChain":
        """The same assistant answering with another model; `planner` should count in its tokens."""
        parts = (self.retriever, planner or self.planner, model, self._verifier)
        return CourseChain(*parts, self._history, self._settings, model_name, sections, self._guards)

    def without_history(self) -> "CourseChain":
        """The same assistant, which remembers nothing."""
        parts = (self.retriever, self.planner, self._model, self._verifier)
        return CourseChain(*parts, None, self._settings, self._model_name, self._sections, self._guards)

    def warm_guards(self) -> None:
        """Let the guards load what they need, so that the first question does not wait for it."""
        if self._guards:
            self._guards.question.screen("Ready?")
            self._guards.answer.screen("Ready.", 1)

    def invoke(self, input: Turn, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:
        """Answer and wait for the end."""
        return collect(input, self.stream(input))

    def stream(self, input: Turn, config: RunnableConfig | None = None, **kwargs: Any | None) -> Iterator[TurnEvent]:
        """Events as they happen; close the iterator or set `input.stop` to end early. Errors are raised after Done."""
        answer = Answer(input)
        run = TurnRun(self._model, self._settings, input, self._sections, self._guards)
        failure: Exception | None = None
        try:
            for event in run.events(self.retriever, self.planner, self._verifier):
                answer.add(event)
                yield run.for_reader(event)
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
                prompt_tokens=run.writer.prompt_tokens,
                completion_tokens=run.writer.completion_tokens,
                cached_tokens=run.writer.cached_tokens,
                timings=run.timings(),
                exchange=run.exchange(answer.text),
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
        index = self.retriever.index
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
                consent=answer.turn.consent,
            )
        )
