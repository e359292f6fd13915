"""One llama.cpp model and its KV cache: sequences of computed tokens that can be read, copied, cut, saved, loaded and shifted.

Thin over the C interface of llama-cpp-python, and without any policy: what to compute, keep or forget is for scheduler.py.
The cache is unified, so a copied sequence shares the cells of the original instead of doubling them. Tokenising is safe in any
thread; everything else belongs to one thread at a time.
"""

import ctypes
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from knowledge.errors import MissingModel

_F16 = 1  # ggml type of K and V: shifting quantised keys would lose precision
_FLASH = 1  # on: without it V is stored transposed, and saved states are larger
_SAMPLE = 1 << 16  # bytes of each piece of a model file that its fingerprint reads
_SAMPLES = 256
_log = logging.getLogger(__name__)


class Full(Exception):
    """No free cells: forget a sequence and try again."""


class Aborted(Exception):
    """`Engine.abort` was set while a batch was being computed; nothing of that batch is in the cache."""


@dataclass(frozen=True, slots=True)
class Row:
    """One token to compute.

    Attributes:
        position: 0-based place in its sequence; must follow what the sequence holds.
        sequence: its sequence.
        predict: whether the most likely next token is wanted.
    """

    token: int
    position: int
    sequence: int
    predict: bool = False


