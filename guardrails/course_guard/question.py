"""A question on its way in: what the rules notice in it, what the policy makes of that, and what of it goes on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix
from typing import Any

from course_guard.library import RuleGuard, make_rule
from course_guard.policy import Policy
from course_guard.rules.limits import RateLimit
from course_guard.rules.personal import restored
from course_guard.verdict import Action, Finding, Rule, Verdict
from knowledge.embedding import Embedder

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Screening:
    """What came of a text.

    Attributes:
        text: as it may go on and be kept: masked and mended, also where it is blocked.
        verdicts: in the order of the rules, with spans of the text that was given; those in shadow allow everything.
        originals: what stands behind each placeholder of `text`, for the one who wrote it; never to be kept.
    """

    text: str
    verdicts: tuple[Verdict, ...] = ()
    originals: tuple[tuple[str, str], ...] = ()

    @property
    def blocked(self) -> Verdict | None:
        """The verdict that stops the text, if one does."""
        return next((verdict for verdict in self.verdicts if not verdict.allowed), None)

    @property
    def warnings(self) -> tuple[Verdict, ...]:
        """The verdicts whose messages are to be shown although the text passes, or beside what blocks it."""
        return tuple(verdict for verdict in self.verdicts if verdict.action is Action.WARN)

    def restored(self, text: str) -> str:
        """A text that was made from the masked one, with what its writer had written in place of the placeholders."""
        return restored(text, self.originals)


class Screen:
    """Rules and what follows from their findings. Rules that are off do not run; each sees what the ones before it left.

    All rules run even if one blocks the text, because what is kept of a blocked text must be masked too.
    """

    def __init__(self, rules: Sequence[Rule], policy: Policy) -> None:
        self._policy = policy
        tables = [(rule, policy.of(rule.name)) for rule in rules]
        active = [(rule, table) for rule, table in tables if table.action is not Action.OFF]
        self._guard = RuleGuard([(rule, table.threshold, table.action is not Action.SHADOW) for rule, table in active])

    def _screen(self, text: str, about: Mapping[str, Any] | None = None) -> Screening:
        left, noticed = self._guard.run(text, about)
        verdicts, originals, mendings = [], dict[str, str](), list[tuple[str, str]]()
        for rule, finding, seen in noticed:
            verdict = self._policy.judge(rule, finding)
            if verdict is None:
                continue
            verdicts.append(replace(verdict, spans=_before(mendings, finding.spans)))
            if verdict.action is not Action.SHADOW and finding.replacement is not None:
                mendings.append((seen, finding.replacement))
                originals.update(finding.originals)
        return Screening(left, tuple(verdicts), tuple(originals.items()))


class QuestionScreen(Screen):
    """Looks at questions.

    Args:
        rules: in their order; those that mask come early, or a pasted password is taken for an order to the assistant.
        policy: what follows from their findings.
    """

    def screen(self, text: str) -> Screening:
        """What of the question may go on, and what there is to say about it."""
        return self._screen(text)


def question_screen(embedder: Embedder, policy: Policy) -> QuestionScreen:
    """The screen with all rules for questions that the policy does not switch off.

    Args:
        embedder: of the course, for the classifier of injections.
        policy: the one in force.
    """
    makers: dict[str, Callable[[], Rule]] = {
        "input.length": lambda: _Shortened(policy.input.length.max_chars),
        "input.injection": lambda: make_rule("input.injection", embedder=embedder),
    }
    names = [name for name, table in policy.rules().items() if name.startswith("input.") and table.action is not Action.OFF]
    names = [name for name in names if name != RateLimit.name]  # it counts questions and reads none; see assistant/guards.py
    return QuestionScreen([makers.get(name, lambda name=name: make_rule(name))() for name in names], policy)


class _Shortened:
    """The rule of length with what may be read as its replacement, so that no rule and no file gets a book."""

    name = "input.length"

    def __init__(self, max_chars: int) -> None:
        self._rule = make_rule(self.name, max_chars=max_chars)

    def look(self, text: str) -> Finding | None:
        finding = self._rule.look(text)
        return finding and replace(finding, replacement=text[: finding.spans[0][0]])


def _before(mendings: Sequence[tuple[str, str]], spans: Spans) -> Spans:
    """Where spans of a mended text lay before it was mended: exactly, or the whole stretch in which something was."""
    for old, new in reversed(mendings):
        first = len(commonprefix((old, new)))
        same_end = len(commonprefix((old[first:][::-1], new[first:][::-1])))
        last, shift = len(new) - same_end, len(old) - len(new)
        spans = tuple(
            (
                start if start <= first else first if start < last else start + shift,
                end if end <= first else last + shift if end < last else end + shift,
            )
            for start, end in spans
        )
    return spans
