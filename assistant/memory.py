"""What of the conversation a question needs: real follow-ups are made standalone, everything else is left alone.

Rewriting every question drifts from what was asked, so a rewrite happens only where the question points back, and it is
used only if it keeps at least two thirds of the question's own words.
"""

import re
import threading
from collections.abc import Sequence

from langchain_core.language_models.chat_models import BaseChatModel

from assistant.events import Exchange
from assistant.prompts import condense_prompt
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
_LONGEST_REWRITE = 60  # tokens
_LONGEST_QUESTION = 300  # characters


def needs_context(question: str, earlier: Sequence[Exchange]) -> bool:
    """Whether the question cannot be understood without the conversation before it."""
    if not earlier:
        return False
    content = terms(question)
    if _CARRIES_ON.search(question) and len(content) <= 4:
        return True
    return bool(_POINTS_BACK.search(question)) or not content


def standalone(
    question: str, earlier: Sequence[Exchange], model: BaseChatModel, stop_event: threading.Event | None = None
) -> str:
    """The question as it can be searched for and answered alone.

    Args:
        question: as it was typed.
        earlier: the conversation so far, oldest first; the last two exchanges are enough.
        model: rewrites follow-ups; not called otherwise.
        stop_event: ends the rewriting early.
    """
    if not needs_context(question, earlier):
        return question
    reply = model.invoke(
        condense_prompt(earlier[-2:], question), max_tokens=_LONGEST_REWRITE, stop=["\n"], stop_event=stop_event
    )
    rewritten = str(reply.content).strip().strip('"').removeprefix("Student:").strip()
    asked, got = set(terms(question)), set(terms(rewritten))
    if got and len(asked - got) <= len(asked) / 3 and len(rewritten) < _LONGEST_QUESTION:
        return rewritten
    return f"{earlier[-1].question} {question}"  # never worse for the search than the question alone
