"""Answers in the words of the model that is served, where the check lets all of them pass.

A model that is trained on sentences of the course learns to copy one that is near the question, not to say what was asked for;
one that is trained on answers, its own or those of a larger model, keeps to answering (docs/log.md; self-distillation: Yang et
al. 2024, arXiv 2402.13669; samples that pass a check: Yuan et al. 2023, arXiv 2308.01825).
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from itertools import islice

from finetune.data.grounded import Made
from finetune.data.production import Production
from finetune.data.samples import Sampler
from finetune.rows import row_id

_A_NAME = 3  # words of a detail that has no other words


def reworded(
    production: Production,
    made: Sequence[Made],
    sampler: Sampler,
    name: str,
    count: int,
    held: Set[str],
    skip: Set[str],
    tell: Callable[[str, int, int], None],
) -> list[Made]:
    """All rows; the first `count` that answer, and are trained on, have the model's answer, if it is as good.

    Args:
        production: judges.
        made: rows of every kind.
        sampler: of the model, which is asked what each row's prompt asks.
        name: of the model; the row's origin.
        count: how many to ask; what was asked before is not asked again.
        held: sources of the lessons that are kept from training.
        skip: ids of rows that were rejected.
        tell: is called after each.

    Raises:
        CourseError: the disk is full.
    """
    trained = (one for one in made if one.row.kind != "removed" and one.asked.passage.source not in held)
    answering = list(islice(trained, count))
    better: dict[str, Made] = {}
    for done, one in enumerate(answering, start=1):
        found = _reworded(production, one, sampler.text(one.row.prompt, production.settings.answer.max_tokens), name)
        if found and found.row.id not in skip:
            better[one.row.id] = found
        tell("Answers", done, len(answering))
    return [better.get(one.row.id, one) for one in made]


def _reworded(production: Production, made: Made, text: str, name: str) -> Made | None:
    """None unless every sentence would be shown, by what the prompt holds, and says what was asked for."""
    judged = production.judge(made.asked.question, text, made.scene, made.earlier)
    planted, detail = made.scene.planted, made.asked.detail
    if not (judged.is_grounded and judged.is_read) or made.asked.passage.id not in judged.cited:
        return None
    if planted and planted.passage.id in judged.cited:
        return None
    answer = "".join(sentence.lead + sentence.text for sentence in judged.sentences).strip()
    if len(detail.split()) <= _A_NAME and detail.lower() not in f"{made.asked.question} {answer}".lower():
        return None
    row = replace(
        made.row,
        id=row_id(made.row.kind, made.row.prompt, answer),
        origin=replace(made.row.origin, made_by=name),
        completion=answer,
        evidence=judged.evidence,
    )
    return replace(made, row=row, judged=judged)
