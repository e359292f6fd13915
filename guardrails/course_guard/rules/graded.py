"""Does somebody ask for the whole solution of graded work? A teacher may want a hint to be given instead.

A finding needs three things together: an order or a wish to have something made or handed over, work that is marked (homework,
an assignment with a number, an exam, an essay of one's own), and no word that asks for less: an explanation, a hint, a check.
The rule is biased to let pass: "problem 3" alone may be an exercise of the course, and who says nothing of marks is believed.
"""

import re

from course_guard.rules.wording import groups, own_words, said
from course_guard.verdict import Finding

PASTED = 0.4

_POINTS = re.compile(
    r"[(\[]\d+ ?(?:points?|pts?|marks?|punkte|puntos)[)\]]|\b(?:due|submit by|hand in by|deadline):? ", re.IGNORECASE
)
_TASK = re.compile(
    r"^\W*(?:\w+ \d+\W+|\d+\W+|[a-d]\)\W*)?(?:implement|write|prove|derive|compute|show that|solve|calculate|design)\b",
    re.IGNORECASE | re.MULTILINE,
)
_LESS = re.compile(
    r"\b(?:hints?|expla\w+|check\w*|review\w*|feedback|proof-?read\w*|understand\w*"
    r"|help me (?:with|to|start|understand|plan|improve)"
    r"|how (?:do|should|can|could|would|to|does)|where|when|what does|what do|why"
    r"|(?:is|are) my (?:answer|solution|code|proof|result|reasoning|essay)s?|did i|correct me|improve|debug"
    r"|guide|outline|tips?|ideas?|start\w*|approach|rubric|format|summari[sz]e|(?:grade|mark) my|tutor"
    r"|without (?:giving|telling|solving)|not the (?:answer|solution)|don'?t (?:give|tell|solve)"
    r"|practi[cs]e|sample|mock|past|old|previous|last year'?s|ungraded"
    r"|erklär\w*|tipp|hinweis|prüf\w*|versteh\w*|expli\w+|indice|vérifi\w*|pista|revisa\w*|entend\w*)\b",
    re.IGNORECASE,
)
_SENTENCE = 300  # characters on either side that are searched for its ends


class GradedWorkRule:
    """Scores: 0.9 the solution of graded work is asked for, 0.7 an essay by its length or for a class, 0.4 a pasted task."""

    name = "input.graded_work"

    def look(self, text: str) -> Finding | None:
        """The demand, unless its sentence asks for less than a solution or speaks of an exam to practise with."""
        words = own_words(text)
        for group in groups("graded"):
            spans = tuple(found.span() for found in said(group, words))
            if wanted := tuple(span for span in spans if not _LESS.search(_sentence(words, *span))):
                return Finding(group.reason, wanted, group.score)
        if (points := _POINTS.search(words)) and _TASK.search(words) and not _LESS.search(words):
            return Finding("It looks like the text of a graded task.", (points.span(),), PASTED)
        return None


def _sentence(words: str, start: int, end: int) -> str:
    """The sentence round a place."""
    before, after = words[max(0, start - _SENTENCE) : start], words[end : end + _SENTENCE]
    return re.split(r"[.!?\n]", before)[-1] + words[start:end] + re.split(r"[.!?\n]", after)[0]
