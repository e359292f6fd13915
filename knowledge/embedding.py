"""Text -> vectors, with sentence-transformers from a local folder. Nothing is fetched, nothing is sent."""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from knowledge.errors import MissingModel

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """What the index needs from an embedding model."""

    @property
    def identity(self) -> str:
        """Name and fingerprint of the weights; an index made with another identity is refused."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dimension), float32."""

    def count_tokens(self, text: str) -> int:
        """Length of `text` in the model's tokens, without special tokens."""


class SentenceEmbedder:
    """A sentence-transformers model in a local folder.

    Args:
        folder: holds config.json and model.safetensors, as `lectern models pull` writes it.

    Raises:
        MissingModel: the folder is not there or incomplete.
    """

    def __init__(self, folder: Path) -> None:
        self._weights = folder / "model.safetensors"
        if not self._weights.is_file():
            raise MissingModel(f"No embedding model in {folder}.", "Run: lectern models pull all-minilm-l6-v2")
        self._folder = folder

    @cached_property
    def identity(self) -> str:
        """Folder name, size and hash of the first MiB of the weights (all headers and the first rows)."""
        with self._weights.open("rb") as file:
            head = sha256(file.read(1 << 20)).hexdigest()[:12]
        return f"{self._folder.name}:{self._weights.stat().st_size}:{head}"

    @cached_property
    def _model(self) -> "SentenceTransformer":
        from sentence_transformers import SentenceTransformer  # takes seconds: torch
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()

        return SentenceTransformer(str(self._folder), device="cpu", local_files_only=True)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), 384), float32; longer texts than 256 tokens are cut by the model."""
        vectors = self._model.encode(list(texts), batch_size=32, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    def count_tokens(self, text: str) -> int:
        """Length in WordPiece tokens."""
        return len(self._model.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"])
