"""Passages that are put before the model as if the search had found them: noise, contradictions, instructions."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from evals.scorers.given import PLANTED
from knowledge.evidence import EvidencePlanner, Excerpt, Plan, TokenCounter
from knowledge.passage import Passage
from knowledge.retrieval import Retrieved

_TITLE = "Course notes"


class PlantingPlanner(EvidencePlanner):
    """Another planner's choice with further passages behind it, nearest to the question, where they weigh most.

    Args:
        planner: chooses as always.
        texts: of the passages.
        count_tokens: of the model that will read them.
    """

    def __init__(self, planner: EvidencePlanner, texts: Sequence[str], count_tokens: TokenCounter) -> None:
        self._planner = planner
        passages = [_passage(number, text, count_tokens) for number, text in enumerate(texts, start=1)]
        self._planted = tuple(Excerpt(p, ((0, len(p.text)),), p.tokens) for p in passages)

    def plan(self, question: str, found: Retrieved) -> Plan | None:
        plan = self._planner.plan(question, found)
        if plan is None:
            return None
        return replace(plan, extras=(*plan.extras, *self._planted), pruned=(*plan.pruned, *self._planted))


def _passage(number: int, text: str, count_tokens: TokenCounter) -> Passage:
    source = f"{PLANTED}{number}"
    id_ = sha256(f"{source}:{text}".encode()).hexdigest()[:20]
    return Passage(id_, source, source, source, _TITLE, (), None, None, 0, len(text), text, count_tokens(text))