class Engine:
    """A model with its cache.

    Args:
        path: a .gguf file.
        memory: bytes for the cache; a token takes 28.7 kB of it with a 1.5B Qwen2.
        least: tokens that the cache must hold, whatever that takes.
        sequences: how many there may be.
        threads: for computing.
        batch: most rows of one `compute`.

    Raises:
        MissingModel: the file cannot be loaded.
    """

    def __init__(self, path: Path, memory: int, least: int, sequences: int, threads: int, batch: int) -> None:
        import llama_cpp.llama_cpp as ll

        ll.llama_log_set(_silence(), ctypes.c_void_p())
        ll.llama_backend_init()
        self._ll: Any = ll
        self.path = path
        self.batch = batch
        self.sequences = sequences
        self.abort = threading.Event()
        self._open = True
        self._model = ll.llama_model_load_from_file(str(path).encode(), ll.llama_model_default_params())
        if not self._model:
            raise MissingModel(f"{path} cannot be loaded: it is no model or incomplete.", "Fetch it anew: lectern models pull.")
        self._vocab = ll.llama_model_get_vocab(self._model)
        self.cells = max(least, memory // self.cell_bytes)
        params = ll.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.kv_unified = self.cells, sequences, True
        params.n_batch = params.n_ubatch = batch  # one pass over the weights for each `compute`
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type, params.type_k, params.type_v = _FLASH, _F16, _F16
        self._context = ll.llama_init_from_model(self._model, params)
        if not self._context:
            ll.llama_model_free(self._model)
            raise MissingModel(
                f"{path} cannot be loaded: there is no memory for the state of {self.cells} tokens.",
                "Lower engine.memory_mb or model.context in the settings.",
            )
        self._memory = ll.llama_get_memory(self._context)
        self._batch = ll.llama_batch_init(batch, 0, 1)
        self._vocabulary = ll.llama_vocab_n_tokens(self._vocab)
        # Called between the nodes of a graph; it must live as long as the context.
        self._abort_callback = ll.ggml_abort_callback(lambda _: self.abort.is_set())
        self._moved = False  # keys still have to be turned to new places, which the next `compute` does first

    def close(self) -> None:
        """Free everything; whoever still asks for text gets a RuntimeError instead of freed memory."""
        self._open = False
        self._ll.llama_batch_free(self._batch)
        self._ll.llama_free(self._context)
        self._ll.llama_model_free(self._model)

    # Text

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

    # What it is

    @cached_property
    def identity(self) -> str:
        """Fingerprint of all that a saved state depends on: weights, version of llama.cpp, cache type."""
        from llama_cpp import __version__

        return f"{_fingerprint(self.path)}:{__version__}:f16"

    @cached_property
    def cell_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        ll, model = self._ll, self._model
        width = ll.llama_model_n_embd(model) // ll.llama_model_n_head(model) * ll.llama_model_n_head_kv(model)
        return 2 * 2 * int(ll.llama_model_n_layer(model) * width)

    def _metadata(self, key: str) -> str | None:
        buffer = ctypes.create_string_buffer(1 << 16)
        count = self._ll.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if count >= 0 else None

    # Computing

    def compute(self, rows: Sequence[Row], may_abort: bool = False) -> list[int]:
        """Put rows into the cache.

        Args:
            rows: at most `batch`; those of one sequence in order.
            may_abort: whether setting `abort` ends it at once, which costs a call into Python for each node of the graph.

        Returns:
            The most likely next token after each row that asks for it, in order.

        Raises:
            Full: there are not enough free cells; nothing has changed.
            Aborted: `abort` was set; nothing of these rows is in the cache.
            ValueError: there are more rows than `batch`, for which llama.cpp has no memory.
        """
        if len(rows) > self.batch:
            raise ValueError(f"{len(rows)} rows are more than the {self.batch} of a batch.")
        batch = self._batch
        batch.n_tokens = len(rows)
        for i, row in enumerate(rows):
            batch.token[i], batch.pos[i] = row.token, row.position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, row.sequence
            batch.logits[i] = row.predict
        may_abort = may_abort and not self._moved  # some keys would be turned twice
        self._moved = False
        callback = self._abort_callback if may_abort else self._ll.ggml_abort_callback()
        self._ll.llama_set_abort_callback(self._context, callback, ctypes.c_void_p())
        status = self._ll.llama_decode(self._context, batch)
        if status == 1:
            raise Full
        if status == 2:
            raise Aborted
        if status:
            raise RuntimeError(f"llama.cpp could not compute {len(rows)} tokens (status {status}).")
        self._ll.llama_synchronize(self._context)
        return [int(self.logits(i).argmax()) for i, row in enumerate(rows) if row.predict]

    def logits(self, row: int) -> NDArray[np.float32]:
        """Scores of the last batch's row, shape (vocabulary,); valid until the next `compute`."""
        return np.ctypeslib.as_array(self._ll.llama_get_logits_ith(self._context, row), shape=(self._vocabulary,))

    # Sequences

    def copy(self, source: int, target: int, length: int) -> None:
        """Let an empty sequence begin with the first tokens of another; they share the cells."""
        self._ll.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def cut(self, sequence: int, start: int, end: int = -1) -> None:
        """Forget positions [start, end) of a sequence; end -1 is its end."""
        self._ll.llama_memory_seq_rm(self._memory, sequence, start, end)

    def append(self, source: int, target: int, start: int, end: int, position: int) -> None:
        """Move positions [start, end) of one sequence to the end of another, where they begin at `position`.

        The keys are turned to their new places (RoPE shift), which is an approximation of computing them there.
        """
        self.cut(source, 0, start)
        self.cut(source, end)
        self._ll.llama_memory_seq_add(self._memory, source, -1, -1, position - start)
        self._ll.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self.cut(source, 0)
        self._moved = True

    def save(self, sequence: int) -> NDArray[np.uint8]:
        """A sequence's state as bytes, about `cell_bytes` a token."""
        data = np.empty(self._ll.llama_state_seq_get_size(self._context, sequence), dtype=np.uint8)
        written = self._ll.llama_state_seq_get_data(self._context, _bytes(data), data.size, sequence)
        return data[:written]

    def load(self, sequence: int, state: NDArray[np.uint8]) -> bool:
        """Replace a sequence by a saved state; False if there is no room, or llama.cpp refuses the bytes."""
        return bool(self._ll.llama_state_seq_set_data(self._context, _bytes(state), state.size, sequence))


def _bytes(data: NDArray[np.uint8]) -> Any:
    return data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))


def _fingerprint(path: Path) -> str:
    """Hash of a file's size and of pieces spread over it: any other training of the weights changes every piece."""
    size = path.stat().st_size
    digest = sha256(str(size).encode())
    with path.open("rb") as file:
        for start in np.linspace(0, max(0, size - _SAMPLE), _SAMPLES, dtype=int):
            file.seek(int(start))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()[:20]


_silent: list[Any] = []  # llama.cpp keeps a bare pointer to it


def _silence() -> Any:
    import llama_cpp.llama_cpp as ll

    if not _silent:
        _silent.append(ll.llama_log_callback(lambda level, text, _: _log.debug("%s", text.decode("utf-8", "replace").rstrip())))
    return _silent[0]
