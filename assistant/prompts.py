"""Every word that the chat model is told. Change one, and PROMPT_VERSION with it: runs and history record it.

What changes least stands first (system, evidence, history, question), so that an engine which keeps computed state can keep it.
"""

import re
from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from assistant.events import Exchange
from course_guard.rules.planted import planted_spans
from knowledge.evidence import Excerpt, Plan
from knowledge.passage import Passage

PROMPT_VERSION = "2"
RULES_KEY, SECTION_KEY = f"rules:{PROMPT_VERSION}", f"section:{PROMPT_VERSION}:"  # with the section's id behind it

NOT_COVERED = "The course does not cover this."

_TASK = """You are a course assistant. Answer the student's question from the passages of the course below.
First state the answer in one full sentence that names it exactly as the passages do. \
Then add one or two sentences that explain it.
Keep to the words, names and numbers of the passages, and never use other knowledge."""
SYSTEM = f"""{_TASK}
If the passages do not contain the answer, reply only: {NOT_COVERED}"""

_LEFT_OUT = "[...]"
_PLACEHOLDER = re.compile(r"\s*\[[A-Z][A-Z_]*_\d+\]")

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


def section_prompt(section_id: str, passages: Sequence[Passage]) -> SystemMessage:
    """The rules and one whole section of the course: what every prompt about that section begins with.

    Args:
        section_id: labels the saved state.
        passages: the section's, in reading order.
    """
    rules = {"type": "text", "text": SYSTEM, "cache_key": RULES_KEY}
    return SystemMessage([rules, section_block(section_id, passages)])


def section_block(section_id: str, passages: Sequence[Passage]) -> dict[str, str]:
    """One section as a block whose computed state is worth keeping."""
    parts, path = [], ""
    for passage in passages:
        if (here := _path(passage)) != path:
            parts.append(f"{here}:")
            path = here
        parts.append(_fenced(passage.text))
    return {"type": "text", "text": "\n\n" + "\n".join(parts), "cache_key": f"{SECTION_KEY}{section_id}"}


def answer_prompt(
    evidence: Plan | None, cold: bool, earlier: Sequence[Exchange], question: str, joined: Sequence[dict[str, str]] = ()
) -> list[BaseMessage]:
    """Messages for an answer.

    Args:
        evidence: what the answer may draw on.
        cold: take its best sentences only, because the state of its section is not there yet.
        earlier: exchanges that the model should see, oldest first.
        question: as the student asked it.
        joined: blocks of further sections.

    Returns:
        A system message (rules and section, each with a cache key), the earlier exchanges as they were prompted, the question.
        Sentences from elsewhere stand with the question, so that the conversation before it stays as it was computed.
    """
    if evidence is None or cold:
        rules = {"type": "text", "text": SYSTEM, "cache_key": RULES_KEY}
        excerpts = [_excerpt(excerpt) for excerpt in (evidence.pruned if evidence else ())]
        system = SystemMessage([rules, {"type": "text", "text": "".join(f"\n\n{text}" for text in excerpts)}])
        asked = question
    else:
        system = section_prompt(evidence.section_id, evidence.section)
        system.content = [*system.content, *joined]
        asked = question if joined else asked_with(evidence, question)
    messages: list[BaseMessage] = [system]
    for exchange in earlier:
        messages += [HumanMessage(exchange.prompted or exchange.question), AIMessage(exchange.answer)]
    return [*messages, HumanMessage(asked)]


def passage_prompt(passage: Passage, question: str) -> list[BaseMessage]:
    """Messages for a second try from one passage, after a first prompt has brought nothing that may be shown.

    Without leave to decline: a small model that has it declines again, of three questions that the passage answers all three.
    """
    return [SystemMessage(f"{_TASK}\n\n{_path(passage)}:\n{_fenced(passage.text)}"), HumanMessage(question)]


def asked_with(evidence: Plan, question: str) -> str:
    """The question after what other sections say about it, which may be nothing."""
    excerpts = [_excerpt(excerpt) for excerpt in evidence.extras]
    return "\n\n".join([*excerpts, question])


def _excerpt(excerpt: Excerpt) -> str:
    return f"{_path(excerpt.passage)}:\n{_fenced(excerpt.text)}"


def _fenced(text: str) -> str:
    """Without the sentences that speak to the assistant: documents are data, and a small model obeys whatever it reads."""
    parts, position = [], 0
    for start, end in planted_spans(text):
        parts += [text[position:start], _LEFT_OUT]
        position = end
    return "".join([*parts, text[position:]])


def _path(passage: Passage) -> str:
    return " > ".join(dict.fromkeys((passage.title, *passage.heading)))


def without_placeholders(question: str) -> str:
    """The question without what masked words have left, such as [EMAIL_1]: no lesson is about them."""
    return _PLACEHOLDER.sub("", question)


def says_not_covered(sentence: str) -> bool:
    """Whether the model says, in the words of NOT_COVERED or its own, that the passages hold no answer."""
    return bool(_SAYS_NOT_COVERED.search(sentence))
