"""What of the conversation a question needs: real follow-ups are searched for together with what they hang on.

The model reads the conversation and needs no more. Having it rewrite the question first found the answer in two more of 32
follow-ups, and took longer than everything else before the first word (docs/log.md).
"""

import re
from collections.abc import Sequence

from assistant.events import Exchange
from knowledge.lexical import terms

_POINTS_BACK = re.compile(
    r"\b(it|its|itself|they|them|their|theirs|this|these|those|he|she|his|her|former|latter|above|previous|same one|"
    r"another one|the (first|second|third|last|other) (one|two))\b"
    r"|\b(of|about|is|was|does|do|did|for|with|by|than|why|like|mean)\s+that\b|\bthat\s*[?.!]*$",
    re.IGNORECASE,
)
_CARRIES_ON = re.compile(
    r"^\s*(and|but|so|then|or|also|ok|okay|what about|how about|what else|how so|really|more|go on|continue|"
    r"for example|such as|an example|another|who else|since when|compared)\b",
    re.IGNORECASE,
)
_LONGEST_CHAIN = 3  # earlier questions


def needs_context(question: str, earlier: Sequence[Exchange]) -> bool:
    """Whether the question cannot be understood without the conversation before it."""
    if not earlier:
        return False
    content = terms(question)
    if _CARRIES_ON.search(question) and len(content) <= 4:
        return True
    return bool(_POINTS_BACK.search(question)) or not content


def searched_for(question: str, earlier: Sequence[Exchange]) -> str:
    """What to search for: a follow-up together with the questions that it hangs on, any other question as it is.

    Args:
        question: as it was typed.
        earlier: the conversation so far, oldest first.
    """
    chain = [question]
    for position in range(len(earlier), max(0, len(earlier) - _LONGEST_CHAIN), -1):
        if not needs_context(chain[0], earlier[:position]):
            break
        chain.insert(0, earlier[position - 1].question)
    return " ".join(chain)
