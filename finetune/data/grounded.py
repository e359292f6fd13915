"""Rows of every kind about one made question, each with an answer that the chain would show.

The recipe is RAFT's (oracle passage among hard distractors, and without it) with Finetune-RAG's fictitious passage among true
ones (arXiv 2403.10131, 2505.10792); follow-ups and help with finding one's way keep the rest of the behaviour in place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from assistant.events import Exchange
from assistant.prompts import NOT_COVERED
from finetune.data.asked import HELP, Asked
from finetune.data.production import Judged, Production, Scene
from finetune.guards.verifier.rewrite import changed
from finetune.rows import Origin, Row, RowKind, row_id
from knowledge.evidence import Excerpt
from knowledge.sentences import sentence_spans

_TRIES = 5  # rounds of hiding what still supports the answer; attempts at a wrong detail
# Questions with one answer, unlike "What does X do?".
_DECIDABLE = frozenset({"who", "when", "many", "why", "how", "means", "what", "called", "used", "mistake", "written"})
_FICTITIOUS = "fictitious"
_DOUBTFUL_SOURCES = ("Forum post, not checked", "Notes of a reader, not checked", "A draft that was withdrawn")


@dataclass(frozen=True, slots=True)
class Made:
    """A row with all that further rows, pairs and samples are made from."""

    row: Row
    asked: Asked
    scene: Scene
    earlier: tuple[Exchange, ...]
    judged: Judged


def answered(production: Production, asked: Asked, scene: Scene) -> Made | None:
    """The question with what answers it among what the model reads; None if it is not, or the answer would not be shown."""
    earlier: tuple[Exchange, ...] = ()
    if asked.follows:
        first = production.judge(asked.follows.question, asked.follows.answer, scene).answer
        if first.dropped or not first.done or not first.done.exchange:
            return None
        earlier = (first.done.exchange,)
    judged = production.judge(asked.question, asked.answer, scene, earlier)
    if not judged.is_read and judged.sentences:  # the best sentences may be without the one behind the answer
        start, end = sentence_spans(asked.answer)[0]
        asked = replace(asked, answer=asked.answer[start:end])
        judged = production.judge(asked.question, asked.answer, scene, earlier)
    if not (judged.is_grounded and judged.is_read) or asked.passage.id not in judged.cited:
        return None
    kind: RowKind = "follow_up" if asked.follows else "plain" if asked.how in HELP else "oracle"
    return Made(_row(kind, asked, scene, judged, asked.answer), asked, scene, earlier, judged)


def removed(production: Production, made: Made) -> Made | None:
    """The same question where no passage supports the answer any more, so that it must be declined.

    Whatever still supports the answer is hidden until nothing does, not even weakly; the rest of the search stays, so that most
    distractors are about the very subject. None where they might answer, too, because the question is a wide one or what it
    asks for is still there in other words around it.
    """
    detail = made.asked.detail.lower()
    if made.asked.how not in _DECIDABLE or (detail and detail in made.asked.question.lower()):
        return None
    hidden = made.judged.cited | {made.asked.passage.id}
    for _ in range(_TRIES):
        scene = replace(made.scene, hidden=hidden, doubtful=True, any_question=True)
        judged = production.judge(made.asked.question, made.asked.answer, scene, made.earlier)
        if not judged.prompt or not judged.answer.evidence or not judged.answer.evidence.passages:
            return None
        if not judged.sentences:
            if detail and detail in judged.read.lower():
                return None
            row = _row("removed", made.asked, scene, judged, NOT_COVERED)
            return Made(row, made.asked, scene, made.earlier, judged)
        hidden |= judged.cited
    return None


def contradicted(production: Production, made: Made, sentences: Sequence[str], random: Random) -> Made | None:
    """The same question with a passage among the evidence that says otherwise, and says of itself that nobody has checked it.

    Without such a sign the model could not know which of two passages is right, and would learn to trust what it knew before.

    Args:
        production: judges.
        made: with the true answer.
        sentences: of the same document; wrong details are taken from them.
        random: where chance comes from.
    """
    if (false := falsified(made.asked, sentences, random)) is None:
        return None
    true = made.asked.passage
    title = random.choice(_DOUBTFUL_SOURCES)
    planted = replace(
        true, id=f"{_FICTITIOUS}:{true.id}", document_id=_FICTITIOUS, section_id=_FICTITIOUS, source=_FICTITIOUS, title=title,
        heading=(), start=0, end=len(false), text=false,
    )  # fmt: skip
    scene = replace(made.scene, planted=Excerpt(planted, ((0, len(false)),), 0), place=random.random())
    judged = production.judge(made.asked.question, made.asked.answer, scene, made.earlier)
    if not (judged.is_grounded and judged.is_read) or planted.id in judged.cited or true.id not in judged.cited:
        return None
    row = _row("contradicted", made.asked, scene, judged, made.asked.answer)
    return Made(row, made.asked, scene, made.earlier, judged)


def falsified(asked: Asked, sentences: Sequence[str], random: Random) -> str | None:
    """The answer with one detail of its first sentence changed, so that it is wrong; None where nothing could be changed."""
    start, end = sentence_spans(asked.answer)[0]
    others = [sentence for sentence in sentences if sentence not in asked.answer]
    for _ in range(_TRIES):
        found = changed(asked.answer[start:end], asked.passage.text, others, random)
        if found and found[1] != "word":  # a strange word is no other claim, but nonsense
            return found[0] + asked.answer[end:]
    return None


def _row(kind: RowKind, asked: Asked, scene: Scene, judged: Judged, completion: str) -> Row:
    cold = judged.answer.evidence.cold if judged.answer.evidence else scene.cold
    return Row(
        id=row_id(kind, judged.prompt, completion),
        lesson=asked.passage.source,
        origin=Origin("rule", asked.how, (asked.passage.id,), (), cold),
        prompt=judged.prompt,
        kind=kind,
        completion=completion,
        evidence=judged.evidence,
    )
