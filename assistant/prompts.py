"""Every word that the chat model is told. Change one, and PROMPT_VERSION with it: runs and history record it.

What changes least stands first (system, evidence, history, question), so that an engine which keeps computed state can keep it.
"""

import re
from collections.abc import Sequence
from hashlib import sha256

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from assistant.events import Exchange
from knowledge.passage import Passage

PROMPT_VERSION = "1"

NOT_COVERED = "The course does not cover this."

SYSTEM = f"""You are a course assistant. Answer the student's question from the passages of the course below.
First state the answer in one full sentence that names it exactly as the passages do. \
Then add one or two sentences that explain it.
Keep to the words, names and numbers of the passages, and never use other knowledge.
If the passages do not contain the answer, reply only: {NOT_COVERED}"""

# Anchored, because lessons too say that a context window or an unlabelled text does not contain something.
_SAYS_NOT_COVERED = re.compile(
    r"^\W*(?:(?:i['’]m |i am )?(?:sorry|unfortunately|however|but)\W+){0,2}(?:the |this |these )?"
    r"(?:(?:provided|given|above) (?:context|text|material|passages?)|course(?: material)?|passages?)\b"
    r".{0,40}?\b(?:does|do|did)(?: not|n['’]t)\b"
    r".{0,30}\b(?:cover|contain|mention|provide|discuss|specify|include|state|say|explain|address)"
    r"|\b(?:not (?:covered|mentioned|discussed|provided|specified|stated|given|included)|no (?:information|mention)\b.{0,60})"
    r" (?:in|by) (?:the|this|these) (?:provided |given |above |course )?(?:course|passages?|material|context|text)\b",
    re.IGNORECASE,
)

CONDENSE = """Rewrite the student's last question so that it can be understood without the conversation.
Replace words such as "it", "they" or "that" with what they stand for. Do not answer it. Reply with the question only."""


def answer_prompt(passages: Sequence[Passage], earlier: Sequence[Exchange], question: str) -> list[BaseMessage]:
    """Messages for an answer from passages, best first.

    Args:
        passages: numbered from 1 in this order.
        earlier: exchanges that the model should see, oldest first.
        question: standalone.

    Returns:
        A system message of two blocks (rules, and evidence with a cache key), the earlier exchanges, the question.
    """
    evidence = "\n\n".join(
        f"Passage {number}, {' > '.join(dict.fromkeys((p.title, *p.heading)))}:\n{p.text}"
        for number, p in enumerate(passages, start=1)
    )
    key = sha256("".join(p.id for p in passages).encode()).hexdigest()[:20]
    messages: list[BaseMessage] = [
        SystemMessage(
            [
                {"type": "text", "text": SYSTEM, "cache_key": f"system:{PROMPT_VERSION}"},
                {"type": "text", "text": f"\n\n{evidence}", "cache_key": f"passages:{key}"},
            ]
        )
    ]
    for exchange in earlier:
        messages += [HumanMessage(exchange.question), AIMessage(exchange.answer)]
    return [*messages, HumanMessage(question)]


def condense_prompt(earlier: Sequence[Exchange], question: str) -> list[BaseMessage]:
    """Messages that ask for a standalone version of a follow-up."""
    conversation = "\n".join(f"Student: {e.question}\nAssistant: {e.answer}" for e in earlier)
    return [SystemMessage(CONDENSE), HumanMessage(f"{conversation}\nStudent: {question}\n\nThe last question, rewritten:")]


def says_not_covered(sentence: str) -> bool:
    """Whether the model says, in the words of NOT_COVERED or its own, that the passages hold no answer."""
    return bool(_SAYS_NOT_COVERED.search(sentence))
