"""The chat model reads a sentence again beside what it rests on: overlap lets pass what is in the source's own words.

A negated, swapped or half true claim in the words of its source overlaps as much as a true one, and a true one in free words
less. Asked whether the text says all of it, a small chat model tells them apart far better. It is no better than overlap at
what that is for, sentences that have nothing to do with the text, so both have a say.
"""

import math
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from course_guard.grounding import Checker, OverlapVerifier, StoredSentences, Support
from course_guard.settings import GroundingSettings
from knowledge.embedding import Embedder
from knowledge.passage import Citation, Passage
from knowledge.sentences import sentence_spans

DOUBTFUL = 0.5
"""Overlap below which a sentence is not asked about: it is not supported."""
SURE = 0.62  # OverlapVerifier's own threshold
STANDS, SAVES = -0.3, 0.6
"""Logit of Yes against No that a sentence needs whose overlap is enough, and one whose overlap is doubtful.

Chosen on the claims about the course's dev lessons (281): 63% of the true and 29% of the false ones pass the first, where
overlap by itself passes 67% and 66%; the second brings the true ones to 77% and the false ones to no more.
"""

DENIED = "Read again, its source does not say all of it."
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
    """Overlap finds what a sentence rests on, and the chat model says whether it does.

    Args:
        embedder, settings, stored: as in OverlapVerifier; a threshold in the settings is the overlap that counts as enough.
        model: a chat model; one that tells `top_logprobs` in OpenAI's form is asked how sure it is, others yes or no.
    """

    def __init__(
        self,
        embedder: Embedder,
        model: BaseChatModel,
        settings: GroundingSettings | None = None,
        stored: StoredSentences | None = None,
    ) -> None:
        settings = settings or GroundingSettings()
        self._enough = SURE if settings.threshold is None else settings.threshold
        lenient = settings.model_copy(update={"threshold": min(DOUBTFUL, self._enough)})
        self._overlap, self._model = OverlapVerifier(embedder, lenient, stored), model

    def against(self, passages: Sequence[Passage], question: str) -> "RereadChecker":
        """As overlap prepares it."""
        return RereadChecker(self._overlap.against(passages, question), self)

    def judge(self, sentence: str, found: Support) -> Support:
        """What becomes of a sentence that overlap has found something for; a copy of it does without being asked about."""
        text = " ".join(dict.fromkeys(map(_around, found.citations)))
        if _words(sentence) in _words(text):
            return found
        needed = STANDS if found.probability >= self._enough else SAVES
        margin = self.margin(text, sentence)
        probability = 1 / (1 + math.exp(needed - margin))
        if margin >= needed:
            return Support(probability, found.citations)
        return Support(probability, (), DENIED)

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

    def __init__(self, overlap: Checker, verifier: RereadVerifier) -> None:
        self._overlap, self._verifier = overlap, verifier

    def check(self, sentence: str) -> Support:
        """Support by overlap and by the chat model."""
        found = self._overlap.check(sentence)
        return self._verifier.judge(sentence, found) if found.citations else found


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
