"""Thumbs and corrections of readers who allow it -> preference pairs and thumbs.

A thumbs-up never outvotes groundedness: an answer that the verifier does not let through today becomes no example to follow. A
thumbs-down whose comment answers the question, and is supported, becomes a pair; any other judgement stands alone.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from assistant.events import Exchange
from assistant.history import TurnRecord
from assistant.memory import needs_context
from assistant.prompts import NOT_COVERED
from course_guard.rules.personal import PersonalDataRule
from course_guard.rules.secrets import SecretsRule
from finetune.data.production import Judged, Production, Scene
from finetune.rows import Origin, Pair, Thumb, row_id

_MODEL_REFUSED = ("not_covered", "unsupported")
_LABEL = re.compile(r"^\s*(?:correction|correct(?: answer)?|should be|better)\s*:\s*", re.IGNORECASE)
_SHORTEST = 4  # words of a correction


@dataclass(slots=True)
class Gathered:
    """Rows from conversations, and how many judgements gave none, by why."""

    pairs: list[Pair] = field(default_factory=list)
    thumbs: list[Thumb] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Said:
    """One judged turn without personal data."""

    turn: TurnRecord
    question: str
    answer: str
    comment: str
    earlier: tuple[Exchange, ...]
    turns: tuple[str, ...]


def gather(production: Production, turns: Sequence[TurnRecord]) -> Gathered:
    """Rows from the judged turns of a history.

    Args:
        production: judges.
        turns: newest first, as History.turns gives them; those without consent give nothing, not even context.
    """
    found = Gathered()
    for turn in turns:
        if turn.value is None:
            continue
        said = _said(turn, turns) if turn.consent else None
        if said is None:
            found.left_out["no consent, or none for what it hangs on" if turn.consent else "no consent"] += 1
            continue
        why = _judgement(production, said, found)
        if why:
            found.left_out[why] += 1
    return found


def without_personal_data(text: str) -> str:
    """The text with placeholders for personal data, passwords and keys, whatever the policy of the course says."""
    for rule in (PersonalDataRule(), SecretsRule()):
        finding = rule.look(text)
        if finding and finding.replacement is not None:
            text = finding.replacement
    return text


def _said(turn: TurnRecord, turns: Sequence[TurnRecord]) -> _Said | None:
    """The turn with what it hangs on; None if somebody has not allowed that."""
    same = [each for each in turns if each.conversation == turn.conversation and turn.conversation]
    before = [each for each in same[same.index(turn) + 1 :][::-1] if each.answer] if turn in same else []
    earlier = tuple(
        Exchange(without_personal_data(each.question), without_personal_data(each.answer)) for each in before if each.consent
    )
    question = without_personal_data(turn.question)
    if not all(each.consent for each in before) and needs_context(question, [Exchange(e.question, e.answer) for e in before]):
        return None
    if not needs_context(question, earlier):
        earlier, before = (), []
    refused = turn.refused in _MODEL_REFUSED and not turn.answer
    answer = NOT_COVERED if refused else without_personal_data(turn.answer)
    comment = _LABEL.sub("", without_personal_data(turn.comment or ""))
    return _Said(turn, question, answer, comment, earlier, (turn.id, *(each.id for each in before)))


def _judgement(production: Production, said: _Said, found: Gathered) -> str:
    """Add the row of one judged turn; returns why there is none, or nothing."""
    turn, scene = said.turn, Scene(cold=bool(said.turn.record.get("cold", True)))
    if not said.answer:
        return "there was no answer of the model"
    judged = production.judge(said.question, said.answer, scene, said.earlier)
    if not judged.prompt or not judged.answer.evidence or not judged.answer.evidence.passages:
        return "the model is not asked this today"
    lesson = judged.answer.evidence.passages[0].passage.source
    if judged.sentences:
        lesson = judged.sentences[0].citations[0].passage.source
    if turn.value == 1:
        if said.answer != NOT_COVERED and not judged.is_grounded:
            return "thumbs up, but not supported by the course"
    elif len(said.comment.split()) >= _SHORTEST and said.comment != said.answer:
        better = production.judge(said.question, said.comment, scene, said.earlier)
        if better.is_grounded:
            found.pairs.append(_pair(said, better, judged))
            return ""
    origin = Origin("reader", "thumbs up" if turn.value else "thumbs down", tuple(judged.cited), said.turns, scene.cold)
    id_ = row_id("thumb", judged.prompt, said.answer, turn.id)
    evidence = judged.evidence
    if said.comment:
        evidence = (*evidence, {"comment": said.comment})
    found.thumbs.append(
        Thumb(
            id=id_, lesson=lesson, origin=origin, prompt=judged.prompt, completion=said.answer, label=bool(turn.value),
            evidence=evidence,
        )
    )  # fmt: skip
    return ""


def _pair(said: _Said, better: Judged, worse: Judged) -> Pair:
    evidence = {
        "why": "A reader judged the answer wrong and wrote a better one, which the course supports.",
        "chosen": list(better.evidence),
        "rejected": list(worse.evidence),
    }
    return Pair(
        id=row_id("thumb", better.prompt, said.comment, said.answer, said.turn.id),
        lesson=better.sentences[0].citations[0].passage.source,
        origin=Origin(
            "reader", "thumbs down with a correction", tuple(better.cited), said.turns, bool(said.turn.record.get("cold", True))
        ),
        prompt=better.prompt,
        kind="thumb",
        chosen=said.comment,
        rejected=said.answer,
        evidence=evidence,
    )
