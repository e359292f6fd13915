"""One llama.cpp model and its KV cache: sequences of computed tokens that can be read, copied, cut, saved, loaded and shifted.

Thin over the C interface of llama-cpp-python, and without any policy: what to compute, keep or forget is for scheduler.py.
The cache is unified, so a copied sequence shares the cells of the original instead of doubling them. Tokenising is safe in any
thread; everything else belongs to one thread at a time.
"""

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assistant.llm import lora
from assistant.llm.fingerprint import fingerprint
from assistant.llm.log import listen
from assistant.llm.vocabulary import Vocabulary
from knowledge.errors import MissingModel

_F16 = 1  # ggml type of K and V: shifting quantised keys would lose precision
_FLASH = 1  # on: without it V is stored transposed, and saved states are larger


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


class Engine(Vocabulary):
    """A model with its cache, and the LoRA adapter that `use_adapter` has put on it.

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

    _adapter: lora.Adapter | None = None

    def __init__(self, path: Path, memory: int, least: int, sequences: int, threads: int, batch: int) -> None:
        import llama_cpp.llama_cpp as ll

        listen()
        ll.llama_backend_init()
        self.path = path
        self.batch = batch
        self.sequences = sequences
        self.abort = threading.Event()
        model = ll.llama_model_load_from_file(str(path).encode(), ll.llama_model_default_params())
        if not model:
            raise MissingModel(f"{path} cannot be loaded: it is no model or incomplete.", "Fetch it anew: lectern models pull.")
        super().__init__(model)
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

    # What it is

    @cached_property
    def base(self) -> str:
        """Fingerprint of the weights without an adapter."""
        return fingerprint(self.path)

    @property
    def identity(self) -> str:
        """Fingerprint of all that a saved state depends on: weights, version of llama.cpp, cache type, adapter."""
        from llama_cpp import __version__

        adapter = f":{self._adapter.sha256}" if self._adapter else ""
        return f"{self.base}:{__version__}:f16{adapter}"

    @cached_property
    def cell_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        ll, model = self._ll, self._model
        width = ll.llama_model_n_embd(model) // ll.llama_model_n_head(model) * ll.llama_model_n_head_kv(model)
        return 2 * 2 * int(ll.llama_model_n_layer(model) * width)

    def use_adapter(self, path: Path | None) -> None:
        """Compute with this LoRA adapter, or with none, from now on; the cache is empty afterwards.

        The weights stay where they are: llama.cpp adds the adapter's part to each product as it goes.

        Raises:
            CourseError: the file is missing, is no adapter of this model or leaves it without a finite score; it goes on with
                the adapter that it had.
        """
        before = self._adapter
        new = lora.load(self._model, path, self.base) if path else None
        try:
            self._adapter = new
            self._apply()
            self.compute([Row(max(self.bos, 0), 0, 0, predict=True)])
            if path and not np.isfinite(self.logits(0)).all():
                raise lora.useless(path)
        except BaseException:
            self._adapter = before
            self._apply()
            lora.free(new)
            raise
        self._ll.llama_memory_clear(self._memory, True)
        lora.free(before)

    def _apply(self) -> None:
        lora.apply(self._context, self._adapter)
        self._ll.llama_memory_clear(self._memory, True)  # what it holds was computed with another adapter
        self._moved = False

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
