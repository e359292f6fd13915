"""Without weights: a chat model with queued replies, streamed in small pieces, and the part of ChatLlama that reads ahead."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from assistant.llm.kv import StateStore
from assistant.settings import EngineSettings

Reply = str | Exception | Callable[[list[BaseMessage]], str]

TOKEN = 3  # characters


class FakeChatModel(BaseChatModel):
    """Answers each call with the next of `replies`; the last one is for all later calls.

    A token has three characters. An exception among the replies is raised after the first token of "Well, ".

    Args:
        pace: seconds that a token takes.
        prompt_tokens, cached_tokens: reported as read, and as not computed.
    """

    replies: list[Any]
    pace: float = 0.0
    prompt_tokens: int = 100
    cached_tokens: int = 0

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
        usage = UsageMetadata(
            input_tokens=self.prompt_tokens,
            output_tokens=written,
            total_tokens=self.prompt_tokens + written,
            input_token_details=InputTokenDetails(cache_read=self.cached_tokens),
        )
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


class FakeReader:
    """Reads sections ahead as ChatLlama does: their states lie in a real StateStore, in which a token is a byte.

    Args:
        folder: of the states.
        disk_mb: budget; 0 keeps nothing.
        state_bytes: of every state.
        slow: whether reading a section lasts until `go_on` is set.
        joins: the setting of the engine.
    """

    def __init__(
        self, folder: Path, disk_mb: int = 1, state_bytes: int = 1000, slow: bool = False, joins: bool = False
    ) -> None:
        self.engine = EngineSettings(disk_mb=disk_mb, join=joins)
        self.saved_states = StateStore(folder, disk_mb << 20, "fake") if disk_mb else None
        self.read: list[str] = []
        self.reading, self.go_on = threading.Event(), threading.Event()
        self.on_read: Callable[[], None] = lambda: None
        self.scheduler = self
        self._state_bytes = state_bytes
        if not slow:
            self.go_on.set()

    def interrupt(self) -> None:
        """Look at the stop event now."""
        self.go_on.set()

    def is_ready(self, messages: list[BaseMessage]) -> bool:
        """Whether the state is there."""
        return self.saved_states is not None and self.saved_states.has(self._tokens(messages))

    def compute_ahead(self, messages: list[BaseMessage], stop_event: threading.Event) -> None:
        """Save a state."""
        self.reading.set()
        self.on_read()
        self.go_on.wait(10)
        self.reading.clear()
        if self.saved_states and not stop_event.is_set():
            label = messages[-1].content[-1]["cache_key"]
            self.read.append(label.rpartition(":")[2])
            self.saved_states.save(self._tokens(messages), bytes(self._state_bytes), label)

    @staticmethod
    def _tokens(messages: list[BaseMessage]) -> list[int]:
        return list("".join(block["text"] for block in messages[-1].content).encode())
