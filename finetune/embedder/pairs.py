"""Question, passage that answers it, and a passage that only seems to: what the embedder learns from.

Negatives are what the course's own search puts high. A passage that knows the question's subject may answer it as well, and one
nearly as similar as the positive probably does: neither is taken (the second rule is TopK-PercPos of NV-Retriever, Moreira et
al., 2024, with its 95%).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from finetune.embedder.questions import Asked
from knowledge.lexical import terms
from knowledge.retrieval import CourseRetriever

_SEARCHED = 20  # passages; a question whose own passage is not among them is thought to be a bad one
_NEARLY = 0.95  # of the positive's similarity


@dataclass(frozen=True, slots=True)
class Triplet:
    """Texts as they are embedded, and the lesson of the positive."""

    anchor: str
    positive: str
    negative: str
    lesson: str
    kind: str


@dataclass(frozen=True, slots=True)
class Mined:
    """The triplets, and how many questions gave none: their passage was not found, or nothing was a safe negative."""

    triplets: tuple[Triplet, ...]
    not_found: int
    no_negative: int


def mine(
    questions: Sequence[Asked], retriever: CourseRetriever, held: frozenset[str], tell: Callable[[int, int], None]
) -> Mined:
    """Search for every question and choose the best safe negative.

    Args:
        questions: of lessons that may be learnt from.
        retriever: of the course as it is.
        held: sources of lessons that nothing is learnt from, negatives neither.
        tell: called with (questions done, of how many).
    """
    triplets: list[Triplet] = []
    not_found = no_negative = 0
    for done, asked in enumerate(questions, start=1):
        found = retriever.retrieve(asked.text, _SEARCHED).passages
        positive = next((ranked for ranked in found if ranked.passage.id in asked.answers), None)
        if positive is None:
            not_found += 1
        else:
            safe = (
                ranked.passage
                for ranked in found
                if ranked.passage.id not in asked.answers
                and ranked.passage.source not in held
                and ranked.similarity < _NEARLY * positive.similarity
                and not (asked.subject and asked.subject <= set(terms(ranked.passage.searchable)))
            )
            if (negative := next(safe, None)) is None:
                no_negative += 1
            else:
                texts = (asked.text, positive.passage.searchable, negative.searchable)
                triplets.append(Triplet(*texts, positive.passage.source, asked.kind))
        tell(done, len(questions))
    return Mined(tuple(triplets), not_found, no_negative)
