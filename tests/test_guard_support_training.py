import json
import random

import numpy as np
import pytest

from course_guard.support.features import ENCODER, EXACT, NAMES, RISING
from finetune.guards.verifier.calibrate import Example, fitted
from finetune.guards.verifier.data import made_from, reported, shingles
from finetune.guards.verifier.rewrite import changed, extended, rewritten
from finetune.guards.verifier.sources import Text, pairs

SENTENCES = (
    "The encoder was trained by Ada Moreno in 1998.",
    "Because the batches were small, the loss usually increased at first, and the error fell later.",
    "However, the decoder (a small one) reads 24 tokens before the mask hides them.",
    "In Geneva the old network was replaced by a faster one, which needed 12 layers.",
    "Most researchers in Paris doubted that the smaller tokens could be counted at all.",
)
TEXT = Text("toy", "toy-1", SENTENCES)


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_of_the_window_and_differ_from_it_where_they_should(seed):
    rows = list(made_from([TEXT], random.Random(seed)))
    assert {row.supported for row in rows} == {0, 1}
    for row in rows:
        assert row.supported == int(row.source in ("toy/same", "toy/joined")), row
        assert row.premise and row.claim == row.claim.strip()
        if not row.supported and row.source != "toy/absent":
            assert row.claim not in row.premise, row


def test_a_changed_sentence_differs_and_every_kind_comes_up():
    kinds = set()
    for seed in range(60):
        for sentence in SENTENCES:
            found = changed(sentence, sentence, [s for s in SENTENCES if s != sentence], random.Random(seed))
            assert found and found[0].lower() != sentence.lower()
            kinds.add(found[1])
    assert kinds == {"number", "name", "word", "negated", "opposite", "absolute", "swapped"}


@pytest.mark.parametrize(
    ("sentence", "possible"),
    [
        ("The encoder was trained by Ada Moreno in 1998.", "Ada Moreno trained the encoder in 1998."),
        ("However, the decoder reads tokens slowly.", "The decoder reads tokens slowly."),
        ("The model fails because the rate was far too high.", "Because the rate was far too high, the model fails."),
        ("The network has 12 layers in all.", "The network has twelve layers in all."),
    ],
)
def test_rewriting_keeps_what_is_said(sentence, possible):
    assert possible in {rewritten(sentence, random.Random(seed), 1) for seed in range(200)}


def test_joined_sentences_read_as_one():
    assert extended("It grows.", "The loss falls.", random.Random(1)).lower().endswith("the loss falls.")
    assert "BERT reads." in extended("It grows.", "BERT reads.", random.Random(0))


def test_what_reports_figures_is_recognised_by_ten_words_in_a_row(tmp_path):
    words = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda"
    (tmp_path / "qags").mkdir()
    (tmp_path / "qags" / "x.jsonl").write_text(json.dumps({"a": [{"b": f"Before {words} after"}]}) + "\n")
    known = reported(tmp_path)
    assert any(mark in known for mark in shingles(f"Other words, {words.upper()}!"))
    assert not any(mark in known for mark in shingles("alpha beta gamma delta epsilon zeta eta theta iota and kappa"))


def test_measured_pairs_and_the_test_half_are_left_out(tmp_path):
    (tmp_path / "nli").mkdir()
    (tmp_path / "halueval").mkdir()
    rows = "".join(f'"premise {n}","claim {n}",{("entailment", "neutral")[n % 2]}\n' for n in range(500))
    for name in ("mnli", "scitail"):
        (tmp_path / "nli" / f"{name}_dev.csv").write_text(f"premise,hypothesis,label\n{rows}")
    for part in ("one-turn", "multi-turn"):
        lines = ({"knowledge": "k", "question": f"q{n}?", "right_answer": "a", "hallucinated_answer": "b"} for n in range(40))
        (tmp_path / "halueval" / f"qa_{part}_data.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = list(pairs(tmp_path))
    assert sum(pair.source == "mnli" for pair in found) == 100
    asked = {pair.claim.split("?")[0] for pair in found if pair.source == "halueval"}
    assert 0 < len(asked) < 40


def test_the_calibrator_has_no_wrong_sign_and_finds_what_matters():
    draw = np.random.default_rng(0)
    found = []
    for n in range(400):
        supported = n % 2
        values = {name: float(draw.random()) for name in NAMES}
        values["numbers_missing"] = float(draw.random() < (0.05 if supported else 0.4))
        values["absolutes"] = float(supported)  # the wrong way round
        values["covered_all"] = float(draw.normal(0.6 + 0.2 * supported, 0.1))
        values["entailment"] = float(draw.normal(2 * supported, 1))
        found.append(Example(values, supported, ("wice", "course")[n % 4 // 2], str(n // 8)))
    calibrator, auroc = fitted(found, (*EXACT, *ENCODER))
    weights = dict(zip(calibrator.names, calibrator.weights, strict=True))
    assert all((weight >= 0) if name in RISING else (weight <= 0) for name, weight in weights.items())
    assert weights["absolutes"] == 0 and weights["numbers_missing"] < -0.1 and weights["entailment"] > 0.5
    assert min(auroc.values()) > 0.85
    assert 0 < calibrator.threshold < 1
