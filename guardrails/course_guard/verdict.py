"""What a rule notices in a text, and what the policy makes of it, in words that a reader can act on."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Action(StrEnum):
    """What follows from a finding."""

    OFF = "off"  # the rule does not run
    SHADOW = "shadow"  # nothing happens, but it is recorded
    WARN = "warn"  # the text goes on, mended where the rule can mend it, and the message is shown
    BLOCK = "block"  # the text goes no further, and the message is shown


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule noticed, before the policy decides what follows from it.

    Attributes:
        reason: one sentence in plain words.
        spans: half-open character ranges of the text that was looked at.
        score: 0 to 1, how sure the rule is; the policy's threshold is compared with it.
        replacement: the whole text with the fault mended (masked, cleaned); None where it cannot be mended.
        originals: what stands behind each placeholder of the replacement, for the one who wrote the text.
    """

    reason: str
    spans: tuple[tuple[int, int], ...] = ()
    score: float = 1.0
    replacement: str | None = None
    originals: tuple[tuple[str, str], ...] = ()


class Rule(Protocol):
    """Looks at one text."""

    @property
    def name(self) -> str:
        """As policy.toml calls it, such as "input.injection"."""

    def look(self, text: str) -> Finding | None:
        """What it notices, or None. The same text gives the same finding."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy decided about a finding.

    Attributes:
        allowed: whether the text may pass.
        rule: the rule that noticed something.
        reason: one sentence in plain words: the policy's message, or the rule's own reason.
        spans: half-open character ranges of the text that the rule objects to.
        action: what the policy says about this rule.
        score: 0 to 1, how sure the rule was.
    """

    allowed: bool
    rule: str
    reason: str
    spans: tuple[tuple[int, int], ...] = ()
    action: Action = Action.BLOCK
    score: float = 1.0
