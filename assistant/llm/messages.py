"""LangChain messages as chat templates and servers know them, and how a stream of an answer ends."""

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

_ROLES: dict[type[BaseMessage], str] = {SystemMessage: "system", HumanMessage: "user", AIMessage: "assistant"}


def role_of(message: BaseMessage) -> str:
    """system, user or assistant.

    Raises:
        ValueError: the message is of another type, such as a tool's.
    """
    for kind, role in _ROLES.items():
        if isinstance(message, kind):
            return role
    raise ValueError(f"Messages of type {message.type!r} have no role in a chat template.")


def texts_of(message: BaseMessage) -> list[str]:
    """The texts of a message's blocks, which are read one after the other without anything between them."""
    content = [message.content] if isinstance(message.content, str) else message.content
    return [block if isinstance(block, str) else str(block["text"]) for block in content]


def plain(messages: Sequence[BaseMessage]) -> list[dict[str, str]]:
    """Messages as {"role", "content"} with plain text."""
    return [{"role": role_of(message), "content": "".join(texts_of(message))} for message in messages]


def last_chunk(reason: str, read: int | None = None, cached: int = 0, written: int = 0) -> ChatGenerationChunk:
    """The end of a stream.

    Args:
        reason: why nothing more is written: "stop" (the model or a stop mark ended it), "length" (max_tokens) or
            "interrupted" (the reader left).
        read: tokens of the prompt; None where nobody said, and the counts of tokens are then left out.
        cached: those of them that were not computed for this answer.
        written: tokens of the answer.
    """
    usage = None
    if read is not None:
        details = InputTokenDetails(cache_read=cached)
        usage = UsageMetadata(
            input_tokens=read, output_tokens=written, total_tokens=read + written, input_token_details=details
        )
    metadata = {"finish_reason": reason}
    message = AIMessageChunk(content="", usage_metadata=usage, response_metadata=metadata, chunk_position="last")
    return ChatGenerationChunk(message=message)


class StreamedModel(BaseChatModel):
    """A chat model that streams; a whole answer is what it has streamed."""

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _gathered(list(self._stream(messages, stop, run_manager, **kwargs)))


def _gathered(chunks: Sequence[ChatGenerationChunk]) -> ChatResult:
    """A whole stream as one result; its last chunk tells the counts and the reason."""
    last: Any = chunks[-1].message
    message = AIMessage(
        "".join(chunk.text for chunk in chunks),
        usage_metadata=last.usage_metadata,
        response_metadata=last.response_metadata,
    )
    return ChatResult(generations=[ChatGeneration(message=message)])
