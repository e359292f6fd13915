"""A model on transformers, with or without an adapter, as a LangChain chat model: on a GPU in bfloat16, else in float32."""

import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import ConfigDict, PrivateAttr

from assistant.llm.choosing import Choice
from assistant.llm.hf_weights import Weights, load
from assistant.llm.messages import StreamedModel, last_chunk
from knowledge.errors import CourseError

if TYPE_CHECKING:
    import torch

_SLICE = 256  # tokens of a prompt that are read between two looks at the stop event
_LOOK_S = 0.05  # at the stop event, while another answer is being written
_BROKEN = "\ufffd"  # what the bytes of an unfinished character are decoded to


class ChatHf(StreamedModel):
    """LangChain chat model over a Hugging Face folder; loads on first use.

    It reads the same tokens as ChatLlama does of the same weights, and takes the likeliest next one. One answer is written at a
    time, others wait: many readers at once are a server's job (chat_openai.py). What the last prompt and answer have computed
    is kept, so a prompt that begins alike, such as a conversation's next, is not read again from the start.

    `stream(..., stop_event=event)` ends when the event is set, or when its iterator is closed.

    Args:
        folder: as `save_pretrained` leaves it.
        adapter: a folder with a LoRA adapter as PEFT saves it.
        context: longest prompt and answer together, in tokens.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    folder: Path
    adapter: Path | None = None
    context: int = 4096
    max_tokens: int = 256

    _loading: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _writing: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "lectern-hf"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.folder.name, "adapter": self.adapter and self.adapter.name, "context": self.context}

    @property
    def weights(self) -> Weights:
        """The model; loads it.

        Raises:
            CourseError: it cannot be loaded, or its adapter is not its own.
        """
        with self._loading:
            return self._weights

    @cached_property
    def _weights(self) -> Weights:
        return load(self.folder, self.adapter)

    @cached_property
    def _sequence(self) -> "_Sequence":
        return _Sequence(self.weights.model)

    def count_tokens(self, text: str) -> int:
        """Length of plain text in this model's tokens."""
        return len(self.weights.tokenise(text))

    def prompt_tokens(self, messages: Sequence[BaseMessage]) -> list[int]:
        """The exact tokens that the model will read."""
        return self.weights.prompt(messages)

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
        limit = max_tokens or self.max_tokens
        tokens = self.prompt_tokens(messages)
        if len(tokens) + limit > self.context:
            raise CourseError(
                f"The prompt has {len(tokens)} tokens and the answer may have {limit}, but the context holds {self.context}.",
                "Ask with fewer sources, or raise model.context in the settings.",
            )
        stopped = stop_event or threading.Event()
        if not self._is_our_turn(stopped):
            yield last_chunk("interrupted", len(tokens))
            return
        try:
            choose = Choice(temperature, seed, top_logprobs)
            yield from self._written(tokens, limit, stop or [], stopped, choose, run_manager)
        finally:
            self._writing.release()

    def _is_our_turn(self, stopped: threading.Event) -> bool:
        """Wait until no other answer is being written; False if nobody waits for this one any more."""
        while not stopped.is_set():
            if self._writing.acquire(timeout=_LOOK_S):
                return True
        return False

    def _written(
        self,
        tokens: list[int],
        limit: int,
        stop: list[str],
        stopped: threading.Event,
        choose: Choice,
        run_manager: CallbackManagerForLLMRun | None,
    ) -> Iterator[ChatGenerationChunk]:
        answer = _Answer(self.weights, stop)
        cached = self._sequence.begin(tokens)
        ended = False
        for token in self._sequence.tokens_after(tokens, choose, stopped):
            if ended := token in self.weights.ends:
                break
            if piece := answer.add(token):
                if run_manager:
                    run_manager.on_llm_new_token(piece)
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
            if (ended := answer.ended) or len(answer.tokens) == limit:
                break
        if rest := answer.rest():
            yield ChatGenerationChunk(message=AIMessageChunk(content=rest))
        reason = "stop" if ended else "length" if len(answer.tokens) == limit else "interrupted"
        last = last_chunk(reason, len(tokens), cached, len(answer.tokens))
        if choose.told:
            last.message.response_metadata["logprobs"] = choose.as_openai(self.weights.tokenizer.decode)
        yield last


class _Answer:
    """Tokens on their way to text."""

    def __init__(self, weights: Weights, marks: Sequence[str]) -> None:
        self._tokenizer, self._marks = weights.tokenizer, marks
        self.tokens: list[int] = []
        self._shown = 0
        self.ended = False  # by a stop mark

    def add(self, token: int) -> str:
        """What can be shown now: up to the first stop mark, and nothing that may be half of one, or half of a character."""
        self.tokens.append(token)
        text = self._text()
        return "" if text.endswith(_BROKEN) else self._new(text, self._begun(text))

    def rest(self) -> str:
        """What `add` has held back."""
        return "" if self.ended else self._new(self._text())

    def _text(self) -> str:
        return str(self._tokenizer.decode(self.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _begun(self, text: str) -> int:
        """Length of the longest end of the text with which a stop mark may be beginning."""
        return max((n for mark in self._marks for n in range(1, len(mark)) if text.endswith(mark[:n])), default=0)

    def _new(self, text: str, held: int = 0) -> str:
        end = min((text.find(mark) for mark in self._marks if mark in text), default=-1)
        self.ended = end >= 0
        new = text[self._shown : end if self.ended else len(text) - held]
        self._shown += len(new)
        return new


class _Sequence:
    """The one row of tokens whose keys and values are kept."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None
        self._tokens: list[int] = []

    def begin(self, prompt: Sequence[int]) -> int:
        """Keep what the prompt shares with what has been computed, and say how many tokens these are; the last is read anew."""
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        pairs = zip(self._tokens, prompt[:-1], strict=False)
        same = next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(self._tokens), len(prompt) - 1))
        # A sliding window or a recurrent state forgets, so it cannot go back.
        if self._cache is None or same == 0 or any(type(layer) is not DynamicLayer for layer in self._cache.layers):
            same = 0
            self._cache = DynamicCache(config=self._model.config)
        elif more := len(self._tokens) - same:
            self._cache.crop(-more)
        self._tokens = list(prompt[:same])
        return same

    def tokens_after(self, prompt: Sequence[int], choose: Choice, stopped: threading.Event) -> Iterator[int]:
        """The chosen tokens after the prompt, one after the other, until `stopped` is set; `begin` comes first."""
        following = list(prompt[len(self._tokens) :])
        while True:
            for start in range(0, len(following), _SLICE):
                if stopped.is_set():
                    return
                scores = self._read(following[start : start + _SLICE])
            token = choose(scores.float().cpu().numpy())
            following = [token]
            yield token

    def _read(self, tokens: list[int]) -> "torch.Tensor":
        """Compute these tokens, and return the scores of the next one, shape (vocabulary,)."""
        import torch

        cache, known = self._cache, self._tokens
        self._cache, self._tokens = None, []  # whatever happens from here on, a half-written cache is not used again
        try:
            with torch.inference_mode():
                ids = torch.tensor([tokens], device=self._model.device)
                scores = self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1]
        except torch.OutOfMemoryError as error:
            remedy = "Close what else uses it, or lower model.context in the settings."
            raise CourseError("The GPU has too little memory for this answer.", remedy) from error
        self._cache, self._tokens = cache, [*known, *tokens]
        return cast("torch.Tensor", scores)
