"""A trained LoRA adapter as llama.cpp reads it, and a model that it has been merged into.

PEFT keeps two matrices for each linear layer that was trained, A (rank, in) and B (out, rank), and the layer computes
W x + scale B A x. A GGUF adapter holds the same pairs under llama.cpp's names (read by llama-adapter.cpp). Two things differ:
- llama.cpp scales by alpha / rank and knows nothing else, so rank-stabilised LoRA's alpha / sqrt(rank) (Kalajdzievski, 2023) is
  stored as a larger alpha.
- GGUF files of the architecture "llama" order the rows of the query and key projections for rotary embeddings that turn
  neighbours, Hugging Face for ones that turn halves, so there the rows of B are reordered too. "qwen2" turns halves in both.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assistant.llm.fingerprint import fingerprint
from assistant.llm.lora import BASE
from finetune.gguf_files import GgufFile, import_gguf, written
from knowledge.errors import CourseError

ARCHITECTURES = ("llama", "qwen2")
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<which>[AB])\.weight")
_REMEDY = "Train it with `lectern finetune sft` or dpo, whose settings can be exported."
# What PEFT can do and llama.cpp cannot, by the key of adapter_config.json that is set then.
_REFUSED = {
    "use_dora": "DoRA, whose magnitudes llama.cpp does not know",
    "rank_pattern": "ranks that differ from layer to layer",
    "alpha_pattern": "scales that differ from layer to layer",
    "modules_to_save": "whole layers that were trained beside it",
    "lora_bias": "trained biases",
    "layer_replication": "layers that were doubled",
    "trainable_token_indices": "trained tokens",
    "target_parameters": "parameters that belong to no linear layer",
    "alora_invocation_tokens": "activation by a token (aLoRA)",
    "use_qalora": "QALoRA's grouped inputs",
    "use_bdlora": "block-diagonal matrices",
    "fan_in_fan_out": "transposed layers",
    "kasa_config": "KaSA's singular values",
    "monteclora_config": "sampled weights",
    "arrow_config": "routing between adapters",
}
_INITIAL = (True, False, "gaussian", "orthogonal", "eva")  # of PEFT's ways to begin those that leave the base as it is


@dataclass(frozen=True, slots=True)
class Update:
    """What is added to one matrix W (out, in): B A, times the scale of the adapter.

    Attributes:
        a: shape (rank, in), float32.
        b: shape (out, rank), float32; rows in the order of the GGUF file.
    """

    a: NDArray[np.float32]
    b: NDArray[np.float32]


def to_gguf_adapter(peft_folder: Path, base_gguf: Path, out: Path) -> Path:
    """Write a PEFT adapter as a GGUF adapter, which replaces `out` in one step.

    Args:
        peft_folder: holds adapter_config.json and adapter_model.safetensors.
        base_gguf: the model that it was trained on; its fingerprint goes into the adapter, which works on no other.
        out: the file to write.

    Raises:
        CourseError: the adapter does more than llama.cpp can, is damaged or not one of this model, or `out` cannot be written.
    """
    gguf = import_gguf()
    base = GgufFile.read(base_gguf)
    _require_architecture(base)
    config = _config(peft_folder, base)
    rank = int(config["r"])
    alpha = float(config["lora_alpha"]) * (math.sqrt(rank) if config.get("use_rslora") else 1)
    updates = _updates(peft_folder, base, rank)
    with written(out) as part:
        writer = gguf.GGUFWriter(part, base.architecture)
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
        writer.add_string(BASE, fingerprint(base_gguf))
        for name, update in updates.items():
            writer.add_tensor(f"{name}.lora_a", update.a)
            writer.add_tensor(f"{name}.lora_b", update.b)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return out


def _require_architecture(base: GgufFile) -> None:
    if base.architecture not in ARCHITECTURES:
        raise CourseError(
            f"{base.path} has the architecture {base.architecture}, for which no adapters can be exported.",
            f"Train a model of one of these: {', '.join(ARCHITECTURES)}.",
        )


def _config(folder: Path, base: GgufFile) -> Mapping[str, Any]:
    """adapter_config.json, if llama.cpp can do all that it says."""
    path = folder / "adapter_config.json"
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CourseError(f"{path} cannot be read: {error}.", "Name the folder of a finished training run.") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise CourseError(f"{path} describes no LoRA adapter.", _REMEDY)
    for key, what in _REFUSED.items():
        if config.get(key):
            raise CourseError(f"{path} sets {key}: {what}.", _REMEDY)
    if config.get("bias", "none") != "none":
        raise CourseError(f"{path} sets bias: trained biases.", _REMEDY)
    if (initial := config.get("init_lora_weights", True)) not in _INITIAL:
        raise CourseError(f"{path} sets init_lora_weights: {initial!r} changes the base weights too.", _REMEDY)
    for key in ("r", "lora_alpha"):
        number = config.get(key)
        if not isinstance(number, (int, float)) or not 0 < number < math.inf:
            raise CourseError(f"{path} sets {key} to {number!r}, which is no positive number.", _REMEDY)
    trained_on = _model_type(config.get("base_model_name_or_path"))
    if trained_on not in (None, base.architecture):
        raise CourseError(
            f"The adapter in {folder} was trained on the architecture {trained_on}, but {base.path} has {base.architecture}.",
            "Name the model that it was trained on.",
        )
    return config


def _model_type(name: object) -> str | None:
    """Architecture of the model that an adapter was trained on, if that lies on this machine."""
    try:
        found = json.loads((Path(str(name)) / "config.json").read_bytes()).get("model_type")
    except (OSError, ValueError, AttributeError):  # a name of the hub, or a folder that is gone: the shapes decide
        return None
    return str(found) if found else None


def _updates(folder: Path, base: GgufFile, rank: int) -> dict[str, Update]:
    """The matrices by the name of the tensor that they belong to, in the base's order."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / "adapter_model.safetensors"
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CourseError(f"{path} cannot be read: {error}.", "Name the folder of a finished training run.") from error
    names = import_gguf().get_tensor_name_map(base.model_arch, base.number("block_count"))
    found: dict[str, dict[str, NDArray[np.float32]]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        name = names.get_name(f"{match['module']}.weight", try_suffixes=(".weight",)) if match else None
        if match is None or name is None or not name.startswith("blk.") or name not in base.tensors:
            raise CourseError(f"{path}: {key} is not LoRA of a layer that {base.path.name} has.", _REMEDY)
        matrix = tensor.float().numpy()  # numpy has no bfloat16
        if not np.isfinite(matrix).all():
            raise CourseError(f"{path}: {key} holds numbers that are not finite.", "Train it anew, with a lower learning rate.")
        found.setdefault(name, {})[match["which"]] = matrix
    if not found:
        raise CourseError(f"{path} holds no tensors.", _REMEDY)
    updates = {name: _checked(path, name, found[name], base, rank) for name in base.tensors if name in found}
    return {name: Update(update.a, _reordered(update.b, name, base)) for name, update in updates.items()}


def _checked(path: Path, name: str, pair: Mapping[str, NDArray[np.float32]], base: GgufFile, rank: int) -> Update:
    out, into = base.shape(name)
    if set(pair) != {"A", "B"}:
        raise CourseError(
            f"{path}: of {name} only one of two matrices is there.", "Name the folder of a finished training run."
        )
    a, b = pair["A"], pair["B"]
    if (a.shape, b.shape) != ((rank, into), (out, rank)):
        raise CourseError(
            f"{path}: the matrices of {name} have the shapes {a.shape} and {b.shape}, "
            f"but {base.path.name} needs {(rank, into)} and {(out, rank)}.",
            "Name the model that it was trained on.",
        )
    return Update(a, b)


def _reordered(b: NDArray[np.float32], name: str, base: GgufFile) -> NDArray[np.float32]:
    """Rows as the base's file has them: (head, half, pair) becomes (head, pair, half) for queries and keys of llama."""
    if base.architecture != "llama" or not name.endswith((".attn_q.weight", ".attn_k.weight")):
        return b
    heads = base.number("attention.head_count")
    if name.endswith(".attn_k.weight"):
        heads = base.number("attention.head_count_kv", heads)
    by_half = b.reshape(heads, 2, -1, b.shape[1])
    return np.ascontiguousarray(by_half.swapaxes(1, 2)).reshape(b.shape)
