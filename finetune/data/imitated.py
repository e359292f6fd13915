"""Which rows supervised training imitates: all that answer, and few that decline; preference pairs need as many of both."""

from collections import Counter
from collections.abc import Sequence

from finetune.data.grounded import Made

# For each answered question of a style, such as those that begin with "who"; with twice as many a 0.5B declined a quarter of
# what it should answer, and with these it was no worse than its base (docs/log.md).
_DECLINED_FOR_EACH = 0.25


def imitated(made: Sequence[Made]) -> list[Made]:
    """The rows of supervised training, in their order."""
    answered = Counter(one.asked.how for one in made if one.row.kind != "removed")
    left = Counter({style: int(_DECLINED_FOR_EACH * number) for style, number in answered.items()})
    kept = []
    for one in made:
        if one.row.kind == "removed":
            left[one.asked.how] -= 1
            if left[one.asked.how] < 0:
                continue
        kept.append(one)
    return kept
