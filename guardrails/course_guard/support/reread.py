"""The chat model reads a sentence again beside what it rests on: overlap lets pass what is in the source's own words.

A negated, swapped or half true claim in the words of its source overlaps as much as a true one. Asked whether the text says
all of it, a small chat model notices most of these; it is no better than overlap at what overlap is for, long answers in free
words, so it only ever takes away.
"""

import math
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from course_guard.grounding import Checker, Support, Verifier
from knowledge.passage import Citation, Passage
from knowledge.sentences import sentence_spans

THRESHOLD = -0.3
"""Logit of Yes against No from which on a sentence stands: of the true claims of the course's dev lessons 97% have more."""

_KEY = "reread:1"  # with the prompt below
_SYSTEM = (
    "You check statements against a text. A statement is right only if the text says all of it: every number, name, relation "
    "and negation must agree."
)
_EXAMPLES = (
    (
        "The reactor was shut down in 1998 after a leak. It had produced 40 megawatts for eleven years.",
        (("The reactor was closed in 1998.", True), ("The reactor gave 11 megawatts for forty years.", False)),
    ),
    (
        "Copper conducts heat better than iron. Iron, which is harder, rusts in moist air unless it is painted.",
        (
            ("Iron conducts heat better than copper.", False),
            ("Without paint, iron will rust where the air is damp.", True),
            ("Copper is painted so that it does not rust.", False),
        ),
    ),
    (
        "A stack returns the newest element first, and a queue returns the oldest first.",
        (
            ("What was put on a stack last is taken off first.", True),
            ("A stack does not return the newest element first.", False),
            ("A queue returns the oldest element first and sorts the others.", False),
        ),
    ),
)
_REACH = 1  # sentences before and after the cited one that are read with it
_WORD = re.compile(r"\w+")
_LEAST = -20.0  # logarithm of a probability that is not among those that were told


class RereadVerifier:
    """Another verifier, and of what that supports, what the chat model supports too.

    Args:
        first: decides, and finds the citations.
        model: a chat model; one that tells `top_logprobs` in OpenAI's form is asked how sure it is, others yes or no.
        threshold: logit of Yes against No from which on a sentence stands.
    """

    def __init__(self, first: Verifier, model: BaseChatModel, threshold: float = THRESHOLD) -> None:
        self._first, self._model, self._threshold = first, model, threshold

    def against(self, passages: Sequence[Passage], question: str) -> "RereadChecker":
        """As the first verifier prepares it."""
        return RereadChecker(self._first.against(passages, question), self)

    def stands(self, sentence: str, citations: Sequence[Citation]) -> bool:
        """Whether the text around the citations says all of the sentence; a copy of it does without being asked about."""
        text = " ".join(dict.fromkeys(map(_around, citations)))
        return _words(sentence) in _words(text) or self.margin(text, sentence) >= self._threshold

    def margin(self, text: str, claim: str) -> float:
        """Logit of Yes against No to whether the text says all of the claim."""
        messages = [*self._instructions, HumanMessage(_asked(text, claim))]
        reply: Any = self._model.invoke(messages, max_tokens=1, logprobs=True, top_logprobs=20)
        told = (reply.response_metadata.get("logprobs") or {}).get("content") or []
        if not told:
            return 1.0 if str(reply.content).strip().lower().startswith("yes") else -1.0
        return _total(told[0]["top_logprobs"], "yes") - _total(told[0]["top_logprobs"], "no")

    @cached_property
    def _instructions(self) -> list[BaseMessage]:
        """The rules and the examples, whose computed state is worth keeping."""
        messages: list[BaseMessage] = [SystemMessage(_SYSTEM)]
        for text, claims in _EXAMPLES:
            for claim, right in claims:
                messages += [HumanMessage(_asked(text, claim)), AIMessage("Yes" if right else "No")]
        last = messages[-1]
        return [*messages[:-1], AIMessage([{"type": "text", "text": last.text, "cache_key": _KEY}])]


class RereadChecker:
    """One turn's evidence."""

    def __init__(self, first: Checker, verifier: RereadVerifier) -> None:
        self._first, self._verifier = first, verifier

    def check(self, sentence: str) -> Support:
        """Support by the first verifier, unless the chat model denies it."""
        found = self._first.check(sentence)
        if not found.citations or self._verifier.stands(sentence, found.citations):
            return found
        return Support(found.probability, (), "Its words are the source's, but read again, the source does not say all of it.")


def _asked(text: str, claim: str) -> str:
    return f"Text: {text}\n\nStatement: {claim}\n\nDoes the text say all of the statement? Answer Yes or No."


def _around(citation: Citation) -> str:
    """The cited sentence with its neighbours in the passage."""
    text, first = citation.passage.text, citation.passage.start
    spans = sentence_spans(text)
    cited = [n for n, (a, b) in enumerate(spans) if a < citation.end - first and citation.start - first < b]
    if not cited:
        return citation.quote
    near = spans[max(0, cited[0] - _REACH) : cited[-1] + 1 + _REACH]
    return text[near[0][0] : near[-1][1]]


def _words(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.lower()))} "


def _total(told: Sequence[dict[str, Any]], answer: str) -> float:
    """Logarithm of the probability of an answer, however it is written."""
    chances = [math.exp(one["logprob"]) for one in told if one["token"].strip().lower() == answer]
    return math.log(sum(chances)) if sum(chances) > 0 else _LEAST
