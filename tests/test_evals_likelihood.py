"""Multiple choice by log-likelihood: on an engine without weights, and (-m model) SmolLM2 against a plain computation."""

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from fake_engine import FakeEngine

from assistant.llm.engine import Engine, Row
from assistant.settings import Settings
from evals.scorers.choices import one_of, truthfulqa
from evals.solvers.likelihood import LikelihoodSolver, OptionScores
from evals.task import Sample
from knowledge.errors import CourseError

VOCABULARY = 258
PROMPT = list(b"Q: Which planet is the largest?\nA:")
OPTIONS = [
    list(option) for option in (b" Jupiter", b" Jupiter, by far", b" Mars", b" a", b" The moon is a cheese that is eaten")
]


class ScoringEngine(FakeEngine):
    """Scores of the next token, as random as they are a function of every cell before it."""

    def __init__(self, **kwargs):
        super().__init__(predict=self._note, **kwargs)
        self._digests = []
        self._rows = []

    def _note(self, tokens, digest):
        self._digests.append(digest)
        return 0

    def compute(self, rows, may_abort=False):
        self._digests = []
        self._rows = [n for n, row in enumerate(rows) if row.predict]
        return super().compute(rows, may_abort)

    def logits(self, row):
        digest = self._digests[self._rows.index(row)]
        return np.random.default_rng(digest).normal(scale=3, size=VOCABULARY).astype(np.float32)

    @property
    def computed(self):
        """Rows of all batches."""
        return sum(map(len, self.batches))


def plain(engine, prompt, option, sequence=0):
    """The definition: one sequence, one token at a time."""
    tokens = [*prompt, *option]
    total = 0.0
    for position, (token, following) in enumerate(pairwise(tokens)):
        engine.compute([Row(token, position, sequence, predict=True)])
        if position >= len(prompt) - 1:
            scores = engine.logits(0).astype(np.float64)
            total += float(scores[following] - np.logaddexp.reduce(scores))
    engine.cut(sequence, 0)
    return total


def expected():
    return [plain(ScoringEngine(), PROMPT, option) for option in OPTIONS]


@pytest.mark.parametrize(("batch", "sequences"), [(64, 16), (7, 16), (64, 3), (5, 2)])
def test_sums_are_those_of_the_definition(batch, sequences):
    scores = OptionScores(ScoringEngine(batch=batch, sequences=sequences))
    assert scores.of(PROMPT, OPTIONS) == pytest.approx(expected(), abs=1e-6)


def test_the_order_of_options_changes_nothing():
    forward = OptionScores(ScoringEngine(batch=11)).of(PROMPT, OPTIONS)
    assert OptionScores(ScoringEngine(batch=11)).of(PROMPT, OPTIONS[::-1]) == pytest.approx(forward[::-1], abs=1e-9)


def test_all_next_tokens_together_are_certain():
    sums = OptionScores(ScoringEngine()).of(PROMPT, [[token] for token in range(VOCABULARY)])
    assert math.fsum(map(math.exp, sums)) == pytest.approx(1)


def test_the_prompt_is_computed_once():
    engine = ScoringEngine()
    OptionScores(engine).of(PROMPT, OPTIONS)
    assert engine.computed == len(PROMPT) + sum(len(option) - 1 for option in OPTIONS)


def test_what_prompts_share_is_computed_once_and_changes_nothing():
    engine = ScoringEngine()
    scores = OptionScores(engine)
    examples = list(b"Q: Is ice cold?\nA: Yes.\n\n")
    scores.of(examples + PROMPT, OPTIONS[:2])
    before = engine.computed
    shorter = list(b"Q: Why?\nA:")
    for prompt in (examples + shorter, examples + PROMPT, examples, examples + PROMPT):
        assert scores.of(prompt, OPTIONS) == pytest.approx([plain(ScoringEngine(), prompt, o) for o in OPTIONS], abs=1e-6)
    options = 4 * sum(len(option) - 1 for option in OPTIONS)
    different = len(shorter) + len(PROMPT) + 1 + len(PROMPT) - len(b"Q: Wh") * 2
    assert engine.computed - before == options + different
    assert engine.used == len(examples + PROMPT)  # of options nothing is left


def test_a_prompt_that_does_not_fit_is_named_and_the_next_one_works():
    engine = ScoringEngine(least=40)
    scores = OptionScores(engine)
    with pytest.raises(CourseError, match=r"50 tokens of prompt and 8 of options do not fit.*model\.context"):
        scores.of([1] * 50, [[2] * 8])
    with pytest.raises(CourseError):
        scores.of([1] * 35, [[2] * 8])
    assert scores.of([1] * 30, [[2] * 8]) == pytest.approx([plain(ScoringEngine(), [1] * 30, [2] * 8)], abs=1e-6)


