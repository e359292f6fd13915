"""Preference pairs: the better of two answers is the one that the verifier and its citations say is better.

By rule: the course's own answer against a needless refusal, against itself with one detail changed, and against an answer from
elsewhere; the refusal against the answer that nothing supports. From samples: what the served model really writes.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from assistant.prompts import NOT_COVERED
from finetune.data.grounded import Made, falsified
from finetune.data.production import Judged, Production
from finetune.rows import Origin, Pair, PairKind, row_id

_REFUSED = "It declines although a passage answers the question."


def of_rules(production: Production, made: Made, sentences: Sequence[str], random: Random) -> Pair | None:
    """A pair about a row, without any model; None where no worse answer could be made.

    Args:
        production: judges.
        made: a row that is answered or declined.
        sentences: of the same document; wrong answers are made from them.
        random: chooses the fault.
    """
    if made.row.kind == "removed":
        return _pair(made, "refusal", NOT_COVERED, made.asked.answer, _unsupported(made.judged), "rule", "declined")
    fault = random.choice(("declined", "changed", "stranger"))
    if fault == "declined":
        return _pair(made, "answer", made.row.completion, NOT_COVERED, _REFUSED, "rule", fault)
    others = [sentence for sentence in sentences if sentence not in made.asked.passage.text]
    worse = falsified(made.asked, sentences, random) if fault == "changed" else random.choice(others) if others else None
    if worse is None:
        return None
    judged = production.judge(made.asked.question, worse, made.scene, made.earlier)
    if not judged.answer.dropped:  # the verifier sees nothing wrong with it, so neither may we
        return None
    return _pair(made, "answer", made.row.completion, worse, _unsupported(judged), "rule", fault, judged)


def of_samples(production: Production, made: Made, texts: Sequence[str], model: str) -> Pair | None:
    """The best against the worst of what the served model wrote; None where they do not differ clearly.

    Where the question is answered, an answer is good if every sentence is supported by what the prompt holds, and the passage
    that answers is cited; if none is, the course's own words are chosen. Where it must be declined, declining is chosen.

    Args:
        production: judges.
        made: the row whose prompt was sampled.
        texts: what the model wrote, raw.
        model: its name.
    """
    judged = {text: production.judge(made.asked.question, text, made.scene, made.earlier) for text in dict.fromkeys(texts)}
    declined = {text for text, found in judged.items() if not found.sentences and not found.answer.dropped}
    if made.row.kind == "removed":
        wrong = [text for text in judged if text not in declined]
        if not wrong:
            return None
        worst = max(wrong, key=lambda text: len(judged[text].answer.dropped))
        return _pair(made, "refusal", NOT_COVERED, worst, _unsupported(judged[worst]), model, "sampled", judged[worst])
    good = [
        text for text, found in judged.items() if found.is_grounded and found.is_read and made.asked.passage.id in found.cited
    ]
    wrong = [text for text, found in judged.items() if text in declined or found.answer.dropped]
    if not wrong:
        return None
    best = max(good, key=lambda text: min(sentence.support for sentence in judged[text].sentences), default=made.row.completion)
    worst = max(wrong, key=lambda text: (len(judged[text].answer.dropped), text in declined))
    why = _REFUSED if worst in declined else _unsupported(judged[worst])
    return _pair(made, "answer", best, worst, why, model, "sampled", judged[worst], judged.get(best))


def _unsupported(judged: Judged) -> str:
    dropped = judged.answer.dropped
    return f"{dropped[0].reason} ({dropped[0].text})" if dropped else "It answers what no passage answers."


def _pair(
    made: Made,
    kind: PairKind,
    chosen: str,
    rejected: str,
    why: str,
    made_by: str,
    how: str,
    worse: Judged | None = None,
    better: Judged | None = None,
) -> Pair:
    evidence: dict[str, Any] = {
        "why": why,
        "chosen": list(better.evidence if better else made.row.evidence) if kind == "answer" else [],
        "rejected": list(worse.evidence if worse else made.row.evidence if kind == "refusal" else ()),
    }
    return Pair(
        id=row_id(kind, made.row.prompt, chosen, rejected),
        lesson=made.row.lesson,
        origin=Origin(made_by, how, made.row.origin.passages, (), made.row.origin.cold),
        prompt=made.row.prompt,
        kind=kind,
        chosen=chosen,
        rejected=rejected,
        evidence=evidence,
    )
