"""A model behind any OpenAI-compatible server (vLLM, llama-server, LM Studio) as a LangChain chat model.

It sends rules, passages, conversation and question to the URL that it is given, and nothing anywhere else. LECTERN_MODEL_KEY is
sent as the bearer token, if set.
"""

import asyncio
import math
import os
import threading
from collections.abc import Coroutine, Iterator
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import ConfigDict, PrivateAttr

from assistant.llm.messages import StreamedModel, last_chunk, plain
from assistant.llm.server_errors import as_course_error
from course_guard.support.endpoint import address, is_local
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionChunk

KEY = "LECTERN_MODEL_KEY"
_BYTES_PER_TOKEN = 3.5  # median over the lessons of the starter course: SmolLM2 3.5, Qwen2.5 3.75
_LOOK_S = 0.05  # at the stop event, while the server says nothing
_CONNECT_S = 5.0
_ANY_KEY = "none"  # the client insists on one

Result = TypeVar("Result")


class ChatServer(StreamedModel):
    """LangChain chat model over a server's chat completions; connects when it is asked.

    Temperature 0, so it answers as the other ways do, as far as the server's own defaults (vLLM takes a repetition penalty from
    the model's folder) allow. Whoever sets `stop_event` or closes the iterator breaks the connection, and so frees the server
    at once. What is asked twice is the server's to remember: cached_tokens says what it told.

    Control tokens in passages are told from text by the server, or not: vLLM reads a <|im_end|> in them as one.

    Args:
        url: base of the endpoint, such as http://127.0.0.1:8000/v1.
        model: as the server calls it; adapters have names of their own there.
        wait_s: seconds that the server may say nothing.
        retries: further tries where it cannot be reached, or says that it is busy (429, 5xx); each waits longer.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    url: str
    model: str
    max_tokens: int = 256
    wait_s: float = 120.0
    retries: int = 2

    _connecting: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "lectern-server"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"url": self.url, "model": self.model}

    def count_tokens(self, text: str) -> int:
        """Length of plain text in tokens, estimated: the interface has no way to ask."""
        return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)

    def models(self) -> list[str]:
        """Names of the models that the server says it has; some answer to others as well.

        Raises:
            CourseError: it does not answer, or it refuses the key.
        """
        names: list[str] = self._run(self._models()).result()
        return names

    async def _models(self) -> list[str]:
        try:
            return [model.id for model in (await self._client.models.list()).data]
        except Exception as error:
            raise as_course_error(error, self.url, self.model, self._key) from error

    @property
    def _key(self) -> str:
        return os.environ.get(KEY, "")

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """Where the network is read, so that a reader who leaves breaks the connection whatever it is waiting for."""
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="chat-server", daemon=True).start()
        return loop

    @cached_property
    def _client(self) -> "AsyncOpenAI":
        from httpx import AsyncClient, Timeout
        from openai import AsyncOpenAI, Omit

        # Whose account it is at OpenAI is no other server's business.
        private: dict[str, Any] = {"OpenAI-Organization": Omit(), "OpenAI-Project": Omit()}
        return AsyncOpenAI(
            base_url=self.url,
            api_key=self._key or _ANY_KEY,
            max_retries=self.retries,
            default_headers=private,
            http_client=AsyncClient(
                timeout=Timeout(self.wait_s, connect=_CONNECT_S),
                follow_redirects=False,  # to where nobody has named
                trust_env=not is_local(self.url),  # a proxy cannot reach this machine
            ),
        )

    def _run(self, work: Coroutine[Any, Any, Result]) -> "asyncio.Future[Result] | Any":
        with self._connecting:
            return asyncio.run_coroutine_threadsafe(work, self._loop)

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
        request = {
            "model": self.model,
            "messages": plain(messages),
            "max_tokens": max_tokens or self.max_tokens,
            "temperature": temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"stop": stop} if stop else {}),
            **({"seed": seed} if seed is not None else {}),
            **({"logprobs": True, "top_logprobs": top_logprobs} if top_logprobs else {}),
        }
        heard: SimpleQueue[ChatCompletionChunk | CourseError | None] = SimpleQueue()
        asking = self._run(self._ask(request, heard))
        reason, usage = "", None
        told: list[dict[str, Any]] = []
        try:
            for chunk in _until_stopped(heard, stop_event or threading.Event()):
                if chunk is None:
                    reason = "interrupted"
                    break
                usage = chunk.usage or usage
                for choice in chunk.choices[:1]:
                    reason = choice.finish_reason or reason
                    if choice.logprobs and choice.logprobs.content:
                        told += [token.model_dump() for token in choice.logprobs.content]
                    if piece := choice.delta.content:
                        if run_manager:
                            run_manager.on_llm_new_token(piece)
                        yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        finally:
            asking.cancel()  # closes the connection, if it is still open
        if not reason:
            problem = f"The answer of {self.model} at {self.url} broke off, or it does not speak the interface of OpenAI."
            raise CourseError(problem, "Ask again; give the server's base URL, which usually ends in /v1.")
        last = last_chunk(reason)
        if usage is not None:
            details = usage.prompt_tokens_details
            cached = (details.cached_tokens if details else 0) or 0
            last = last_chunk(reason, usage.prompt_tokens, cached, usage.completion_tokens)
        if told:
            last.message.response_metadata["logprobs"] = {"content": told}
        yield last

    async def _ask(self, request: dict[str, Any], heard: "SimpleQueue[Any]") -> None:
        try:
            async with await self._client.chat.completions.create(**request) as stream:
                async for chunk in stream:
                    heard.put(chunk)
        except Exception as error:  # raised in the thread of the one who waits
            heard.put(as_course_error(error, self.url, self.model, self._key))
        else:
            heard.put(None)


def _until_stopped(heard: "SimpleQueue[Any]", stopped: threading.Event) -> "Iterator[ChatCompletionChunk | None]":
    """What the server says; None and no more once `stopped` is set."""
    while not stopped.is_set():
        try:
            item = heard.get(timeout=_LOOK_S)
        except Empty:
            continue
        if item is None:
            return
        if isinstance(item, CourseError):
            raise item
        yield item
    yield None


def chat_server(where: str) -> ChatServer:
    """The model of URL#MODEL; nothing is connected.

    Raises:
        CourseError: `where` is not of that form, or has a password in it.
    """
    url, model = address(where)
    if "@" in urlsplit(url).netloc:  # it would be shown and kept with every answer
        raise CourseError("The address of the model holds a password.", f"Put the key into the environment variable {KEY}.")
    return ChatServer(url=url.rstrip("/"), model=model)
