"""Personal data that can be told by its form: masked on the way in, put back for the one who wrote it.

Names and postal addresses are not looked for: they need a recogniser of names, and a course is full of names of scientists.
Presidio's own recognisers would bring spaCy and torch: 6 to 11 s to import, 450 MB of memory (measured with 2.2.366).
"""

import re
from collections.abc import Iterable

from course_guard.rules.personal_forms import FORMS
from course_guard.verdict import Finding

_WORTH_LOOKING = re.compile(r"@|\d[\d .()/:-]{3,}\d|[0-9a-f]:", re.IGNORECASE)


class PersonalDataRule:
    """Notices e-mail addresses, telephone, card, bank and identity numbers, people's IP addresses, log-ins in URLs.

    Args:
        name: "input.personal" or "output.personal", as policy.toml calls it.
    """

    def __init__(self, name: str = "input.personal") -> None:
        self.name = name

    def look(self, text: str) -> Finding | None:
        if not _WORTH_LOOKING.search(text):
            return None
        found: list[tuple[str, int, int]] = []
        free = bytearray(b"\1") * len(text)
        for form in FORMS:
            for start, end in form.spans(text):
                if free.find(0, start, end) < 0:
                    free[start:end] = bytes(end - start)
                    found.append((form.label, start, end))
        if not found:
            return None
        replacement, originals = masked(text, found)
        words = {form.label: form.words for form in FORMS}
        what = ", ".join(dict.fromkeys(words[label] for label, _, _ in found))
        spans = tuple(sorted((start, end) for _, start, end in found))
        return Finding(f"The text contains personal data: {what}.", spans, 1.0, replacement, originals)


def masked(text: str, found: Iterable[tuple[str, int, int]]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """`text` with numbered placeholders, the same for the same value.

    Args:
        text: anything.
        found: (label, start, end) of what is masked; does not overlap.

    Returns:
        The masked text, and (placeholder, original) for each placeholder, none of which occurs in `text`.
    """
    names: dict[tuple[str, str], str] = {}
    last: dict[str, int] = {}
    parts, position = [], 0
    for label, start, end in sorted(found, key=lambda item: item[1]):
        value = text[start:end]
        if label not in last:
            last[label] = max((int(number) for number in re.findall(rf"\[{label}_(\d{{1,9}})]", text)), default=0)
        if (label, value) not in names:
            last[label] += 1
            names[label, value] = f"[{label}_{last[label]}]"
        parts += [text[position:start], names[label, value]]
        position = end
    return "".join([*parts, text[position:]]), tuple((name, value) for (_, value), name in names.items())


def restored(text: str, originals: Iterable[tuple[str, str]]) -> str:
    """`text` with what stands behind each placeholder put back.

    Args:
        text: a masked question, or an answer to it.
        originals: (placeholder, original), as in `Finding.originals`.
    """
    behind = dict(originals)
    if not behind:
        return text
    return re.sub("|".join(map(re.escape, behind)), lambda placeholder: behind[placeholder[0]], text)
