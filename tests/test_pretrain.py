"""finetune/pretrain: the model can learn, cannot look ahead, and a run that was cut off goes on exactly."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from finetune.pretrain import run
from finetune.pretrain.baselines import baselines
from finetune.pretrain.config import Plan, Shape
from finetune.pretrain.data import read_course, split
from finetune.pretrain.loop import Training, batch_of, held_loss, loss_of, rate_at
from finetune.pretrain.model import RMSNorm, new_model, rotate
from finetune.pretrain.sample import sample
from finetune.pretrain.tokens import END, encode, train_tokeniser
from knowledge.errors import CourseError

TINY = Shape(vocabulary=64, width=32, layers=2, heads=2, context=16)


def grammar(count, seed=0):
    """Tokens 1 to 60 of which each decides the next but one in five times: a text with something to learn."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(1, 61, (count,), generator=generator).tolist()
    luck = torch.rand(count, generator=generator).tolist()
    tokens = [1]
    for draw, lucky in zip(draws, luck, strict=True):
        tokens.append(draw if lucky < 0.2 else tokens[-1] * 7 % 60 + 1)
    return torch.tensor(tokens)


@pytest.fixture
def lessons(tmp_path):
    folder = tmp_path / "lessons"
    folder.mkdir()
    for number in range(5):
        lines = [f"# Lesson {number}"]
        lines += [f"The rule {number}.{i} says that a large model learns {i * number} small layers well." for i in range(120)]
        (folder / f"{number}.md").write_text("\n\n".join(lines), encoding="utf-8")
    return folder


def test_an_untrained_model_guesses_uniformly():
    x, y = torch.randint(64, (2, 8, 16), generator=torch.Generator().manual_seed(0))
    assert loss_of(new_model(TINY, 0), x, y).item() == pytest.approx(math.log(64), abs=0.1)


def test_it_overfits_one_batch():
    training = Training(TINY, Plan(steps=80, learning_rate=1e-2))
    x, y = batch_of(grammar(500), training.plan, 16, 0)
    for _ in range(80):
        training.optimiser.zero_grad()
        loss = loss_of(training.model, x, y)
        loss.backward()
        training.optimiser.step()
    assert loss.item() < 0.3  # of ln 64 = 4.2


def test_a_later_token_does_not_change_earlier_logits():
    model, x = new_model(TINY, 1), torch.arange(16)[None]
    changed = x.clone()
    changed[0, 9] = 63
    before, after = model(x), model(changed)
    assert torch.allclose(before[:, :9], after[:, :9], atol=1e-6)
    assert not torch.allclose(before[:, 9:], after[:, 9:], atol=1e-3)


def test_the_order_of_tokens_matters():
    model = new_model(TINY, 1)
    last = [model(torch.tensor([ids]))[0, -1] for ids in ([5, 6, 7], [6, 5, 7])]
    assert not torch.allclose(*last, atol=1e-4)


def test_rotated_products_depend_on_the_distance_only():
    generator = torch.Generator().manual_seed(2)
    q, k = torch.randn(2, 1, 8, generator=generator)

    def product(m, n):
        return float((rotate(q, m) * rotate(k, n)).sum())

    assert product(3, 7) == pytest.approx(product(103, 107), abs=1e-4)
    assert product(3, 7) != pytest.approx(product(3, 8), abs=1e-3)
    assert float(rotate(q, 50).norm()) == pytest.approx(float(q.norm()), abs=1e-5)
    assert torch.equal(rotate(q, 0), q)


