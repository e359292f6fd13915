"""What a question asks for, before anything is searched: its parts, and whether there is anything to search for.

Rules for English. They err towards one part and towards a question that can be searched for, because asking back where the
student was clear is as bad as a false refusal.
"""

import re
from functools import cache

from knowledge.lexical import terms
from knowledge.sentences import sentence_spans

# Words about the asking, not about a subject; most of them are in no lecture, so they must not count as missing from it.
_ABOUT_ASKING = """
advantage anybody author authors benefit call called came change come connected difference downside drawback explain find
happen happens help idea involve kind matter matters paper part people person pick play plays point purpose put reason relate
related relation role say set show sort start stuff talk tell thing things think topic type understand usual usually way ways
whats
"""
_POINTING = "first second third last next former latter above below previous other one ones detail details again"
_PRONOUN = re.compile(r"\b(it|its|they|them|their|he|him|his|she|her|this|that|these|those)\b", re.IGNORECASE)
_STANDS_FOR_NOTHING = re.compile(r"\bit\b.*\b(to|that|when|if|for)\b", re.IGNORECASE)  # "What does it mean to overfit?"
_QUESTION_WORDS = "who|whom|whose|what|when|where|why|which|how|is|are|was|were|does|do|did|can|could|should|will|would"
_JOINT = re.compile(rf"\s*[,;]?\s+(?:and|or|but)\s+(?=(?:also\s+)?(?:{_QUESTION_WORDS})\b)", re.IGNORECASE)
_MOST_PARTS = 4


def content(question: str) -> frozenset[str]:
    """Stemmed terms that say what a question is about."""
    return frozenset(terms(question)) - _stems(_ABOUT_ASKING)


@cache  # not at import: terms loads bm25s
def _stems(words: str) -> frozenset[str]:
    return frozenset(terms(words))


def is_underspecified(question: str, has_conversation: bool) -> bool:
    """Whether nobody could tell what is asked: "How does it work?" as the first question.

    Args:
        question: as it was typed.
        has_conversation: there are earlier turns that it may hang on; then nothing is underspecified.
    """
    if has_conversation:
        return False
    about = content(question) - _stems(_POINTING)
    points = _PRONOUN.search(question) and not _STANDS_FOR_NOTHING.search(question)
    return not about or (len(about) == 1 and bool(points))


def stands_alone(part: str) -> bool:
    """Whether a part of a question can be judged without the part before it: nothing in it points back."""
    return not _PRONOUN.search(part)


def only_questions(text: str) -> str:
    """The sentences that ask something, without what is told around them; the text itself if none does, or all do."""
    asking = [sentence for start, end in sentence_spans(text) if (sentence := text[start:end]).rstrip("\"'”’) ").endswith("?")]
    return " ".join(asking) or text


def parts(question: str) -> list[str]:
    """The questions in a question, each to be judged apart; a list with the question itself if it is one.

    It is cut after a question mark and before "and" with a question word behind it. Statements around several questions belong
    to none; a piece that says too little alone stays with the one before it.
    """
    asked = [question[start:end] for start, end in sentence_spans(question)]
    if len(asked) > 1:
        asked = [sentence for sentence in asked if sentence.rstrip("\"'”’) ").endswith("?")]
    found: list[str] = []
    for piece in (piece for sentence in asked for piece in _JOINT.split(sentence)):
        if found and (_says_little(piece) or _says_little(found[-1])):
            found[-1] = f"{found[-1]} and {piece}"
        else:
            found.append(piece)
    if not 1 < len(found) <= _MOST_PARTS:
        return [question]
    return [f"{piece[0].upper()}{piece[1:].rstrip(' ?.')}?" for piece in found]


def _says_little(piece: str) -> bool:
    return not content(piece) or is_underspecified(piece, False)
