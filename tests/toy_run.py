"""Runs of three toy tasks as the harness leaves them on disk, for the report."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from evals.running.runs import Run
from evals.task import Row, Sample, Scores, Task, mean, pooled, rate, split_of

SCRIPT = "<script>document.title = 'taken over'</script><img src=x onerror=\"document.title='taken over'\">"

SECTIONS = {
    "course/12-regularisation.md": (
        "Training deep networks",
        "Regularisation > Dropout",
        [
            "Dropout switches off randomly chosen units during training.",
            "Each unit is kept with a probability p, usually between 0.5 and 0.9.",
            "At test time all units are kept and nothing is random any more.",
            "Because no unit can rely on another one, the network learns redundant features.",
        ],
    ),
    "course/03-bayes.md": (
        "Probability",
        "Bayes > Base rates",
        [
            "The posterior is the likelihood times the prior, divided by the evidence.",
            "A rare disease stays unlikely after one positive test.",
            "Neglecting this is called the base rate fallacy.",
        ],
    ),
    "course/21-attention.md": (
        "Transformers",
        "Attention > Scaling",
        [
            "Scores are divided by the square root of the key dimension.",
            "Without the division the softmax saturates and its gradients vanish.",
            "Several heads attend to different places of the sequence at once.",
        ],
    ),
}
QUESTIONS = [
    "What does dropout do during training?",
    "Why are attention scores scaled?",
    "What is the posterior made of?",
    "Which fallacy neglects how rare a disease is?",
    "Is a < b enough for x & y to be independent?",
]
TIMES = ("evidence_ms", "first_token_ms", "first_sentence_ms", "total_ms")


def _auroc(rows: Sequence[Scores]) -> float | None:
    yes = [row["support"] for row in rows if row.get("supported") == 1]
    no = [row["support"] for row in rows if row.get("supported") == 0]
    if not yes or not no:
        return None
    return sum((a > b) + 0.5 * (a == b) for a in yes for b in no) / (len(yes) * len(no))


def _nothing(*_: object) -> None:
    raise AssertionError("a report runs nothing")


def _task(name: str, about: str, metrics: Sequence, **more: object) -> Task:
    return Task(name=name, about=about, samples=_nothing, solver=_nothing, scorers=_nothing, metrics=metrics, **more)


TASKS = (
    _task(
        "course/answers",
        "Answers to questions about the starter course.",
        (
            rate("gold_fact", "the gold fact stands in the answer"),
            rate("unsupported_answer", "a sentence of the answer is not supported by the evidence", higher_is_better=False),
            mean("supported_share", "supported sentences of all sentences (ragas faithfulness)"),
            mean("citation_precision", "cited passages that are needed for the sentence (ALCE)"),
            rate("false_refusal", "covered, but refused", higher_is_better=False),
            mean("first_token_ms", "time to the first token", higher_is_better=False, unit="ms"),
            mean("tokens_per_s", "speed of writing", unit="tokens/s"),
        ),
        judged=True,
    ),
    _task(
        "judge/claims",
        "Does the judge tell supported claims from others?",
        (pooled("auroc", _auroc, "area under the ROC curve over all claims"), rate("right", "verdict equals label")),
        source="made by hand, Apache-2.0",
        probability=("support", "supported"),
    ),
    _task("speech/words", "Word error rate of the listener.", (mean("wer", "word error rate", higher_is_better=False),)),
)


def make_run(folder: Path, size: int = 60, seed: int = 0, skill: float = 0.8, **changes: object) -> Path:
    """A whole run of the first two tasks.

    Args:
        size: samples of each.
        skill: how often an answer holds its fact.
        changes: keys of the manifest to set.
    """
    folder.mkdir(parents=True)
    run = Run(folder)
    run.write_manifest(manifest(folder.name, size) | changes)
    for number in range(size):
        dice = random.Random(1000 * seed + number)
        run.append("course/answers", answer_row(number, dice, skill))
        run.append("judge/claims", claim_row(number, dice))
    return folder


def manifest(name: str, size: int) -> dict[str, object]:
    """As evals/running/manifest.py describes it."""
    return {
        "name": name,
        "command": "lectern eval run course/answers --set retrieval.threshold=0.4",
        "started": "2026-11-22T09:00:00+00:00",
        "finished": "2026-11-22T09:41:30+00:00",
        "tasks": {
            "course/answers": {"samples": size, "content": "0123456789ab", "judged": True},
            "judge/claims": {"samples": size, "content": "ba9876543210", "judged": False},
        },
        "skipped": {},
        "failed": {},
        "stopped": {},
        "split": "all",
        "limit": None,
        "quick": False,
        "seed": 0,
        "lessons": None,
        "cases": None,
        "settings": {"retrieval": {"threshold": 0.4, "candidates": 50}, "grounding": {"threshold": 0.62}},
        "model": {"name": "qwen2.5-coder-1.5b-instruct-q4_k_m", "sha256": "ab" * 32},
        "adapter": None,
        "embedder": "all-minilm-l6-v2:384",
        "index": {"generation": "7", "documents": 39, "content": "cdcdcdcdcdcd"},
        "prompt_version": "2",
        "code": "efefefefefef",
        "judge": {"name": "overlap", "identity": "overlap:all-minilm-l6-v2"},
        "data": [],
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": True},
        "machine": "2 cores of a toy processor, 24 GB",
        "python": "3.11.9",
        "packages": {"lectern": "0.1.0"},
    }


def answer_row(number: int, dice: random.Random, skill: float) -> Row:
    """A question that the course covers, or, every fourth, one that it does not; sample 7 tries to take the page over."""
    group = f"course/{number // 3:02d}.md"
    answerable = number % 4 != 3
    relevance = min(0.999, max(0.001, dice.gauss(0.78 if answerable else 0.35, 0.17)))
    answered = relevance >= 0.4 and (answerable or dice.random() < 0.5)
    source = dice.choice(list(SECTIONS))
    right = answered and answerable and dice.random() < skill
    question = SCRIPT if number == 7 else f"{dice.choice(QUESTIONS)} ({number})"
    target = {"answerable": answerable, "gold": ["switches off", "randomly chosen"]} if answerable else {"answerable": False}
    sample = Sample(f"{number:03d}", {"question": question}, target, group, split_of(group))
    output = _answer(question, source, dice, answered) | {"relevance": round(relevance, 4)}
    if number == 7:
        output["sentences"][:0] = [{"text": SCRIPT, "support": 0.9, "citations": []}]
    if number == 5:
        return Row(sample, {}, {}, 0.4, error="CourseError: the model wrote nothing for <this> question.")
    timings = output["timings"]
    scores: Scores = {
        "answerable": float(answerable),
        "answered": float(answered),
        "relevance": relevance,
        "gold_fact": float(right) if answerable else None,
        "unsupported_answer": float(dice.random() < 0.2) if answered else None,
        "supported_share": dice.choice([0.5, 0.67, 1.0, 1.0, 1.0]) if answered else None,
        "citation_precision": dice.choice([0.5, 1.0, 1.0]) if answered else None,
        "false_refusal": float(not answered) if answerable else None,
        "tokens_per_s": dice.gauss(11, 1) if answered else None,
        **{key: timings[key] for key in TIMES},
    }
    return Row(sample, output, scores, timings["total_ms"] / 1000, cached=number % 3 == 0)


def claim_row(number: int, dice: random.Random) -> Row:
    """A claim with the judge's verdict."""
    supported = number % 2
    support = min(1.0, max(0.0, dice.gauss(0.65 if supported else 0.4, 0.2)))
    sample = Sample(
        f"claim-{number}",
        {"claim": "Dropout removes units.", "passages": ["..."]},
        {"supported": supported},
        f"{number}",
        "test",
    )
    scores: Scores = {"support": support, "supported": float(supported), "right": float((support >= 0.5) == supported)}
    return Row(sample, {"support": support}, scores, 0.02)