def test_the_norm_scales_to_a_root_mean_square_of_one():
    x = 100 * torch.randn(3, 32, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(RMSNorm(32)(x).square().mean(-1), torch.ones(3), atol=1e-3)


def test_targets_are_the_inputs_shifted_by_one():
    tokens = torch.arange(100)
    x, y = batch_of(tokens, Plan(steps=1, batch=3), 16, 5)
    assert x.shape == y.shape == (3, 16)
    assert torch.equal(x + 1, y)


def test_the_last_token_is_drawn_too():
    tokens = torch.arange(18)  # two windows fit
    plan = Plan(steps=1, batch=64)
    assert int(batch_of(tokens, plan, 16, 0)[1].max()) == 17


def test_the_rate_rises_and_falls_to_its_floor():
    plan = Plan(steps=100, learning_rate=1.0)
    rates = [rate_at(step, plan) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(a >= b for a, b in pairwise(rates[4:]))
    assert rates[-1] == pytest.approx(plan.floor, abs=0.01)


def test_held_loss_is_the_mean_over_every_token_but_the_first():
    model, tokens = new_model(TINY, 0), grammar(40)  # 40 targets: two windows of 16 and one of 8
    losses = [torch.nn.functional.cross_entropy(model(tokens[None, a:b])[0], tokens[a + 1 : b + 1], reduction="sum").item()
              for a, b in ((0, 16), (16, 32), (32, 40))]  # fmt: skip
    assert held_loss(model, tokens) == pytest.approx(sum(losses) / 40, abs=1e-5)


def test_a_short_run_beats_uniform_and_unigram():
    text, held = grammar(4000), grammar(600, seed=9)
    training = Training(TINY, Plan(steps=120, every=60, learning_rate=1e-2))
    training.run(text, held, lambda step, loss: None)
    guesses = baselines(text, held, 64)
    assert training.looks[-1].held < guesses.unigram - 0.5 < guesses.uniform
    assert training.looks[0].held > training.looks[-1].held


def test_baselines_are_probabilities():
    text = grammar(300)
    for held in ([1, 5], [2, 63]):  # 63 never occurs
        total = sum(math.exp(-baselines(text, torch.tensor([held[0], token]), 64).bigram) for token in range(64))
        assert total == pytest.approx(1, abs=1e-6)
    assert baselines(text, grammar(100, 1), 64).bigram < baselines(text, grammar(100, 1), 64).unigram


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    text, held, plan = grammar(1000), grammar(100, 1), Plan(steps=12, every=4)
    whole = Training(TINY, plan)
    whole.run(text, held, lambda step, loss: None)

    def cut(step, loss):
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Training(TINY, plan, tmp_path).run(text, held, cut)
    again = Training.resumed(tmp_path)
    assert again.step == 4
    again.run(text, held, lambda step, loss: None)
    assert again.looks[1:] == whole.looks[1:]
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), whole.model.parameters(), strict=True))


def test_the_same_seed_gives_the_same_sample():
    tokeniser = train_tokeniser(["a small model reads a large model " * 20], 280)
    model = new_model(replace(TINY, vocabulary=tokeniser.get_vocab_size()), 0)
    texts = [sample(model, tokeniser, "a small", tokens=30, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("a small")
    assert sample(model, tokeniser, "a", 9, temperature=0, seed=1) == sample(model, tokeniser, "a", 9, temperature=0, seed=2)


def test_any_text_survives_the_tokeniser():
    tokeniser = train_tokeniser(["the rank of a matrix"], 300)
    text = "Žluťoučký kůň: ∑ αᵢ 🐎\n\tx = 1"
    tokens = encode(tokeniser, [text, "b"])
    end = tokeniser.token_to_id(END)
    assert (tokens == end).sum() == 2 and tokens[-1] == end
    assert tokeniser.decode(tokens.tolist()) == text + "b"


def test_held_documents_share_no_paragraph_with_training():
    documents = {f"{n}": f"Only in {n}.\n\nIn  all of them.\n\nOnly in {n}." for n in range(20)}
    texts = split(documents)
    assert len(texts.held) == 2 and not texts.held.keys() & texts.train.keys()
    assert sum(text.count("all of them") for text in texts.train.values()) == 1
    assert all(text == f"Only in {name}." for name, text in texts.held.items())


def test_too_little_text_is_refused(tmp_path):
    (tmp_path / "a.md").write_text("# A\n\nShort.", encoding="utf-8")
    with pytest.raises(CourseError, match="too little"):
        read_course([tmp_path])


def test_a_whole_run_leaves_curve_picture_sample_and_figures(lessons, tmp_path):
    shape, folder = replace(TINY, vocabulary=300), tmp_path / "runs" / "one"
    prepared = run.prepare([lessons], shape, 0)
    training = run.start(folder, [lessons], prepared, shape, Plan(steps=8, every=4))

    def cut(step, loss):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.finish(training, prepared, folder, "The rule", cut)
    with pytest.raises(CourseError, match="There is a run"):
        run.start(folder, [lessons], prepared, shape, Plan(steps=8))
    seen = []
    training, prepared = run.resume(folder)
    report = run.finish(training, prepared, folder, "The rule", lambda step, loss: seen.append(step))
    assert seen == [5, 6, 7, 8]
    assert [json.loads(line)["step"] for line in (folder / "loss.jsonl").read_text().splitlines()] == [4, 8]
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert report.sample.startswith("The rule")
    assert report.losses()["uniform"] == pytest.approx(math.log(training.shape.vocabulary))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["done"] and manifest["losses"]["model"] == pytest.approx(report.best.held)


def test_a_changed_course_is_not_gone_on_with(lessons, tmp_path):
    shape, folder = replace(TINY, vocabulary=300), tmp_path / "one"
    run.start(folder, [lessons], run.prepare([lessons], shape, 0), shape, Plan(steps=8))
    for path in lessons.iterdir():
        path.write_text(path.read_text() + "\n\nA new line.", encoding="utf-8")
    with pytest.raises(CourseError, match="changed"):
        run.resume(folder)
    with pytest.raises(CourseError, match="no run"):
        run.resume(tmp_path / "none")
