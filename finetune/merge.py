"""A model with its adapter merged into its weights: one GGUF file that any llama.cpp serves, without the adapter's extra work.

The merged matrices are stored in 8 bits (Q8_0), because the rounding of 4 bits can be larger than all that an adapter changed;
the others stay as they are, bit for bit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assistant.llm.fingerprint import fingerprint
from assistant.llm.lora import BASE
from finetune.gguf_files import GgufFile, import_gguf, written
from knowledge.errors import CourseError

_OWN = ("GGUF.", "general.architecture", "general.alignment", "general.file_type")  # the writer writes these itself
_BLOCK = 32  # numbers of a block of Q8_0
_BLOCK_BYTES = 34  # a 16-bit scale and 32 numbers of 8 bits


def merged_q8(base_gguf: Path, adapter_gguf: Path, out: Path, progress: Callable[[int, int], None] = lambda *_: None) -> Path:
    """Write base + scale B A, which replaces `out` in one step.

    Args:
        base_gguf: the model, of any architecture and quantisation.
        adapter_gguf: made by `to_gguf_adapter` or llama.cpp's converter.
        out: the file to write; needs about as many bytes as the model has weights.
        progress: is told after each tensor how many of how many are done.

    Raises:
        CourseError: a file is damaged, they do not belong together, or `out` cannot be written.
    """
    gguf = import_gguf()
    base, adapter = GgufFile.read(base_gguf), GgufFile.read(adapter_gguf)
    scale = _scale(base, adapter)
    touched = {name.removesuffix(".lora_a") for name in adapter.tensors if name.endswith(".lora_a")}
    with written(out) as part:
        writer = gguf.GGUFWriter(part, base.architecture)
        _copy_metadata(base, writer)
        for name, tensor in base.tensors.items():
            _announce(writer, tensor, base.shape(name), name in touched)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        # One after another: all of them may be more than fits into memory.
        for done, (name, tensor) in enumerate(base.tensors.items(), start=1):
            merged = _merged(tensor, adapter, scale) if name in touched else np.asarray(tensor.data)
            writer.write_tensor_data(merged)
            progress(done, len(base.tensors))
        writer.close()
    return out


def _scale(base: GgufFile, adapter: GgufFile) -> float:
    """What B A is multiplied by, after all checks that the adapter belongs to the base."""
    gguf = import_gguf()
    what = (adapter.text(gguf.Keys.General.TYPE), adapter.text(gguf.Keys.Adapter.TYPE))
    if what != ("adapter", "lora"):
        raise CourseError(f"{adapter.path} is no LoRA adapter.", "Make one: lectern finetune export RUN")
    made_for = adapter.text(BASE)
    if adapter.architecture != base.architecture or made_for not in ("", fingerprint(base.path)):
        raise CourseError(
            f"{adapter.path} was made for another model than {base.path}.", "Name the model that it was trained on."
        )
    ranks = set()
    for name in adapter.tensors:
        target, _, which = name.rpartition(".")
        pair = {f"{target}.lora_a", f"{target}.lora_b"}
        if which not in ("lora_a", "lora_b") or target not in base.tensors or not pair <= adapter.tensors.keys():
            raise CourseError(f"{adapter.path}: {name} does not fit {base.path}.", "Name the model that it was trained on.")
        (rank, into), (out, other) = (adapter.shape(f"{target}.lora_{which}") for which in "ab")
        if (out, into) != base.shape(target) or rank != other:
            raise CourseError(
                f"{adapter.path}: {name} has the wrong shape for {base.path}.", "Name the model that it was trained on."
            )
        ranks.add(rank)
    if len(ranks) != 1:
        raise CourseError(f"{adapter.path} has matrices of {len(ranks)} ranks instead of one.", "Make it anew.")
    field = adapter.fields.get(gguf.Keys.Adapter.LORA_ALPHA)
    alpha = float(field.contents()) if field else 0.0
    return alpha / ranks.pop() if alpha else 1.0  # as llama.cpp has it


def _copy_metadata(base: GgufFile, writer: Any) -> None:
    gguf = import_gguf()
    for field in base.fields.values():
        if not field.name.startswith(_OWN):
            kind = field.types[0]
            inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), kind, inner)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


def _announce(writer: Any, tensor: Any, shape: tuple[int, ...], touched: bool) -> None:
    """Tell the writer what comes; it wants shapes in bytes for quantised tensors."""
    gguf = import_gguf()
    if not touched:
        writer.add_tensor_info(tensor.name, tensor.data.shape, tensor.data.dtype, tensor.data.nbytes, tensor.tensor_type)
        return
    rows, columns = shape
    if columns % _BLOCK:
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.float16), 2 * rows * columns)
        return
    row_bytes = columns // _BLOCK * _BLOCK_BYTES
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor_info(tensor.name, (rows, row_bytes), np.dtype(np.uint8), rows * row_bytes, kind)


def _merged(tensor: Any, adapter: GgufFile, scale: float) -> NDArray[Any]:
    gguf = import_gguf()
    a, b = (_float32(adapter.tensors[f"{tensor.name}.lora_{which}"]) for which in "ab")
    weights = _float32(tensor) + np.float32(scale) * (b @ a)
    if weights.shape[1] % _BLOCK:
        return weights.astype(np.float16)
    return np.asarray(gguf.quantize(weights, gguf.GGMLQuantizationType.Q8_0))


def _float32(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(import_gguf().dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
