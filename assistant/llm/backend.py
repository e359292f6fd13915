"""Three ways to the same answer: llama.cpp on this machine, transformers on its GPU, any OpenAI-compatible server."""

import threading
from functools import cache, lru_cache
from pathlib import Path

from assistant.llm.chat_hf import ChatHf
from assistant.llm.chat_llama import ChatLlama
from assistant.llm.chat_openai import ChatServer, chat_server
from assistant.models import HF, OPENAI, hf_folder, model_path
from assistant.settings import EngineSettings, Settings, thread_count
from knowledge.errors import CourseError

CourseModel = ChatLlama | ChatHf | ChatServer
"""Each is a LangChain chat model that takes `max_tokens`, `stop_event` and `stop`, ends its stream with the counts of tokens,
and counts those of a text with `count_tokens`. Only ChatLlama reads ahead (assistant/warming.py)."""

_PEFT = "peft"  # beside adapter.gguf: the same adapter as transformers reads it
_making = threading.Lock()
_llamas: dict[tuple[Path, int, int, Path, EngineSettings], ChatLlama] = {}


def make_model(settings: Settings, name: str | None = None, adapter: Path | None = None) -> CourseModel:
    """The chat model of a name; the same object when it is asked for again.

    Weights are read at first use, and no server is asked before. Of a GGUF file there is one model, on which the adapter is
    changed; answers that have begun end with the adapter that they began with.

    Args:
        settings: of context, engine and folders.
        name: as settings.model.name, which it replaces.
        adapter: to answer with. For a GGUF model adapter.gguf, for hf: a folder that PEFT has saved, or adapter.gguf with such
            a folder called peft beside it. A server puts on its own adapters: their names go behind the # of openai:URL#MODEL.

    Raises:
        MissingModel: its weights, or its folder, are not here.
        CourseError: the address of a server is malformed; the adapter cannot be used.
    """
    name = name or settings.model.name
    with _making:
        if name.startswith(OPENAI):
            if adapter is not None:
                remedy = "Let the server load it, and name it behind the #: openai:URL#ADAPTER."
                raise CourseError(f"An adapter cannot be put on {name}.", remedy)
            return _server(name.removeprefix(OPENAI))
        if name.startswith(HF):
            folder = hf_folder(name, settings.finetune_dir / "bases")
            return _transformers(folder, adapter and _peft_folder(adapter), settings.model.context)
        return _llama(settings, model_path(name), adapter)


def _peft_folder(adapter: Path) -> Path:
    folder = adapter if adapter.is_dir() else adapter.with_name(_PEFT)
    if not (folder / "adapter_config.json").is_file():
        raise CourseError(
            f"There is no adapter for transformers in {folder}.", "Make it anew: lectern finetune export, then promote."
        )
    return folder


@cache
def _server(where: str) -> ChatServer:
    return chat_server(where)


@lru_cache(maxsize=1)  # two would not fit into most GPUs
def _transformers(folder: Path, adapter: Path | None, context: int) -> ChatHf:
    return ChatHf(folder=folder, adapter=adapter, context=context)


def _llama(settings: Settings, path: Path, adapter: Path | None) -> ChatLlama:
    threads = thread_count(settings.model)
    key = (path, settings.model.context, threads, settings.states_dir, settings.engine)
    if key not in _llamas:
        _llamas[key] = ChatLlama(
            path=path,
            context=settings.model.context,
            threads=threads,
            states=settings.states_dir,
            adapter=adapter,
            engine=settings.engine,
        )
    elif _llamas[key].adapter != adapter:
        _llamas[key].use_adapter(adapter)
    return _llamas[key]
