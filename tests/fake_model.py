"""A chat model without weights that speaks ChatLlama's interface: queued replies, streamed in small pieces."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

Reply = str | Exception | Callable[[list[BaseMessage]], str]

TOKEN = 3  # characters


class FakeChatModel(BaseChatModel):
    """Answers each call with the next of `replies`; the last one is for all later calls.

    A token has three characters. An exception among the replies is raised after the first token of "Well, ".

    Args:
        pace: seconds that a token takes.
        prompt_tokens: reported as read.
    """

    replies: list[Any]
    pace: float = 0.0
    prompt_tokens: int = 100

    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _prompts: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _limits: list[int | None] = PrivateAttr(default_factory=list)
    _running: int = PrivateAttr(default=0)

    @property
    def prompts(self) -> list[list[BaseMessage]]:
        """The messages of each call."""
        return self._prompts

    @property
    def limits(self) -> list[int | None]:
        """The max_tokens of each call."""
        return self._limits

    @property
    def running(self) -> int:
        """Calls that are being answered now."""
        return self._running

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _next(self, messages: list[BaseMessage], max_tokens: int | None) -> str | Exception:
        with self._lock:
            self._prompts.append(messages)
            self._limits.append(max_tokens)
            reply: Reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return reply(messages) if callable(reply) else reply

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        max_tokens: int | None = None,
        stop_event: threading.Event | None = None,
        **_: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reply = self._next(messages, max_tokens)
        text = "Well, " if isinstance(reply, Exception) else reply
        for mark in stop or []:
            text = text.split(mark)[0]
        written = 0
        self._running += 1
        try:
            for start in range(0, len(text), TOKEN):
                if (stop_event and stop_event.wait(self.pace)) or written == max_tokens:
                    break
                yield ChatGenerationChunk(message=AIMessageChunk(text[start : start + TOKEN]))
                written += 1
                if isinstance(reply, Exception):
                    raise reply
                if stop_event is None:
                    time.sleep(self.pace)
        finally:
            self._running -= 1
        usage = UsageMetadata(input_tokens=self.prompt_tokens, output_tokens=written, total_tokens=self.prompt_tokens + written)
        yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=usage, chunk_position="last"))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text = "".join(chunk.text for chunk in self._stream(messages, stop, run_manager, **kwargs))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])
