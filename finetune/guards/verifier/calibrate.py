"""Fits the calibrators: what overlap, exact checks and the encoder say, together, as a probability of support.

    python -m finetune.guards.verifier.calibrate --data FOLDER --claims FILE [--encoder FOLDER]

Logistic regression on claims that people have written and that the encoder was not trained on: the dev half of the course's own
and the dev set of WiCE. Both weigh the same, and so does each label within them. It is fitted in two steps. How much overlap
says is learnt from WiCE alone: the course's false claims keep the words of the true ones by design, so that there overlap says
nothing, as it does in no real answer. What exact checks and the encoder add to that is learnt from both. No weight may have the
wrong sign. RAGTruth, AttributionBench, QAGS and every test half are not touched.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from course_guard.support.calibration import FILE, Calibration, Calibrator
from course_guard.support.encoder import Encoder, PairReader
from course_guard.support.features import ENCODER, EXACT, LEXICAL, RISING, Evidence, Floats, read, row
from knowledge.embedding import Embedder
from knowledge.errors import CourseError
from knowledge.lexical import terms
from knowledge.sentences import sentence_spans

_RIDGE = 3.0  # on the weights of standardised features, which are few and correlated
_FOLDS = 5
_NATURAL = "wice"

Labels = Floats


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled claim with its features."""

    values: dict[str, float]
    supported: int
    source: str
    group: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A labelled claim with its evidence."""

    passages: tuple[str, ...]
    claim: str
    supported: int
    source: str
    group: str


def claims(data: Path, own: Path) -> Iterator[Claim]:
    """What is fitted on; every group (a lesson, an article) lies wholly in one fold.

    Raises:
        CourseError: a file is missing.
    """
    for line in _lines(own):
        if line["split"] == "dev":
            yield Claim((line["evidence"],), line["claim"], line["supported"], "course", line["lesson"])
    seen = set()
    for line in _lines(data / "wice" / "oracle_claim_dev.jsonl"):
        if line["meta"]["id"] not in seen:
            seen.add(line["meta"]["id"])
            page = ("\n\n".join(line["evidence"]),)
            yield Claim(page, line["claim"], int(line["label"] == "supported"), "wice", line["meta"]["claim_title"])


def examples(found: Sequence[Claim], embedder: Embedder, reader: PairReader | None) -> list[Example]:
    """Features of claims, as the verifier computes them while it checks an answer."""
    found = [claim for claim in found if terms(claim.claim) and any(sentence_spans(text) for text in claim.passages)]
    cut = [_cut(claim.passages) for claim in found]
    texts = sorted({text for sentences, _ in cut for text in sentences} | {claim.claim for claim in found}, key=len)
    place = {text: number for number, text in enumerate(texts)}
    vectors = embedder.embed(texts)
    made = []
    for claim, (sentences, passage) in zip(found, cut, strict=True):
        evidence = Evidence("", sentences, passage, vectors[[place[text] for text in sentences]])
        reading = read(claim.claim, vectors[[place[claim.claim]]], evidence)
        values = dict(reading.values)
        if reader is not None:
            pairs = [(premise, reading.claim) for premise in reading.premises]
            values[ENCODER[0]] = float(reader.logits(pairs).max())
        made.append(Example(values, claim.supported, claim.source, claim.group))
    return made


def fitted(found: Sequence[Example], names: Sequence[str]) -> tuple[Calibrator, dict[str, float]]:
    """The calibrator on all examples, and its AUROC by source where each group is judged by one that did not see it.

    Args:
        found: of both sources.
        names: features that are learnt from all of `found`; those of overlap are learnt from WiCE, before.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    labels = np.array([example.supported for example in found], dtype=float)
    sources = np.array([example.source for example in found])
    judged = np.zeros(len(found))
    for train, held in GroupKFold(_FOLDS).split(labels, labels, [example.group for example in found]):
        calibrator = _learnt([found[n] for n in train], names)
        judged[held] = [calibrator.probability(found[n].values) for n in held]
    auroc = {}
    for name in np.unique(sources):
        auroc[str(name)] = round(float(roc_auc_score(labels[sources == name], judged[sources == name])), 4)
    threshold = _threshold(labels, judged, _weights(sources, labels))
    return _learnt(found, names).model_copy(update={"threshold": threshold}), auroc


