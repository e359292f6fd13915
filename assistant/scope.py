"""What of a question the course covers: all of it, a part, or nothing; or nobody could tell what is asked."""

from dataclasses import dataclass

from assistant.events import Turn
from assistant.memory import searched_for
from assistant.prompts import without_placeholders
from knowledge.asking import is_underspecified, only_questions, parts, stands_alone
from knowledge.retrieval import CourseRetriever, Retrieved

_SURELY_NOT = 0.25  # relevance of a part that is named as not covered; nearer ones may only be worded otherwise


@dataclass(frozen=True, slots=True)
class Scope:
    """What to answer.

    Attributes:
        searched: what is answered: the question, with what it hangs on, or the parts of it that are covered.
        found: what the search found for it.
        left_out: parts of the question that the course does not seem to cover, though it covers others.
        unclear: nothing says what is asked.
    """

    searched: str
    found: Retrieved
    left_out: tuple[str, ...] = ()
    unclear: bool = False


def scope_of(turn: Turn, retriever: CourseRetriever) -> Scope:
    """Search for the question of a turn, and for its parts where it asks several things at once."""
    question = without_placeholders(turn.question)
    searched = searched_for(question, turn.earlier)
    found = retriever.retrieve(searched, turn.sources)
    if searched != question:
        return Scope(searched, found)
    if is_underspecified(question, bool(turn.earlier)):
        return Scope(searched, found, unclear=True)
    pieces = parts(question)
    if len(pieces) < 2:
        asked = only_questions(question)  # who tells much before the question is searched for what was told
        if found.covered or asked == question or not (narrower := retriever.retrieve(asked, turn.sources)).covered:
            return Scope(searched, found)
        return Scope(asked, narrower)
    apart = [(piece, retriever.retrieve(piece, turn.sources)) for piece in pieces]
    best, found_best = max(apart, key=lambda each: each[1].relevance)
    if not found.covered and not found_best.covered:
        return Scope(searched, found)
    left_out = tuple(piece for piece, seen in apart if stands_alone(piece) and seen.relevance < _SURELY_NOT)
    asked = " ".join(piece for piece in pieces if piece not in left_out) if left_out else searched
    return Scope(asked, found, left_out) if found.covered else Scope(asked if left_out else best, found_best, left_out)
