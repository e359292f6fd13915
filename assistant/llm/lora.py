"""LoRA adapters for a model that llama.cpp has loaded: an adapter adds a small product to some of its matrices.

An adapter written by `lectern finetune export` names the weights that it was trained on (the key `BASE`), so it is refused on
others of the same shape, on which it would only do harm. llama.cpp checks architecture, names and shapes.
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.llm.fingerprint import sha256
from assistant.llm.log import complaint
from knowledge.errors import CourseError

BASE = "lectern.base"  # GGUF key: fingerprint of the weights that the adapter belongs to
_REMEDY = "Go back to another one: lectern finetune rollback, or LECTERN_MODEL__ADAPTER=none."


@dataclass(frozen=True, slots=True)
class Adapter:
    """A loaded adapter.

    Attributes:
        pointer: what llama.cpp knows it by.
        sha256: of its file.
    """

    pointer: Any
    sha256: str


def load(model: Any, path: Path, base: str) -> Adapter:
    """Read an adapter for a model.

    Args:
        model: llama.cpp's pointer to it.
        path: a .gguf file.
        base: fingerprint of the model's weights.

    Raises:
        CourseError: there is no such file, it is no adapter, or one of another model.
    """
    import llama_cpp.llama_cpp as ll

    try:
        digest = sha256(path)
    except OSError as error:
        raise CourseError(f"The adapter {path} cannot be read: {error.strerror}.", _REMEDY) from error
    complaint()  # forget an older one
    pointer = ll.llama_adapter_lora_init(model, str(path).encode())
    if not pointer:
        raise CourseError(
            f"The adapter {path} does not fit the model: {complaint() or 'it is not a whole GGUF file'}.", _REMEDY
        )
    buffer = ctypes.create_string_buffer(256)
    named = ll.llama_adapter_meta_val_str(pointer, BASE.encode(), buffer, len(buffer)) >= 0
    if named and buffer.value.decode("utf-8", "replace") != base:
        ll.llama_adapter_lora_free(pointer)
        raise CourseError(f"The adapter {path} was made for another model than this one.", _REMEDY)
    return Adapter(pointer, digest)


def apply(context: Any, adapter: Adapter | None) -> None:
    """Let a context compute with an adapter, or with none."""
    import llama_cpp.llama_cpp as ll

    if adapter is None:
        ll.llama_set_adapters_lora(context, None, 0, None)
        return
    pointers = (ll.llama_adapter_lora_p_ctypes * 1)(ctypes.cast(adapter.pointer, ll.llama_adapter_lora_p_ctypes))
    ll.llama_set_adapters_lora(context, pointers, 1, (ctypes.c_float * 1)(1.0))


def free(adapter: Adapter | None) -> None:
    """Give its memory back; no context may use it any more."""
    import llama_cpp.llama_cpp as ll

    if adapter is not None:
        ll.llama_adapter_lora_free(adapter.pointer)


def useless(path: Path) -> CourseError:
    """What to say of an adapter whose numbers are none."""
    return CourseError(f"With the adapter {path} the model computes no finite numbers.", _REMEDY)
