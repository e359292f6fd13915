"""What a model that llama.cpp has loaded makes of text: tokens and pieces of them, and its chat template."""

import ctypes
from functools import cached_property
from typing import Any


class Vocabulary:
    """The part of an engine that any thread may use.

    Args:
        model: llama.cpp's pointer to it; whoever frees it clears `_open` first.
    """

    def __init__(self, model: Any) -> None:
        import llama_cpp.llama_cpp as ll

        self._ll: Any = ll
        self._model = model
        self._vocab = ll.llama_model_get_vocab(model)
        self._open = True

    @cached_property
    def chat_template(self) -> str | None:
        """Jinja source of the model's chat template, if it has one."""
        return self._metadata("tokenizer.chat_template")

    @property
    def bos(self) -> int:
        """Token that begins a text, or -1."""
        return int(self._ll.llama_vocab_bos(self._vocab))

    @property
    def eos(self) -> int:
        """Token that ends a text, or -1."""
        return int(self._ll.llama_vocab_eos(self._vocab))

    def is_end(self, token: int) -> bool:
        """Whether a token ends the answer."""
        return bool(self._ll.llama_vocab_is_eog(self._vocab, token))

    def tokenize(self, text: str, special: bool) -> list[int]:
        """Tokens of a text, none added; `special`: whether "<|im_end|>" is a control token or ten characters."""
        self._require_open()
        data = text.encode("utf-8", "replace")
        buffer = (ctypes.c_int32 * (len(data) + 8))()
        count = self._ll.llama_tokenize(self._vocab, data, len(data), buffer, len(buffer), False, special)
        if count < 0:
            raise RuntimeError(f"llama.cpp cannot tokenise {len(data)} bytes.")
        return list(buffer[:count])

    def piece(self, token: int, special: bool = False) -> bytes:
        """The bytes of a token, which may end inside a character; a control token has none unless `special`."""
        self._require_open()
        buffer = ctypes.create_string_buffer(256)
        count = self._ll.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, special)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = self._ll.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, special)
        return buffer.raw[:count]

    def _require_open(self) -> None:
        if not self._open:
            raise RuntimeError("The engine is closed.")

    def _metadata(self, key: str) -> str | None:
        buffer = ctypes.create_string_buffer(1 << 16)
        count = self._ll.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if count >= 0 else None