def _answer(question: str, source: str, dice: random.Random, answered: bool) -> dict:
    """The shape of assistant.answer.Answer.as_json()."""
    title, heading, lines = SECTIONS[source]
    place = {"document": title, "source": source, "heading": heading, "page": _page(source)}
    evidence = [place | {"passage": f"id-{source}", "text": " ".join(lines), "score": 0.9, "similarity": 0.61}]
    for other in [other for other in SECTIONS if other != source]:
        title, heading, others = SECTIONS[other]
        place_too = {"document": title, "source": other, "heading": heading, "page": _page(other)}
        evidence.append(place_too | {"passage": f"id-{other}", "text": " ".join(others), "score": 0.0, "similarity": 0.31})
    said = dice.sample(lines, 2)
    sentences = [
        {
            "text": line.replace("randomly chosen", "random"),
            "support": round(min(1.0, dice.gauss(0.82, 0.09)), 3),
            "citations": [place | {"number": 1, "quote": line, "start": 0, "end": len(line)}],
        }
        for line in said
    ]
    start = dice.lognormvariate(6.4, 0.5)
    return {
        "id": f"turn-{dice.random()}",
        "question": question,
        "standalone": question,
        "answer": " ".join(s["text"] for s in sentences) if answered else "",
        "sentences": sentences if answered else [],
        "dropped": [{"text": "It was invented in 1832.", "reason": "No source has the number 1832."}] if answered else [],
        "evidence": evidence if answered else [],
        "cold": False,
        "refused": not answered,
        "rule": None if answered else "not_covered",
        "reason": None if answered else "The course does not seem to cover this.",
        "suggestions": [] if answered else ["Dropout", "Base rates"],
        "stopped": False,
        "model": "toy",
        "prompt_tokens": 900,
        "cached_tokens": 800,
        "timings": {
            "evidence_ms": round(dice.gauss(38, 4), 1),
            "first_token_ms": round(start, 1) if answered else None,
            "first_sentence_ms": round(start * 2.2, 1) if answered else None,
            "total_ms": round(start * 6, 1),
            "tokens_per_s": 11.0 if answered else None,
        },
    }


def _page(source: str) -> int | None:
    return 7 if "12" in source else None


def read_manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
