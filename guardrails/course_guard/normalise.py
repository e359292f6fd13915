r"""A text as its reader sees it: invisible characters, look-alike letters and encodings undone, each span mapped back.

A filter that reads "ig\u200bnore" or "aWdub3Jl" sees nothing, while the model behind it reads "ignore" (Boucher et al., Bad
Characters, 2022; Wei et al., Jailbroken, 2023). So rules look at each reading of a text: as it is seen, decoded where
something decodes to readable text, and what was hidden in characters without a shape. A reading is no finding: Greek
letters, formulas, other languages and hashes have readings too, and only a rule decides what is wrong with one.

Everything takes linear time. Decoding goes two layers deep and never lengthens a text; NFKC makes at most 18 characters of one.
"""

import re
import unicodedata
from functools import cache, lru_cache

from course_guard.encodings import WORD, Reading, decoded, readable, rewritten

_LAYERS = 2  # base64 of base64 is seen, deeper nesting is not: a small model does not decode that either
_MARKS = 3  # accents on one letter that some writing needs; zalgo text has more


def readings(text: str) -> tuple[Reading, ...]:
    """The ways to read a text: always as it is seen, then decoded and hidden ones if there are any."""
    written = Reading(text, "written", range(len(text)), range(1, len(text) + 1))
    seen = _named(_seen(written), "seen")
    deepest = seen
    for _ in range(_LAYERS):
        deeper = decoded(deepest)
        if deeper.text == deepest.text:
            break
        deepest = _seen(deeper)
    found = [seen]
    if deepest.text != seen.text:
        found.append(_named(deepest, "decoded"))
    if (hidden := _hidden(written)).text.strip():
        found.append(hidden)
    return tuple(found)


def seen(text: str) -> str:
    """The text as its reader sees it."""
    return readings(text)[0].text


# Invisible and look-alike characters


def _seen(reading: Reading) -> Reading:
    if reading.text.isascii() and reading.text.isprintable():
        return reading
    text, parts, starts, ends, i = reading.text, [], [], [], 0
    while i < len(text):
        j = i + 1
        while j < len(text) and not text[j].isascii() and unicodedata.category(text[j]) in ("Mn", "Me"):
            j += 1
        shown = _shown(text[i : min(j, i + _MARKS + 2)])
        parts.append(shown)
        starts += [reading.starts[i]] * len(shown)
        ends += [reading.ends[j - 1]] * len(shown)
        i = j
    plain = Reading("".join(parts), reading.kind, starts, ends)
    return plain if plain.text.isascii() else _without_lookalikes(plain)


@lru_cache(maxsize=4096)
def _shown(cluster: str) -> str:
    """A character and the marks on it as they look: compatibility forms folded, what has no shape removed."""
    base, kind = cluster[0], unicodedata.category(cluster[0])
    if base in "\n\t\r" or base == "\u2028" or base == "\u2029":
        return "\n" if base > "\r" else base
    if kind[0] == "C" or base in "\u115f\u1160\u3164\uffa0\u2800" or _is_selector(base) or kind == "Me":
        return ""
    marks = "".join(mark for mark in cluster[1:] if not _is_selector(mark))
    folded = unicodedata.normalize("NFKC", base + marks if len(marks) <= _MARKS else base)
    if letter := _LETTER_SYMBOL.fullmatch(unicodedata.name(folded[:1] or " ", "")):
        return letter[1]
    if _script(folded[:1]) in ("LATIN", "GREEK", "CYRILLIC", ""):
        folded = "".join(char for char in folded if not unicodedata.combining(char) and unicodedata.category(char) != "Me")
    return " " if folded.isspace() else folded


_LETTER_SYMBOL = re.compile(
    r"(?:NEGATIVE (?:SQUARED|CIRCLED) LATIN CAPITAL|REGIONAL INDICATOR SYMBOL|LATIN) LETTER (?:SMALL CAPITAL )?([A-Z])"
)


def _is_selector(char: str) -> bool:
    """A variation selector or the grapheme joiner."""
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef" or char == "\u034f"


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    """The first word of a letter's name: LATIN, GREEK, CJK...; "" for anything but letters."""
    return unicodedata.name(char, "").split(" ")[0] if char.isalpha() else ""


def _without_lookalikes(reading: Reading) -> Reading:
    """Letters of other scripts that look like Latin ones, in words that mix both, or in whole words of a Latin text."""
    letters = [char for char in reading.text if char.isalpha()]
    latin_text = 2 * sum(map(str.isascii, letters)) > len(letters)

    def mend(word: str) -> str | None:
        if word.isascii():
            return None
        mended = "".join(char if _script(char) == "LATIN" else _lookalikes().get(char, char) for char in word)
        mixed = any(_script(char) == "LATIN" for char in word)
        return mended if mixed or (latin_text and len(word) > 2 and mended.isascii()) else None

    return rewritten(reading, WORD, mend)


@cache
def _lookalikes() -> dict[str, str]:
    """Unicode's table of confusable characters (UTS 39), those with a Latin letter as counterpart."""
    from confusable_homoglyphs.confusables import confusables_data  # type: ignore[import-untyped]  # 1 MB of JSON

    table = {"\u03ba": "k", "\u043a": "k", "\u03c4": "t", "\u0442": "t", "\u03b5": "e", "\u043c": "m", "\u043d": "h"}
    for char, others in confusables_data.items():
        latin = [other["c"] for other in others if len(other["c"]) == 1 and other["c"].isascii() and other["c"].isalpha()]
        if latin and len(char) == 1 and not char.isascii():
            table[char] = latin[0]
    return table


def _hidden(written: Reading) -> Reading:
    """Text in tag characters (U+E0000...) or, byte by byte, in variation selectors: neither has a shape."""
    if written.text.isascii():
        return Reading("", "hidden", (), ())
    codes = [(i, ord(char)) for i, char in enumerate(written.text) if char > "\ufdff"]
    tags = [(i, chr(code - 0xE0000)) for i, code in codes if 0xE0020 <= code <= 0xE007E]
    bytes_ = [(i, code - 0xFE00 if code <= 0xFE0F else code - 0xE0100 + 16) for i, code in codes if _is_selector(chr(code))]
    payload = bytes(value for _, value in bytes_).decode("utf-8", "ignore")
    at = [i for i, _ in tags]
    text = "".join(char for _, char in tags)
    if bytes_ and readable(payload):
        text, at = f"{text} {payload}", [*at, *[bytes_[0][0]] * (len(payload) + 1)]
    last = bytes_[-1][0] + 1 if bytes_ else 0
    return Reading(text, "hidden", at, [i + 1 if n < len(tags) else last for n, i in enumerate(at)])


def _named(reading: Reading, kind: str) -> Reading:
    return Reading(reading.text, kind, reading.starts, reading.ends)
