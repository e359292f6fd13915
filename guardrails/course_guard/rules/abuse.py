"""Insults and threats aimed at the assistant or at a person, and hate; never mere swearing.

Swearing is no offence ("this damn derivative"), nor is talk about abuse: a real school's list of bad words made 97% of its
blocks, nearly all of them false. A finding needs a target: you, a person or a group, and an insult, a threat or a debasement
said of it in the writer's own words. Hate in code words, irony and whatever needs the world to be understood passes.
"""

import re

from course_guard.rules.wording import groups, own_words, said
from course_guard.verdict import Finding

# "Why did the Nazis say that Jews were vermin?", "Is it hate speech to write that all men are scum?"
_TALK_ABOUT = re.compile(
    r"\b(?:claim|argue|say|said|state|assert|believe|think|thought|write|wrote|portray|depict|describe|call|propaganda|stereotyp"
    r"|prejudice|myth|idea|notion|view|theory|slogan|hate speech|racis|sexis|antisemiti|refute|wrong to|offensive|toxic|classif"
    r"|bias|dataset|model|sentence|example|moderat|ideolog|rhetoric)\w*\b[^.!?]*$",
    re.IGNORECASE,
)
_BEFORE = 160  # characters in which such talk is looked for


class AbuseRule:
    """Scores: 0.95 a threat, 0.9 hate, 0.85 an insult to whoever reads this, 0.55 an insult to somebody who is not there."""

    name = "input.abuse"

    def look(self, text: str) -> Finding | None:
        """The gravest abuse in the writer's own words; what is quoted, reported or talked about does not count."""
        words = own_words(text)
        for group in groups("abuse"):
            found = (match.span() for match in said(group, words))
            if spans := tuple((a, b) for a, b in found if not _TALK_ABOUT.search(words[max(0, a - _BEFORE) : a])):
                return Finding(group.reason, spans, group.score)
        return None
