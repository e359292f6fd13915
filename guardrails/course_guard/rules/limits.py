"""How long a question may be."""

from course_guard.verdict import Finding


class LengthRule:
    """A question longer than is read.

    Args:
        max_chars: the longest that passes, at least 1.
    """

    name = "input.length"

    def __init__(self, max_chars: int) -> None:
        if max_chars < 1:
            raise ValueError(f"max_chars is {max_chars}, at least 1 is needed")
        self._max_chars = max_chars

    def look(self, text: str) -> Finding | None:
        """A finding whose span is what is too much; there is no replacement, since half a question is another question."""
        if len(text) <= self._max_chars:
            return None
        reason = f"The question has {len(text):,} characters; {self._max_chars:,} are read at most."
        return Finding(reason, ((self._max_chars, len(text)),))
