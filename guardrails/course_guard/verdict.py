"""The outcome of a check, in words that a reader can act on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule decided about a text.

    Attributes:
        allowed: whether the text may pass.
        rule: the rule that decided.
        reason: one sentence in plain words.
        spans: half-open character ranges of the text that the rule objects to.
    """

    allowed: bool
    rule: str
    reason: str
    spans: tuple[tuple[int, int], ...] = ()
