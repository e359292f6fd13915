"""Does the writer want to harm himself, or is he in acute distress? The answer to that is care and a pointer to people.

A finding needs the writer in the present, or somebody near: "I want to die", not "Romeo's suicide", "this homework is killing
me" or "kill -9". The wordings are of the warning signs that crisis lines publish: talk of dying, of no reason to live, of being
a burden, of what cannot be borne; in English, the commonest also in German, French and Spanish. What is said in hints or in
irony passes: this rule is no diagnosis.
"""

import re

from course_guard.rules.wording import groups, own_words, said
from course_guard.verdict import Finding

HEAVY = 0.7
DOUBTFUL = 0.4
# Where somebody studies, "I can't go on" is about the exercise.
_STUDY = re.compile(
    r"\b(?:exercise|problem|question|task|step|code|error|exception|bug|install\w*|proof|derivation|equation|line|cell|notebook"
    r"|lesson|chapter|quiz|exam|homework|assignment|math\w*|python|import|lecture|course|aufgabe|übung|exercice|ejercicio)s?\b",
    re.IGNORECASE,
)


class DistressRule:
    """Scores: 0.95 intent of harm, 0.85 of somebody near, 0.7 heavy words, 0.4 heavy words where work is spoken of."""

    name = "input.distress"

    def look(self, text: str) -> Finding | None:
        """What the writer says of himself or of somebody near; what is quoted or reported does not count."""
        words = own_words(text)
        for group in groups("distress"):
            if spans := tuple(found.span() for found in said(group, words)):
                lone_and_studying = group.score <= HEAVY and len(spans) == 1 and _STUDY.search(words)
                return Finding(group.reason, spans, DOUBTFUL if lone_and_studying else group.score)
        return None
