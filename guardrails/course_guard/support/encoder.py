"""The trained cross-encoder: reads a text and a claim, gives the logit that the text supports the claim. onnxruntime, int8."""

import json
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from knowledge.errors import MissingModel

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS = Path(__file__).with_name("weights")
MANIFEST = "encoder.json"
_BATCH = 16
_REMEDY = "Set grounding.verifier to overlap, or train the encoder: finetune/guards/verifier/DATA.md says how."

Floats = NDArray[np.float64]


class PairReader(Protocol):
    """Reads pairs of a text and a claim; the trained encoder, or any other model that does so."""

    @property
    def identity(self) -> str:
        """Changes whenever the logits may."""

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """For each (text, claim) the logit that the text supports the claim, shape (pairs,)."""


class Encoder:
    """The encoder in a folder that finetune.guards.verifier.export has written.

    Args:
        folder: holds encoder.json, which names the weights and the tokenizer with their SHA-256.
        threads: for one batch; 0 takes all cores.

    Raises:
        MissingModel: a file is missing or is not what the manifest says.
    """

    def __init__(self, folder: Path = WEIGHTS, threads: int = 0) -> None:
        manifest = folder / MANIFEST
        if not manifest.is_file():
            raise MissingModel(f"No groundedness encoder in {folder}.", _REMEDY)
        self._folder, self._threads = folder, threads
        self._manifest: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
        for name, wanted in self._manifest["sha256"].items():
            path = folder / name
            if not path.is_file() or _digest(path) != wanted:
                raise MissingModel(f"{path} is not the file that {MANIFEST} names.", _REMEDY)
        self.identity = f"encoder:{self._manifest['sha256'][self._manifest['weights']][:12]}"

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """As in PairReader; pairs of similar length are read together, 16 at a time."""
        order = sorted(range(len(pairs)), key=lambda n: len(pairs[n][0]) + len(pairs[n][1]))
        found = np.zeros(len(pairs))
        for start in range(0, len(order), _BATCH):
            places = order[start : start + _BATCH]
            encoded = self._tokenizer.encode_batch([pairs[n] for n in places])
            inputs = {
                "input_ids": np.array([e.ids for e in encoded], dtype=np.int64),
                "attention_mask": np.array([e.attention_mask for e in encoded], dtype=np.int64),
                "token_type_ids": np.array([e.type_ids for e in encoded], dtype=np.int64),
            }
            found[places] = self._session.run(None, inputs)[0][:, 0]
        return found

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._folder / self._manifest["tokenizer"]))
        tokenizer.enable_truncation(self._manifest["longest"], strategy="longest_first")
        tokenizer.enable_padding()
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Spinning threads take the cores from the engine, which generates the next sentence meanwhile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = str(self._folder / self._manifest["weights"])
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
