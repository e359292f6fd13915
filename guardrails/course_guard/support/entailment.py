"""A cross-encoder trained on entailment as a judge, from a local folder. With a GPU it takes it, else the processor."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from knowledge.errors import CourseError
from knowledge.lexical import terms
from knowledge.sentences import sentence_spans

_WINDOW = 150  # words: with a long sentence it stays below the 512 tokens that such models read
_FRAGMENT = 3  # content words; a shorter sentence means something only with its question
_BATCH = 32


class Pairs(Protocol):
    """What this needs from sentence_transformers.CrossEncoder."""

    def predict(self, inputs: list[tuple[str, str]], **options: Any) -> Any:
        """Logits, shape (pairs, labels), or (pairs,) where there is one label."""


class EntailmentJudge:
    """Support is the highest probability of entailment over windows of the passages (SummaC-ZS, Laban et al., 2022).

    A claim that needs two windows together is missed.

    Args:
        model: premise and hypothesis -> logits.
        labels: names of the labels by number; a model with one label gives the logit of support.

    Raises:
        CourseError: no label means entailment.
    """

    threshold = 0.5

    def __init__(self, model: Pairs, labels: Mapping[int, str], identity: str) -> None:
        self._model = model
        self.identity = identity
        wanted = [n for n, name in labels.items() if name.lower().replace("-", "_") in ("entailment", "entailed", "support")]
        if len(labels) > 1 and not wanted:
            raise CourseError(
                f"No label of {identity} means entailment: {', '.join(labels.values())}.",
                "Name one so in its config.json (id2label).",
            )
        self._entailment = wanted[0] if len(labels) > 1 else None

    def support(self, sentences: Sequence[str], passages: Sequence[str], question: str = "") -> list[float]:
        premises = [window for passage in passages for window in windows(passage)]
        if not premises or not sentences:
            return [0.0] * len(sentences)
        claims = [f"{question} {s}" if question and len(set(terms(s))) <= _FRAGMENT else s for s in sentences]
        pairs = [(premise, claim) for claim in claims for premise in premises]
        logits = np.asarray(self._model.predict(pairs, batch_size=_BATCH, show_progress_bar=False), dtype=np.float64)
        best = self._probability(logits).reshape(len(claims), len(premises)).max(axis=1)
        return [round(float(value), 4) for value in best]

    def _probability(self, logits: np.ndarray) -> np.ndarray:
        from scipy.special import expit, softmax

        if self._entailment is None:
            return np.asarray(expit(logits))
        return np.asarray(softmax(logits, axis=-1))[:, self._entailment]


def windows(passage: str) -> list[str]:
    """A passage in pieces of whole sentences of about 150 words at most."""
    pieces: list[list[str]] = []
    room = 0
    for start, end in sentence_spans(passage):
        words = len(passage[start:end].split())
        if not pieces or words > room:
            pieces.append([])
            room = _WINDOW
        pieces[-1].append(passage[start:end])
        room -= words
    return [" ".join(piece) for piece in pieces]


def entailment_judge(folder: str) -> EntailmentJudge:
    """The model in `folder`, as CrossEncoder.save_pretrained or a clone from a hub leaves it.

    Raises:
        CourseError: there is no such model, or it knows no entailment.
    """
    path = Path(folder).expanduser()
    weights = path / "model.safetensors"
    if not (path / "config.json").is_file() or not weights.is_file():
        raise CourseError(
            f"{path} holds no entailment model.", "Give a folder with config.json, model.safetensors and the tokenizer."
        )
    from sentence_transformers import CrossEncoder
    from torch.nn import Identity

    model = CrossEncoder(str(path), local_files_only=True, activation_fn=Identity())
    with weights.open("rb") as file:
        head = sha256(file.read(1 << 20)).hexdigest()[:12]
    identity = f"nli:{path.resolve().name}:{weights.stat().st_size}:{head}:{_WINDOW}"
    return EntailmentJudge(model, {int(number): str(name) for number, name in model.config.id2label.items()}, identity)