def _learnt(found: Sequence[Example], names: Sequence[str]) -> Calibrator:
    """Both steps; the threshold is left at a half."""
    overlap = _step([example for example in found if example.source == _NATURAL], LEXICAL, None)
    rest = _step(found, names, overlap)
    both = {part: (*getattr(overlap, part), *getattr(rest, part)) for part in ("names", "mean", "scale", "weights")}
    return Calibrator(**both, bias=round(overlap.bias + rest.bias, 6), threshold=0.5)


def _step(found: Sequence[Example], names: Sequence[str], before: Calibrator | None) -> Calibrator:
    """Logistic regression with a ridge and with signs that are given, on top of what was learnt before."""
    from scipy.optimize import minimize
    from scipy.special import expit, logit

    values = np.array([row(example.values, names) for example in found])
    labels = np.array([example.supported for example in found], dtype=float)
    mean, scale = values.mean(axis=0), values.std(axis=0) + 1e-6
    scaled, weights = (values - mean) / scale, _weights(np.array([example.source for example in found]), labels)
    known = np.array([logit(before.probability(example.values)) if before else 0.0 for example in found])

    def loss(theta: Floats) -> tuple[float, Floats]:
        score = scaled @ theta[:-1] + theta[-1] + known
        error = weights * (expit(score) - labels)
        value = float(weights @ np.logaddexp(0, -(2 * labels - 1) * score) + _RIDGE / 2 * theta[:-1] @ theta[:-1])
        return value, np.append(scaled.T @ error + _RIDGE * theta[:-1], error.sum())

    bounds = [(0, None) if name in RISING else (None, 0) for name in names]
    found_at = minimize(loss, np.zeros(len(names) + 1), jac=True, bounds=[*bounds, (None, None)], method="L-BFGS-B").x
    numbers = {"mean": _rounded(mean), "scale": _rounded(scale), "weights": _rounded(found_at[:-1])}
    return Calibrator(names=tuple(names), **numbers, bias=round(float(found_at[-1]), 6), threshold=0.5)


def _weights(sources: np.ndarray, labels: Labels) -> Floats:
    """Every source weighs the same in all, and so does each label within it."""
    weights = np.zeros(len(labels))
    for source in np.unique(sources):
        for label in (0.0, 1.0):
            chosen = (sources == source) & (labels == label)
            weights[chosen] = len(labels) / (2 * len(np.unique(sources)) * max(1, chosen.sum()))
    return weights


def _threshold(labels: Labels, judged: Floats, weights: Floats) -> float:
    """Where the balanced accuracy is highest (Youden, 1950)."""
    order = np.argsort(-judged, kind="stable")
    gain = np.cumsum(np.where(labels[order] == 1, weights[order], -weights[order]))
    return round(float(judged[order][int(gain.argmax())]), 4)


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def _cut(passages: Sequence[str]) -> tuple[list[str], list[int]]:
    spans = [(number, text[a:b]) for number, text in enumerate(passages) for a, b in sentence_spans(text)]
    return [text for _, text in spans], [number for number, _ in spans]


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise CourseError(f"{path} is not there.", "See finetune/guards/verifier/DATA.md for where it comes from.")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def calibrate(
    found: Sequence[Claim], embedder: Embedder, reader: PairReader | None, told: Callable[[str], None] = print
) -> Calibration:
    """Both calibrators, or the one without the encoder; `told` hears the figures."""
    made = examples(found, embedder, reader)
    without, auroc = fitted(made, EXACT)
    about: dict[str, object] = {"examples": len(made), "auroc_without_encoder": auroc}
    told(f"without encoder: AUROC {auroc}, threshold {without.threshold}")
    if reader is None:
        return Calibration(without_encoder=without, made=about)
    with_encoder, auroc = fitted(made, (*EXACT, *ENCODER))
    told(f"with encoder: AUROC {auroc}, threshold {with_encoder.threshold}")
    about |= {"auroc_with_encoder": auroc}
    return Calibration(encoder=reader.identity, with_encoder=with_encoder, without_encoder=without, made=about)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit and write calibration.json."""
    parser = argparse.ArgumentParser(description="Fit the calibrators of the groundedness verifier.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--claims", type=Path, required=True, help="evals/cases/claims.jsonl")
    parser.add_argument("--encoder", type=Path, help="folder that finetune.guards.verifier.export has written")
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args(arguments)
    try:
        from assistant.models import model_path
        from knowledge.embedding import SentenceEmbedder

        reader = Encoder(given.encoder) if given.encoder else None
        found = list(claims(given.data, given.claims))
        calibration = calibrate(found, SentenceEmbedder(model_path("all-minilm-l6-v2")), reader)
    except CourseError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    given.out.write_text(calibration.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(f"written: {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
