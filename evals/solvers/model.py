"""The chat model as evals use it: it leaves the saved states as they are, and remembers what it wrote.

A call is remembered by its full input, so whatever comes after the model (a guard, a scorer) can change and be measured again
in seconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from numpy.typing import NDArray
from pydantic import ConfigDict, PrivateAttr

from assistant.llm.backend import CourseModel
from assistant.llm.chat_llama import ChatLlama
from assistant.llm.kv import StateStore
from assistant.llm.messages import StreamedModel
from assistant.runtime import chat_model
from assistant.settings import Settings
from evals.running.cache import Cache


class _ReadOnlyStates(StateStore):
    """Saved states that are used but never added to.

    An eval's questions are asked once, and the engine would keep each as a conversation, 30 MB at a time, until those states
    had pushed the course's sections out of the budget.
    """

    def save(self, tokens: Sequence[int], payload: NDArray[Any] | bytes | memoryview, label: str) -> bool:
        return False


def eval_model(settings: Settings) -> CourseModel:
    """The chat model of the settings; one that keeps states is loaded, and from now on this process writes none.

    Raises:
        MissingModel: its weights are not here.
    """
    model = chat_model(settings)
    if not isinstance(model, ChatLlama):
        return model
    scheduler = model.scheduler
    if scheduler.pool.store is not None and not isinstance(scheduler.pool.store, _ReadOnlyStates):
        budget = settings.engine.disk_mb << 20
        scheduler.pool.store = _ReadOnlyStates(settings.states_dir, budget, scheduler.engine.identity)
    return model


class RememberingModel(StreamedModel):
    """A chat model whose answers are read from the cache where it was asked the same before.

    Args:
        model: is asked what is not in the cache; must be deterministic.
        remembered: keeps the answers, piece by piece, as far as a reader wanted them.
        key: JSON on which they depend besides messages and length.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: BaseChatModel
    remembered: Cache
    key: Mapping[str, Any]

    _replayed: bool = PrivateAttr(default=False)

    @property
    def replayed(self) -> bool:
        """Whether any words came from the cache since `forget_last`, so that the times mean nothing."""
        return self._replayed

    def forget_last(self) -> None:
        """Begin anew with `replayed`."""
        self._replayed = False

    @property
    def _llm_type(self) -> str:
        return "remembering"

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        max_tokens: int | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        said = [[message.type, message.content] for message in messages]
        key = {"model call": dict(self.key), "messages": said, "stop": stop, "max_tokens": max_tokens}
        kept = self.remembered.get(key) or {"pieces": [], "usage": None, "whole": False}
        self._replayed = self._replayed or bool(kept["pieces"] or kept["whole"])
        yield from (ChatGenerationChunk(message=AIMessageChunk(content=piece)) for piece in kept["pieces"])
        usage, pieces, whole = kept["usage"], [], kept["whole"]
        try:
            # What the first reader did not wait for is asked again, from the beginning.
            for chunk in () if whole else self.model.stream(messages, stop=stop, max_tokens=max_tokens, **kwargs):
                usage = getattr(chunk, "usage_metadata", None) or usage
                if chunk.content:
                    pieces.append(str(chunk.content))
                    if len(pieces) > len(kept["pieces"]):
                        yield ChatGenerationChunk(message=AIMessageChunk(content=pieces[-1]))
            stopped = kwargs.get("stop_event")
            whole = whole or stopped is None or not stopped.is_set()
        finally:
            if len(pieces) > len(kept["pieces"]) or (whole and not kept["whole"]):
                self.remembered.set(key, {"pieces": pieces, "usage": usage, "whole": whole})
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage, chunk_position="last"))
