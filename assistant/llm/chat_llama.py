"""A quantised GGUF model on this machine's CPU as a LangChain chat model, on the engine of this folder."""

import codecs
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import ConfigDict, PrivateAttr

from assistant.llm.choosing import Choice
from assistant.llm.job import Mark, Piece, Request
from assistant.llm.messages import StreamedModel, last_chunk, role_of
from assistant.settings import EngineSettings
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from assistant.llm.kv import StateStore
    from assistant.llm.scheduler import Scheduler

_BATCH = 128  # rows of one pass over the weights: about a second and a half of prompt on two cores
_SEQUENCES = 64  # conversations and sections in memory
_SLOT = "\ue000"  # private use: no template contains it


class ChatLlama(StreamedModel):
    """LangChain chat model over a .gguf file; loads on first use.

    Message content may be text or a list of `{"type": "text", "text": ..., "cache_key": ...}` blocks. The state of the prompt
    up to the end of a block with a key is kept on disk, with the key as its label, and loaded by every prompt that begins so.

    Any number of threads may call it; their answers share the engine. `stream(..., stop_event=event)` ends when the event is
    set, or when its iterator is closed. Generation is greedy unless `temperature` is given, and with it `seed`. `top_logprobs`
    tells how likely the likeliest tokens were, in OpenAI's form, in the last message's `response_metadata`. What else is
    computed in the same batch changes the last bits of the numbers, so near ties may fall otherwise from one time to the next.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    path: Path
    context: int = 4096
    threads: int = 2
    max_tokens: int = 256
    states: Path | None = None  # folder of saved states; None keeps none
    adapter: Path | None = None  # a LoRA adapter as .gguf file; change it with `use_adapter`
    engine: EngineSettings = EngineSettings()

    _building: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "lectern-llama"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.path.name, "adapter": self.adapter and str(self.adapter), "context": self.context}

    @property
    def scheduler(self) -> "Scheduler":
        """The engine at work; loads it."""
        with self._building:
            return self._scheduler

    @cached_property
    def _scheduler(self) -> "Scheduler":
        import atexit

        from assistant.llm.engine import Engine
        from assistant.llm.kv import StateStore
        from assistant.llm.scheduler import Scheduler

        engine = Engine(self.path, self.engine.memory_mb << 20, self.context, _SEQUENCES, self.threads, _BATCH)
        if self.adapter is not None:
            try:
                engine.use_adapter(self.adapter)
            except BaseException:
                engine.close()
                raise
        budget = self.engine.disk_mb << 20
        store = StateStore(self.states, budget, engine.identity) if self.states and budget else None
        scheduler = Scheduler(engine, store, self.engine.parallel)
        atexit.register(scheduler.close)  # not in the middle of a computation
        return scheduler

    def use_adapter(self, path: Path | None) -> None:
        """Answer with another LoRA adapter, or with none, from now on; loads the model if it is not loaded yet.

        The weights stay mapped once. Answers that have begun end with the adapter that they began with; what was computed with
        one adapter, in memory or on disk, is not used with another.

        Raises:
            CourseError: the adapter is missing, damaged or one of another model; the one before goes on.
        """
        with self._building:
            loaded = "_scheduler" in self.__dict__
            if not loaded:  # not with the adapter that it had: that may be what cannot be loaded
                before, self.adapter = self.adapter, path
                try:
                    self._scheduler  # noqa: B018
                except BaseException:
                    self.adapter = before
                    raise
        if loaded:
            self._scheduler.use_adapter(path)
            self.adapter = path

    @cached_property
    def _template(self) -> Any:
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        engine = self.scheduler.engine
        if engine.chat_template is None:
            raise CourseError(f"{self.path} has no chat template.", "Choose a model that was made for chat (instruct).")
        bos, eos = (
            engine.piece(t, special=True).decode("utf-8", "replace") if t >= 0 else "" for t in (engine.bos, engine.eos)
        )
        return Jinja2ChatFormatter(template=engine.chat_template, eos_token=eos, bos_token=bos)

    def prompt_tokens(self, messages: Sequence[BaseMessage]) -> list[int]:
        """The exact tokens that the model will read."""
        return self._request(messages, 0).tokens

    def _request(self, messages: Sequence[BaseMessage], limit: int) -> Request:
        """Tokens, and where they are worth keeping.

        Content is tokenised apart from the template: it is data, so a <|im_end|> in it never becomes a control token. Each
        block is tokenised apart from the next, so the tokens up to the end of a block do not depend on what follows.
        """
        tokenize = self.scheduler.engine.tokenize
        slots = [{"role": role_of(message), "content": f"{_SLOT}{n}{_SLOT}"} for n, message in enumerate(messages)]
        tokens: list[int] = []
        marks: list[Mark] = []
        pieces: list[Piece] = []
        for position, part in enumerate(self._template(messages=slots).prompt.split(_SLOT)):
            if position % 2 == 0:
                tokens += tokenize(part, special=True)
                continue
            for block in _blocks(messages[int(part)]):
                start = len(tokens)
                tokens += tokenize(block["text"], special=False)
                if not block.get("cache_key"):
                    continue
                if self.engine.join and len(marks) > 1:  # the rules, the first section, and what shall be joined to it
                    source = (*tokens[: marks[0].end], *tokens[start:])
                    pieces.append(Piece(start, len(tokens), source, self.engine.link_tokens))
                else:
                    marks.append(Mark(len(tokens), block["cache_key"]))
        return Request(tokens, limit, tuple(marks), tuple(pieces), self.engine.drafts)

    def count_tokens(self, text: str) -> int:
        """Length of plain text in this model's tokens."""
        return len(self.scheduler.engine.tokenize(text, special=False))

    @property
    def saved_states(self) -> "StateStore | None":
        """Where computed state is kept on disk; None if it is not."""
        return self.scheduler.pool.store

    def is_ready(self, messages: Sequence[BaseMessage]) -> bool:
        """Whether the state up to the last keyed block of these messages need not be computed."""
        request = self._request(messages, 0)
        return bool(request.marks) and self.scheduler.pool.has(request.tokens[: request.marks[-1].end])

    def compute_ahead(self, messages: Sequence[BaseMessage], stop_event: threading.Event) -> None:
        """Compute and save the states up to the keyed blocks of these messages, when nobody waits for an answer.

        Returns when it is done or `stop_event` is set; anybody's question interrupts it for as long as it takes.
        """
        request = self._request(messages, 0)
        if request.marks:
            del request.tokens[request.marks[-1].end :]
            request.stop = stop_event
            self.scheduler.submit(request)
            _raise_if_failed(request.out.get())
            self.scheduler.pool.flush()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        max_tokens: int | None = None,
        stop_event: threading.Event | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        top_logprobs: int = 0,
        **_: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._request(messages, max_tokens or self.max_tokens)
        if len(request.tokens) + request.limit > self.context:
            raise CourseError(
                f"The prompt has {len(request.tokens)} tokens and the answer may have {request.limit}, "
                f"but the context holds {self.context}.",
                "Ask with fewer sources, or raise model.context in the settings.",
            )
        request.stop = _Either(stop_event)
        if temperature > 0 or top_logprobs:
            request.choose = Choice(temperature, seed, top_logprobs)
        self.scheduler.submit(request)
        try:
            yield from self._pieces(request, stop or [], run_manager)
        finally:
            request.stop.set()  # whoever leaves early frees the engine

    def _pieces(
        self, request: Request, stop: list[str], run_manager: CallbackManagerForLLMRun | None
    ) -> Iterator[ChatGenerationChunk]:
        engine = self.scheduler.engine
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a token may end inside a character
        written = 0
        text = ""
        while isinstance(token := request.out.get(), int):
            written += 1
            before = len(text)
            text += decoder.decode(engine.piece(token))
            end = min((text.find(mark) for mark in stop if mark in text), default=None)
            if piece := text[before:end]:
                if run_manager:
                    run_manager.on_llm_new_token(piece)
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
            if end is not None:
                break
            if request.stop.is_set():
                break
        else:
            _raise_if_failed(token)
        reason = "interrupted" if request.stop.is_set() else "length" if written >= request.limit else "stop"
        cached = request.from_memory + request.from_disk + request.joined
        last = last_chunk(reason, len(request.tokens), cached, written)
        if request.choose is not None:
            told = request.choose.as_openai(lambda token: engine.piece(token).decode("utf-8", "replace"))
            last.message.response_metadata["logprobs"] = told
        yield last


class _Either(threading.Event):
    """Set when it is set itself or another event is."""

    def __init__(self, other: threading.Event | None) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or (self._other is not None and self._other.is_set())


def _raise_if_failed(end: int | BaseException | None) -> None:
    if isinstance(end, BaseException):
        raise end


def _blocks(message: BaseMessage) -> list[dict[str, Any]]:
    content = [message.content] if isinstance(message.content, str) else message.content
    return [{"text": block} if isinstance(block, str) else block for block in content]
