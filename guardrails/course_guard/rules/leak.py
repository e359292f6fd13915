"""Does an answer repeat its instructions?

Compared are letters only, so that spaces, dashes, line breaks and marks between them hide nothing, with every stretch of 16
letters of the instructions; also backwards, in ROT13, and with base64 and hexadecimal undone. Who has the instructions
translated or retold in other words is not noticed; they hold no secret but their wording.
"""

import codecs
import re
import unicodedata
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator, Sequence

from course_guard.verdict import Finding

_STRETCH = 16  # letters, about three words: any sentence shares a word or two with the instructions
_RUN = 40  # letters in a row: "the passages do not contain the answer" (32) is what the assistant may say
_SHARE, _SHARED = 0.8, 60  # of a text, and at least so many letters: the instructions with a word changed here and there
_CERTAIN = 80  # letters in a row: score 1
_ENCODED = re.compile(r"(?:[0-9a-fA-F]{2}[ :]?){24,20000}|[A-Za-z0-9+/_-]{24,40000}={0,2}")


class PromptLeakRule:
    """Notices the words of the instructions in an answer.

    Args:
        secret_texts: the instructions, such as the system prompt. Those shorter than 40 letters are not looked for.
    """

    name = "output.leak"

    def __init__(self, secret_texts: Sequence[str]) -> None:
        self._stretches: set[str] = set()
        for secret in secret_texts:
            letters = "".join(letter for letter, _ in _letters(secret))
            for form in (letters, letters[::-1], codecs.encode(letters, "rot13")):
                self._stretches.update(form[at : at + _STRETCH] for at in range(len(form) - _STRETCH + 1))

    def look(self, text: str) -> Finding | None:
        best = max((self._compared(form, spans) for form, spans in _forms(text)), default=(0.0, ()), key=lambda item: item[0])
        if best[0] < _RUN / _CERTAIN:
            return None
        return Finding("The text repeats the assistant's own instructions.", best[1], best[0])

    def _compared(self, text: str, whole: tuple[int, int] | None) -> tuple[float, tuple[tuple[int, int], ...]]:
        """The score of one reading of the text, and the spans it is for."""
        letters = _letters(text)
        joined = "".join(letter for letter, _ in letters)
        runs: list[tuple[int, int]] = []
        for at in range(len(joined) - _STRETCH + 1):
            if joined[at : at + _STRETCH] in self._stretches:
                if runs and at <= runs[-1][1]:
                    runs[-1] = (runs[-1][0], at + _STRETCH)
                else:
                    runs.append((at, at + _STRETCH))
        if not runs:
            return 0.0, ()
        longest, total = max(end - start for start, end in runs), sum(end - start for start, end in runs)
        if total >= max(_SHARED, _SHARE * len(joined)):
            longest = total
        spans = (whole,) if whole else tuple((letters[start][1], letters[end - 1][1] + 1) for start, end in runs)
        return min(longest / _CERTAIN, 1.0), spans


def _letters(text: str) -> list[tuple[str, int]]:
    """The letters and digits of `text`, in lower case without accents, each with its place."""
    if text.isascii():
        return [(character.lower(), at) for at, character in enumerate(text) if character.isalnum()]
    found = []
    for at, character in enumerate(text):
        found += [(part, at) for part in unicodedata.normalize("NFKD", character).casefold() if part.isalnum()]
    return found


def _forms(text: str) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """The text as it stands, and what is encoded in it, with the span of the code."""
    yield text, None
    for match in _ENCODED.finditer(text):
        for decoded in _decoded(match[0]):
            yield decoded, match.span()


def _decoded(code: str) -> Iterator[str]:
    digits = re.sub(r"[ :]", "", code)
    if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", digits):
        yield bytes.fromhex(digits).decode("utf-8", "replace")
    bare = code.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        plain = b64decode(bare + "=" * (-len(bare) % 4))
    except NotBase64:
        return
    yield plain.decode("utf-8", "replace")
