"""Numbers in brackets that look like citations and point to no source."""

import re
from collections.abc import Iterator

from course_guard.verdict import Finding

# Code, or [7]; x[2] is an index, and [7](...) is a link. A longer list in brackets is more often a vector.
_CODE_OR_CITATION = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\s*(?<!\b\w)\[([1-9]\d?)\](?!\()", re.DOTALL)


class CitationsRule:
    """Citations of an answer are made by the verifier; a number that none of its sources has was invented."""

    name = "output.citations"
    wants = ("sources",)

    def look(self, text: str, sources: int | None = None) -> Finding | None:
        """The numbers above `sources`, the number of the answer's sources; without it nothing can be said."""
        if sources is None:
            return None
        invented = [found for found in _citations(text) if int(found[1]) > sources]
        if not invented:
            return None
        numbers = ", ".join(dict.fromkeys(f"[{found[1]}]" for found in invented))
        kept, position = [], 0
        for found in invented:
            kept.append(text[position : found.start()])
            position = found.end()
        replacement = "".join([*kept, text[position:]])
        spans = tuple((found.start(1) - 1, found.end()) for found in invented)
        return Finding(f"No source has the number {numbers}.", spans, replacement=replacement)


def _citations(text: str) -> Iterator[re.Match[str]]:
    return (found for found in _CODE_OR_CITATION.finditer(text) if found[1])
