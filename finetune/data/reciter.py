"""A chat model that writes what it was given, so that the chain says what it makes of it."""

from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import PrivateAttr

from assistant.llm.messages import StreamedModel
from assistant.prompts import NOT_COVERED


class Reciter(StreamedModel):
    """Writes a given text when it is asked first, and declines after that; keeps what it was asked first."""

    text: str
    _asked: list[BaseMessage] = PrivateAttr(default_factory=list)

    @property
    def asked(self) -> list[BaseMessage]:
        """The first messages; empty if there were none."""
        return self._asked

    @property
    def _llm_type(self) -> str:
        return "lectern-reciter"

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> Iterator[ChatGenerationChunk]:
        text = self.text if not self._asked else NOT_COVERED
        self._asked = self._asked or messages
        yield ChatGenerationChunk(message=AIMessageChunk(content=text, chunk_position="last"))
