"""A quantised GGUF model on this machine's CPU as a LangChain chat model, through llama-cpp-python.

The prompt's common beginning with the previous one stays in the model's cache and is not computed again, so callers put what
changes least first. One answer at a time; others wait their turn.
"""

import codecs
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, PrivateAttr

from knowledge.errors import CourseError, MissingModel

if TYPE_CHECKING:
    from llama_cpp import Llama

_SLICE = 64  # prompt tokens between two looks at the stop signal: about a second on two cores
_WAIT = 0.2  # seconds between two looks at it while another answer is being written
_SLOT = "\ue000"  # private use: no template contains it
_ROLES: dict[type[BaseMessage], str] = {SystemMessage: "system", HumanMessage: "user", AIMessage: "assistant"}


class ChatLlama(BaseChatModel):
    """LangChain chat model over a .gguf file; loads on first use.

    Message content may be text or a list of `{"type": "text", "text": ..., "cache_key": ...}` blocks. The key names a block
    whose computation an engine may keep; this one keeps the common beginning of prompts and ignores it.

    `stream(..., stop_event=event)` ends within about a second of the event being set, also while the prompt is being read.
    Generation is greedy: the same prompt after the same one before gives the same answer. What is in the cache changes how the
    rest is batched, and so the last bits of the numbers: near ties may then fall otherwise.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    path: Path
    context: int = 4096
    threads: int = 2
    max_tokens: int = 256

    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "lectern-llama"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.path.name, "context": self.context}

    @cached_property
    def _llama(self) -> "Llama":
        from llama_cpp import Llama

        try:
            return Llama(
                str(self.path),
                n_ctx=self.context,
                n_batch=_SLICE,
                n_ubatch=_SLICE,
                n_threads=self.threads,
                n_threads_batch=self.threads,
                flash_attn=True,
                verbose=False,
            )
        except ValueError as error:
            remedy = "Fetch it anew: lectern models pull. If it is whole, lower model.context in the settings."
            raise MissingModel(f"{self.path} cannot be loaded: {error}.", remedy) from error

    @cached_property
    def _template(self) -> Any:
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        llama = self._llama
        if "tokenizer.chat_template" not in llama.metadata:
            raise CourseError(f"{self.path} has no chat template.", "Choose a model that was made for chat (instruct).")
        return Jinja2ChatFormatter(
            template=llama.metadata["tokenizer.chat_template"],
            eos_token=self._piece(llama.token_eos()),
            bos_token=self._piece(llama.token_bos()),
        )

    def _piece(self, token: int) -> str:
        return self._llama.detokenize([token], special=True).decode("utf-8", "replace") if token >= 0 else ""

    def prompt_tokens(self, messages: Sequence[BaseMessage]) -> list[int]:
        """The exact tokens that the model will read.

        Content is tokenised apart from the template: it is data, so a <|im_end|> in it never becomes a control token.
        """
        slots = [{"role": _role(message), "content": f"{_SLOT}{n}{_SLOT}"} for n, message in enumerate(messages)]
        tokens: list[int] = []
        for position, part in enumerate(self._template(messages=slots).prompt.split(_SLOT)):
            if position % 2:
                tokens += self._tokenize(_text(messages[int(part)]), special=False)
            else:
                tokens += self._tokenize(part, special=True)
        return tokens

    def count_tokens(self, text: str) -> int:
        """Length of plain text in this model's tokens."""
        return len(self._tokenize(text, special=False))

    def _tokenize(self, text: str, special: bool) -> list[int]:
        tokens: list[int] = self._llama.tokenize(text.encode("utf-8", "replace"), add_bos=False, special=special)
        return tokens

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        *pieces, last = self._stream(messages, stop, run_manager, **kwargs)
        usage = cast(AIMessageChunk, last.message).usage_metadata
        message = AIMessage(content="".join(piece.text for piece in pieces), usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])

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
        stop_event = stop_event or threading.Event()
        while not self._lock.acquire(timeout=_WAIT):
            if stop_event.is_set():
                yield _last_chunk(0, 0)
                return
        try:
            yield from self._answer(messages, stop or [], run_manager, max_tokens or self.max_tokens, stop_event)
        finally:
            self._lock.release()

    def _answer(
        self,
        messages: list[BaseMessage],
        stop: list[str],
        run_manager: CallbackManagerForLLMRun | None,
        limit: int,
        stop_event: threading.Event,
    ) -> Iterator[ChatGenerationChunk]:
        tokens = self.prompt_tokens(messages)
        if len(tokens) + limit > self.context:
            raise CourseError(
                f"The prompt has {len(tokens)} tokens and the answer may have {limit}, but the context holds {self.context}.",
                "Ask with fewer sources, or raise model.context in the settings.",
            )
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a token may end inside a character
        written = 0
        text = ""
        for data in self._generated(tokens, limit, stop_event):
            written += 1
            before = len(text)
            text += decoder.decode(data)
            end = min((text.find(mark) for mark in stop if mark in text), default=None)
            if piece := text[before:end]:
                if run_manager:
                    run_manager.on_llm_new_token(piece)
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
            if end is not None:
                break
        yield _last_chunk(len(tokens), written)

    def _generated(self, tokens: list[int], limit: int, stop_event: threading.Event) -> Iterator[bytes]:
        """The bytes of each generated token."""
        from llama_cpp import llama_vocab_is_eog

        llama = self._llama
        self._read(tokens, stop_event)
        for _ in range(limit):
            if stop_event.is_set():
                return
            token = llama.sample(temp=0.0)
            if llama_vocab_is_eog(llama._model.vocab, token):
                return
            yield llama.detokenize([token])
            llama.eval([token])

    def _read(self, tokens: list[int], stop_event: threading.Event) -> None:
        """Bring the prompt into the cache, keeping the beginning that is there already."""
        llama = self._llama
        cached = llama.input_ids[: llama.n_tokens].tolist()
        common = 0
        for old, new in zip(cached, tokens[:-1], strict=False):  # the last token is always computed: its logits are needed
            if old != new:
                break
            common += 1
        llama._ctx.kv_cache_seq_rm(-1, common, -1)
        llama.n_tokens = common
        for start in range(common, len(tokens), _SLICE):
            if stop_event.is_set():
                return
            llama.eval(tokens[start : start + _SLICE])


def _role(message: BaseMessage) -> str:
    for kind, role in _ROLES.items():
        if isinstance(message, kind):
            return role
    raise ValueError(f"Messages of type {message.type!r} have no role in a chat template.")


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(block if isinstance(block, str) else block["text"] for block in message.content)


def _last_chunk(read: int, written: int) -> ChatGenerationChunk:
    usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
    return ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage, chunk_position="last"))