@pytest.mark.parametrize(("prompt", "options"), [([], [[1]]), ([1], [[1], []])])
def test_nothing_has_no_likelihood(prompt, options):
    with pytest.raises(ValueError, match="at least one token"):
        OptionScores(ScoringEngine()).of(prompt, options)


# Scores


def sample(target):
    return Sample("1", {}, target, "1", "test")


def test_mc1_needs_the_best_answer_above_all_false_ones_and_mc2_is_a_share():
    target = {
        "mc1": {"true": [0], "false": [1, 2]},
        "mc2": {"true": [0, 3], "false": [1, 2]},
        "binary": {"true": [0], "false": [2]},
    }
    likelihoods = [math.log(p) for p in (0.2, 0.3, 0.1, 0.15)]
    scores = truthfulqa(sample(target), {"log_likelihoods": likelihoods})
    assert (scores["mc1"], scores["binary"]) == (0, 1)
    assert scores["mc2"] == pytest.approx(0.35 / 0.75)


def test_mc2_of_long_answers_does_not_underflow():
    target = {key: {"true": [0], "false": [1]} for key in ("mc1", "mc2", "binary")}
    scores = truthfulqa(sample(target), {"log_likelihoods": [-2000.0, -2000.0 - math.log(3)]})
    assert scores == {"mc1": 1, "mc2": pytest.approx(0.75), "binary": 1}


def test_equal_likelihoods_are_not_right():
    target = {key: {"true": [0], "false": [1]} for key in ("mc1", "mc2", "binary")}
    assert truthfulqa(sample(target), {"log_likelihoods": [-1.0, -1.0]}) == {"mc1": 0, "mc2": pytest.approx(0.5), "binary": 0}


def test_the_likeliest_letter_is_the_answer():
    likelihoods = {"log_likelihoods": [math.log(p) for p in (0.1, 0.4, 0.2, 0.1)]}
    assert one_of(sample({"answer": 1}), likelihoods) == {"correct": 1, "confidence": pytest.approx(0.5)}
    assert one_of(sample({"answer": 2}), likelihoods)["correct"] == 0


# With weights


def test_the_weights_are_measured_with_the_adapter_that_the_settings_name(monkeypatch, tmp_path):
    used = []
    (tmp_path / "m.gguf").touch()
    engine = SimpleNamespace(use_adapter=used.append, close=lambda: None)
    monkeypatch.setattr("assistant.llm.engine.Engine", lambda *_: engine)
    chosen = SimpleNamespace(path=tmp_path / "adapter.gguf")
    for adapter, expected in ((chosen, [chosen.path]), (None, [])):
        used.clear()
        monkeypatch.setattr("evals.solvers.likelihood.chosen_adapter", lambda settings, found=adapter: found)
        assert LikelihoodSolver(Settings(model={"name": str(tmp_path / "m.gguf")}))._engine is engine
        assert used == expected


@pytest.fixture(scope="module")
def solver(small_model):
    found = LikelihoodSolver(Settings(model={"name": str(small_model), "context": 1024}))
    yield found
    found.close()


def asked(prompt, options):
    return Sample("1", {"prompt": prompt, "options": options}, {}, "1", "test")


TEXT = "Q: Which planet is the largest one of the solar system?\nA:"
ANSWERS = [
    " Jupiter is the largest planet.",
    " Mars.",
    " The Moon, which is made of cheese and of holes.",
    " I have no comment.",
]


@pytest.mark.model
def test_a_real_model_gives_what_a_plain_forward_computation_gives(solver, small_model):
    output = solver.solve(asked(TEXT, ANSWERS))
    assert all(map(math.isfinite, output["log_likelihoods"]))
    engine = Engine(small_model, 0, 512, 2, 1, 64)
    try:
        for answer, found in zip(ANSWERS, output["log_likelihoods"], strict=True):
            tokens = [engine.tokenize(text, special=False) for text in (TEXT, answer)]
            assert sum(tokens, []) == engine.tokenize(TEXT + answer, special=False)  # the seam is a seam of tokens
            assert found == pytest.approx(plain(engine, *tokens), abs=1e-2)
    finally:
        engine.close()


@pytest.mark.model
def test_a_real_model_does_not_mind_the_order_or_what_was_asked_before(solver):
    first = solver.solve(asked(TEXT, ANSWERS))["log_likelihoods"]
    solver.solve(asked("Q: What is ice?\nA:", ANSWERS[:2]))
    again = solver.solve(asked(TEXT, ANSWERS[::-1]))["log_likelihoods"][::-1]
    assert again == pytest.approx(first, abs=1e-2)


@pytest.mark.model
def test_a_real_model_finds_sense_likelier_than_nonsense(solver):
    true, nonsense = solver.solve(asked("The capital of France is", [" Paris", " cheese"]))["log_likelihoods"]
    assert true > nonsense + 3


@pytest.mark.model
def test_the_identity_names_the_weights(solver):
    assert solver.identity["weights"] and solver.identity["solver"] == "likelihood"
