"""The guards of one assistant: the teacher's policy applied to questions and to sentences of answers."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from assistant.events import Turn, TurnEvent
from assistant.prompts import SYSTEM
from course_guard.answer import AnswerScreen, answer_screen
from course_guard.policy import Policy, load_policy
from course_guard.question import QuestionScreen, question_screen
from course_guard.rules.limits import RateLimit
from course_guard.rules.planted import PlantedInstructionRule
from course_guard.verdict import Action
from knowledge.embedding import Embedder
from knowledge.ingest import Inspect


@dataclass(frozen=True, slots=True)
class Guards:
    """What looks at a question before anything else does, and at a sentence before it is shown."""

    question: QuestionScreen
    answer: AnswerScreen


def inspector(policy_file: Path) -> Inspect | None:
    """What looks at the files that somebody adds, for sentences that speak to the assistant; None if the policy wants no look.

    Raises:
        CourseError: the policy cannot be read.
    """
    table = load_policy(policy_file).document.planted
    if table.action is Action.OFF:
        return None
    rule = PlantedInstructionRule()

    def inspect(text: str) -> tuple[tuple[int, int], ...]:
        finding = rule.look(text)
        return finding.spans if finding and finding.score >= table.threshold else ()

    return inspect


def make_guards(policy_file: Path, embedder: Embedder) -> Guards:
    """Guards under the shipped policy, overlaid by the teacher's.

    Args:
        policy_file: the teacher's; need not exist.
        embedder: for the question.

    Raises:
        CourseError: the policy cannot be read; the text names what is wrong in it.
    """
    policy = load_policy(policy_file)
    return Guards(question_screen(embedder, policy), answer_screen(policy, [SYSTEM]))


async def admitted(
    stream: Callable[[Turn], AsyncIterator[TurnEvent]], turn: Turn, session: str, policy_file: Path
) -> AsyncIterator[TurnEvent]:
    """The events of a turn that somebody asks on the page, where the policy limits how many may.

    Args:
        stream: of the chain, which refuses what is too much, after masking it, and keeps it with the reason.
        turn: the question.
        session: whose questions count together.
        policy_file: the teacher's; need not exist. It is read once in a process.

    Raises:
        CourseError: the policy cannot be read.
    """
    policy, limit = _rate_limit(policy_file)
    with limit.question(session, refuse=policy.input.rate.action is Action.BLOCK) as finding:
        if finding and (verdict := policy.judge(limit.name, finding)):
            turn = replace(turn, noticed=(verdict,))
        async for event in stream(turn):
            yield event


@cache
def _rate_limit(policy_file: Path) -> tuple[Policy, RateLimit]:
    policy = load_policy(policy_file)
    return policy, RateLimit(policy.input.rate.per_minute, policy.input.rate.waiting)
