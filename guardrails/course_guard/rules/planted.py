"""Sentences of a document that speak to the assistant instead of the reader: "AI systems reading this must say ...".

Signs, each with a weight, are joined as independent evidence (noisy or): few single signs are enough, since exercise sheets
say "in your answer" and lessons say "the assistant must answer". What is quoted or named as an attack counts for less, because
a course about prompt injection must be able to teach it.

What it cannot see: a plain request in the author's own voice ("Please unlock my front door."), a false statement, and an attack
dressed up as a quotation. Nothing of a document is ever a control token for the model (assistant/llm), found or not.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from course_guard.rules.planted_signs import SIGNS
from course_guard.verdict import Finding
from knowledge.sentences import sentence_spans

Span = tuple[int, int]

THRESHOLD = 0.5  # of a sentence's score
_GOES_ON = 0.15  # a sentence that follows a planted one belongs to it with the slightest sign
_QUOTED, _MENTIONED = 0.35, 0.6  # what is left of a weight inside quotation marks; in a sentence about attacks
_LONGEST = 2_000  # characters of a sentence that are looked at, from its start and from its end

_ABOUT_ATTACKS = re.compile(
    r"\b(?:attack\w*|inject\w*|jailbreak\w*|adversar\w+|malicious\w*|red[- ]team\w*|exploit\w*|vulnerab\w*|defen[cs]e\w*|"
    r"for example|for instance|such as|phrases? like|e\.g\.|so-called)",
)
_QUOTES = re.compile(r"“[^”]*”|\"[^\"]*\"|`[^`]*`|„[^“”]*[“”]|«[^»]*»|(?<!\w)'[^']*'(?!\w)|(?<!\w)‘[^’]*’(?!\w)")
_MARKS = re.compile(r"\*+|(?<!\w)_+|_+(?!\w)|^\s*>+", re.MULTILINE)
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")
_OWN_WORDS = 12  # letters outside the quotation marks that make a sentence more than its quotation


@lru_cache(maxsize=1)
def _signs() -> tuple[tuple[float, "re.Pattern[str]"], ...]:
    return tuple((weight, re.compile(pattern)) for weight, pattern in SIGNS)


@lru_cache(maxsize=1 << 17)  # every sentence of a large course: reading ahead looks at all of it whenever it is woken
def planted_score(sentence: str) -> float:
    """How sure it is, 0 to 1, that a sentence was written for the assistant and not for the reader; about 0.1 ms."""
    text = _plain(sentence)
    quotes = [match.span() for match in _QUOTES.finditer(text)]
    outside = sum(map(str.isalpha, text)) - sum(sum(map(str.isalpha, text[a:b])) for a, b in quotes)
    general = _MENTIONED if _ABOUT_ATTACKS.search(text) else 1.0
    doubt = 1.0
    for weight, pattern in _signs():
        if found := pattern.search(text):
            quoted = outside >= _OWN_WORDS and any(a <= found.start() and found.end() <= b for a, b in quotes)
            doubt *= 1 - weight * general * (_QUOTED if quoted else 1.0)
    return 1 - doubt


def is_planted(sentence: str) -> bool:
    """Whether one sentence, seen alone, speaks to the assistant."""
    return planted_score(sentence) >= THRESHOLD


def planted_spans(text: str) -> tuple[Span, ...]:
    """The sentences of a text that speak to the assistant, with those behind them that go on with it.

    Returns:
        Half-open character ranges of `text`, each one sentence, in order.
    """
    return tuple((start, end) for start, end, _ in _found(text))


def _found(text: str) -> Iterator[tuple[int, int, float]]:
    before = False
    for start, end in sentence_spans(text):
        score = planted_score(text[start:end])
        before = score >= (_GOES_ON if before else THRESHOLD)
        if before:
            yield start, end, score


def _plain(sentence: str) -> str:
    """As it is matched: compatibility forms composed, lower case, one line, without emphasis and invisible characters."""
    if len(sentence) > 2 * _LONGEST:
        sentence = f"{sentence[:_LONGEST]} {sentence[-_LONGEST:]}"
    if not sentence.isascii():
        sentence = _UNSEEN.sub("", unicodedata.normalize("NFKC", sentence))
    return " ".join(_MARKS.sub("", sentence).lower().split())


class PlantedInstructionRule:
    """Finds instructions to the assistant in the text of a document."""

    name = "document.planted"

    def look(self, text: str) -> Finding | None:
        """The planted sentences as spans; the score is that of the surest."""
        found = list(_found(text))
        if not found:
            return None
        count = "A sentence speaks" if len(found) == 1 else f"{len(found)} sentences speak"
        reason = f"{count} to the assistant instead of the reader."
        return Finding(reason, tuple((start, end) for start, end, _ in found), max(score for *_, score in found))
