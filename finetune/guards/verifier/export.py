"""Writes the trained encoder as int8 ONNX, checks it against the weights that it was made of, and writes its manifest.

    python -m finetune.guards.verifier.export --weights FOLDER [--out FOLDER] [--rows FOLDER]

Dynamic quantisation of the weights, per output channel; activations are quantised as they come. The check reads rows of
check.jsonl with both and fails where they disagree more than int8 explains.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from course_guard.support.encoder import MANIFEST, WEIGHTS, Encoder, Floats
from finetune.guards.verifier.train import LONGEST
from knowledge.errors import CourseError

_WEIGHTS, _TOKENIZER = "verifier.onnx", "tokenizer.json"
_COMPARED = 200  # rows
_LEAST_CORRELATION = 0.98
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def export(weights: Path, out: Path, rows: Path | None, about: dict[str, Any]) -> dict[str, Any]:
    """Quantise, compare, describe.

    Args:
        weights: folder that train.py has written (OUT/best).
        out: folder of the shipped files.
        rows: folder with check.jsonl; without it nothing is compared.
        about: kept in the manifest, for people.

    Returns:
        The manifest.

    Raises:
        CourseError: the weights are missing, or the int8 encoder does not agree with them.
    """
    if not (weights / "model.safetensors").is_file():
        raise CourseError(f"{weights} holds no trained encoder.", "Run: python -m finetune.guards.verifier.train")
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModelForSequenceClassification

    out.mkdir(parents=True, exist_ok=True)
    model = AutoModelForSequenceClassification.from_pretrained(weights, local_files_only=True).eval()
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        _to_onnx(model, plain)
        _forget_shapes(plain)
        quantize_dynamic(plain, out / _WEIGHTS, weight_type=QuantType.QInt8, per_channel=True)
    shutil.copyfile(weights / _TOKENIZER, out / _TOKENIZER)
    digests = {name: sha256((out / name).read_bytes()).hexdigest() for name in (_WEIGHTS, _TOKENIZER)}
    manifest: dict[str, Any] = {
        "weights": _WEIGHTS, "tokenizer": _TOKENIZER, "longest": LONGEST, "bytes": (out / _WEIGHTS).stat().st_size,
        "sha256": digests, "about": about,
    }  # fmt: skip
    _write(out, manifest)
    if rows is not None:
        manifest["about"]["agreement"] = _compared(model, weights, out, rows)
        _write(out, manifest)
    return manifest


def _to_onnx(model: Any, path: Path) -> None:
    import torch

    class Logits(torch.nn.Module):  # type: ignore[misc]
        """The model as a function of tensors."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits

    example = {name: torch.ones((2, 16), dtype=torch.long) for name in _INPUTS}
    rows, tokens = torch.export.Dim("rows", min=1, max=512), torch.export.Dim("tokens", min=2, max=512)
    torch.onnx.export(
        Logits().eval(), tuple(example.values()), str(path), input_names=list(_INPUTS), output_names=["logits"], dynamo=True,
        dynamic_shapes={name: {0: rows, 1: tokens} for name in _INPUTS}, external_data=False, verbose=False,
    )  # fmt: skip


def _forget_shapes(path: Path) -> None:
    """The exporter's shapes of inner values contradict those that the quantiser infers."""
    import onnx

    model = onnx.load(path)
    del model.graph.value_info[:]
    onnx.save(model, path)


def _compared(model: Any, weights: Path, out: Path, rows: Path) -> dict[str, float]:
    """How well int8 and torch agree on checked rows."""
    import torch
    from scipy.stats import spearmanr
    from transformers import AutoTokenizer

    lines = (rows / "check.jsonl").read_text(encoding="utf-8").splitlines()[:_COMPARED]
    pairs = [(row["premise"], row["claim"]) for row in map(json.loads, lines)]
    tokenizer = AutoTokenizer.from_pretrained(weights, local_files_only=True)
    exact: list[float] = []
    with torch.inference_mode():
        for premise, claim in pairs:
            options = {"truncation": "longest_first", "max_length": LONGEST, "return_tensors": "pt"}
            exact.append(float(model(**tokenizer(premise, claim, **options)).logits[0, 0]))
    shipped: Floats = Encoder(out).logits(pairs)
    agreement = {
        "rows": float(len(pairs)),
        "spearman": round(float(spearmanr(exact, shipped).statistic), 4),
        "largest_difference": round(float(np.abs(np.array(exact) - shipped).max()), 3),
    }
    if agreement["spearman"] < _LEAST_CORRELATION:
        raise CourseError(f"The int8 encoder does not agree with the trained one: {agreement}.", "Export again without int8.")
    return agreement


def _write(out: Path, manifest: dict[str, Any]) -> None:
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Export and print the manifest."""
    parser = argparse.ArgumentParser(description="Write the groundedness encoder as int8 ONNX.")
    parser.add_argument("--weights", type=Path, required=True, help="folder best/ of a training run")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--rows", type=Path, help="folder of the training rows, to compare on check.jsonl")
    given = parser.parse_args(arguments)
    about: dict[str, Any] = {"base": "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)"}
    if given.rows is not None:
        about["data"] = json.loads((given.rows / "data.json").read_text(encoding="utf-8"))["train"]
    try:
        manifest = export(given.weights, given.out, given.rows, about)
    except CourseError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(manifest, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
