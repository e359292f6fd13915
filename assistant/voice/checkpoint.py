"""Whisper's weights from CTranslate2's file as openai-whisper wants them, number for number.

CTranslate2's format (its source, python/ctranslate2/specs/model_spec.py, version 6): version, name and revision; a count of
tensors, each with name, shape, type and bytes; a count of aliases. Strings have a length of 16 bits that counts a closing zero.
It takes about a second, so nothing is kept: no second copy of the weights on disk that could grow stale.
"""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_VERSION = 6
_TYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")


def read(path: Path) -> dict[str, NDArray]:
    """Read the tensors of a CTranslate2 file by name.

    Raises:
        ValueError: it is none of Whisper's, of another version, quantised, or cut short.
    """
    with path.open("rb") as file:
        (version,) = _unpack(file, "I")
        if version != _VERSION:
            raise ValueError(f"it is of version {version}, not {_VERSION}")
        if (kind := _string(file)) != "WhisperSpec":
            raise ValueError(f"it is a {kind}")
        _revision, count = _unpack(file, "II")
        tensors = dict(_tensor(file) for _ in range(count))
    if any(name.endswith("weight_scale") for name in tensors):
        raise ValueError("its weights are quantised")
    return tensors


def converted(tensors: dict[str, NDArray]) -> tuple[dict[str, int], dict[str, Array]]:
    """Name and cut CTranslate2's tensors as openai-whisper does.

    Returns:
        The model's dimensions and its weights by name, both of openai-whisper.

    Raises:
        ValueError: a tensor is missing or of another shape than Whisper's, or a key has a bias, which it cannot have there.
    """
    try:
        return _dimensions(tensors), {
            **_ends(tensors, "encoder", "encoder/layer_norm", "encoder.ln_post"),
            **_ends(tensors, "decoder", "decoder/layer_norm", "decoder.ln"),
            **_affine(tensors, "encoder/conv1", "encoder.conv1"),
            **_affine(tensors, "encoder/conv2", "encoder.conv2"),
            "decoder.token_embedding.weight": _array(tensors, "decoder/embeddings/weight"),
            **{
                k: v
                for side in ("encoder", "decoder")
                for i in range(_depth(tensors, side))
                for k, v in _block(tensors, side, i)
            },
        }
    except KeyError as error:
        raise ValueError(f"it has no {error.args[0]}") from error


def _dimensions(tensors: dict[str, NDArray]) -> dict[str, int]:
    state, mels, _ = tensors["encoder/conv1/weight"].shape
    heads = int(tensors["encoder/num_heads"])
    return {
        "n_mels": mels,
        "n_audio_ctx": len(tensors["encoder/position_encodings/encodings"]),
        "n_audio_state": state,
        "n_audio_head": heads,
        "n_audio_layer": _depth(tensors, "encoder"),
        "n_vocab": len(tensors["decoder/embeddings/weight"]),
        "n_text_ctx": len(tensors["decoder/position_encodings/encodings"]),
        "n_text_state": state,
        "n_text_head": heads,
        "n_text_layer": _depth(tensors, "decoder"),
    }


def _depth(tensors: dict[str, NDArray], side: str) -> int:
    return sum(name.startswith(f"{side}/layer_") and name.endswith("/ffn/linear_0/weight") for name in tensors)


def _ends(tensors: dict[str, NDArray], side: str, norm: str, norm_there: str) -> dict[str, Array]:
    return {
        f"{side}.positional_embedding": _array(tensors, f"{side}/position_encodings/encodings"),
        **_norm(tensors, norm, norm_there),
    }


def _block(tensors: dict[str, NDArray], side: str, number: int) -> list[tuple[str, Array]]:
    here, there = f"{side}/layer_{number}", f"{side}.blocks.{number}"
    attention = f"{here}/self_attention"
    named = {
        **_norm(tensors, f"{attention}/layer_norm", f"{there}.attn_ln"),
        **_split(tensors, f"{attention}/linear_0", f"{there}.attn", ("query", "key", "value")),
        **_affine(tensors, f"{attention}/linear_1", f"{there}.attn.out"),
        **_norm(tensors, f"{here}/ffn/layer_norm", f"{there}.mlp_ln"),
        **_affine(tensors, f"{here}/ffn/linear_0", f"{there}.mlp.0"),
        **_affine(tensors, f"{here}/ffn/linear_1", f"{there}.mlp.2"),
    }
    if side == "decoder":
        cross = f"{here}/attention"
        named |= {
            **_norm(tensors, f"{cross}/layer_norm", f"{there}.cross_attn_ln"),
            **_affine(tensors, f"{cross}/linear_0", f"{there}.cross_attn.query"),
            **_split(tensors, f"{cross}/linear_1", f"{there}.cross_attn", ("key", "value")),
            **_affine(tensors, f"{cross}/linear_2", f"{there}.cross_attn.out"),
        }
    return list(named.items())


def _split(tensors: dict[str, NDArray], here: str, there: str, parts: tuple[str, ...]) -> dict[str, Array]:
    """Cut stacked projections apart; a key's bias would cancel out in the softmax, so Whisper has none and it is zero here."""
    named: dict[str, Array] = {}
    weights = np.split(_array(tensors, f"{here}/weight"), len(parts))
    biases = np.split(_array(tensors, f"{here}/bias"), len(parts))
    for part, weight, bias in zip(parts, weights, biases, strict=True):
        named[f"{there}.{part}.weight"] = weight
        if part != "key":
            named[f"{there}.{part}.bias"] = bias
        elif bias.any():
            raise ValueError(f"{here} has a bias for its keys")
    return named


def _affine(tensors: dict[str, NDArray], here: str, there: str) -> dict[str, Array]:
    return {f"{there}.{part}": _array(tensors, f"{here}/{part}") for part in ("weight", "bias")}


def _norm(tensors: dict[str, NDArray], here: str, there: str) -> dict[str, Array]:
    return {f"{there}.weight": _array(tensors, f"{here}/gamma"), f"{there}.bias": _array(tensors, f"{here}/beta")}


def _array(tensors: dict[str, NDArray], name: str) -> Array:
    return tensors[name].astype(np.float32)


def _tensor(file: BinaryIO) -> tuple[str, NDArray]:
    name = _string(file)
    (rank,) = _unpack(file, "B")
    shape = _unpack(file, f"{rank}I")
    kind, size = _unpack(file, "BI")
    if kind >= len(_TYPES):
        raise ValueError(f"{name} is of an unknown type")
    raw = _bytes(file, size)
    if _TYPES[kind] == "bfloat16":
        return name, (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return name, np.frombuffer(raw, _TYPES[kind]).reshape(shape)


def _unpack(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(f"<{layout}", _bytes(file, struct.calcsize(f"<{layout}")))


def _string(file: BinaryIO) -> str:
    return _bytes(file, _unpack(file, "H")[0]).rstrip(b"\0").decode("utf-8", "replace")


def _bytes(file: BinaryIO, size: int) -> bytes:
    if len(raw := file.read(size)) != size:
        raise ValueError("it ends too early")
    return raw
