"""Sentences made from sentences: rewritten so that they still say the same, or changed so that they no longer do.

Both kinds are made by the same means and then reworded alike, so that the wording of a claim does not tell its label.
"""

import random
import re
from collections.abc import Callable, Sequence
from functools import partial

from course_guard.support.opposites import OPPOSITES

_NUMBER = re.compile(r"(?<![\w.,])\d[\d,]*(?:\.\d+)?(?![\w,]*\d)")
_NAME = re.compile(r"(?<=[a-z,;:] )(?:[A-Z][\w-]*[a-z\d]\w*)(?: [A-Z][\w-]+)*")
_WORD = re.compile(r"[a-z]{5,}")
_AUXILIARY = re.compile(r"\b(is|are|was|were|can|will|has|have|had|should|could|does|do|did|may|must)\b(?! not)")
_SOFT = {
    "some": "all", "many": "all", "most": "all", "several": "all", "often": "always", "usually": "always",
    "sometimes": "always", "typically": "always", "generally": "always", "may": "must", "might": "must", "can": "must",
    "mostly": "only", "mainly": "only", "partly": "entirely", "about": "exactly", "approximately": "exactly",
    "nearly": "exactly", "rarely": "never", "few": "no",
}  # fmt: skip
_SAME = """
about approximately|use employ|uses employs|used employed|shows demonstrates|show demonstrate|helps assists|many numerous
important significant|big large|begin start|begins starts|also additionally|however nevertheless|therefore consequently
because since|method approach|methods approaches|fast quick|quickly rapidly|usually normally|often frequently|get obtain
needs requires|need require|gives provides|give provide|allows enables|allow enable|compute calculate|computes calculates
computed calculated|returns yields|whole entire|chosen selected|choose select|buy purchase|people individuals
build construct|built constructed|kind type|kinds types|each every|find discover|found discovered|make create
change alter|changes alters|try attempt|end finish|ends finishes|enough sufficient|happens occurs|happen occur
similar alike|contains includes|main principal|parts pieces|part piece
larger bigger|smaller lesser|result outcome|results outcomes|error mistake|errors mistakes|seen observed
decide determine|decides determines|several various|job task
nation country|money funds|company firm|study investigation|obtained acquired|demonstrated showed|reported described
"""
_PAIRS = [tuple(pair.split()) for pair in re.split(r"[|\n]", _SAME.strip())]
_SYNONYMS = dict(_PAIRS) | {b: a for a, b in _PAIRS}
_DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_LEADS = (
    "According to the text, ", "In short, ", "Note that ", "As the passage says, ", "In other words, ", "In fact, ",
    "It is stated that ", "Yes, ", "Based on the passages, ", "The text explains that ", "Here, ",
)  # fmt: skip
_CONNECTIVE = re.compile(
    r"^(?:However|Therefore|Thus|Hence|Moreover|Furthermore|In addition|For example|For instance|Finally|And|But|So|Indeed|"
    r"In particular|Also|As a result|In contrast|Similarly|Additionally|Consequently|Note that),? "
)
_BRACKETS = re.compile(r"\s*\([^()]*\)")
_TAIL = re.compile(r",? (?:because|which|since|as well as|such as|so that|although|whereas|while) [^,]{12,}$")
_HEAD = re.compile(r"^(?:In|For|With|During|After|Before|By|At|From) [^,]{3,50}, (?=\w)")
_BECAUSE = re.compile(r"^(?P<main>[A-Z][^,;]{10,}?),? (?P<link>because|when|if|although|while) (?P<clause>[^,;]{12,}?)\.$")
_PASSIVE = re.compile(
    r"^(?P<what>[A-Z][\w' -]{3,60}?) (?:was|were) (?P<verb>\w+ed) by (?P<who>[\w' -]{3,60}?)(?P<year> in \d{4})?\.$"
)

Change = Callable[[str, random.Random], str | None]


def rewritten(sentence: str, draw: random.Random, steps: int) -> str:
    """The sentence with up to `steps` changes that leave it true wherever it was true."""
    chosen = draw.sample(KEEPING, len(KEEPING))
    for change in chosen:
        if steps <= 0:
            break
        if (found := change(sentence, draw)) and len(found.split()) >= 4 and found != sentence:
            sentence, steps = found, steps - 1
    return sentence


def changed(sentence: str, source: str, pool: Sequence[str], draw: random.Random) -> tuple[str, str] | None:
    """The sentence with one change that its source no longer supports.

    Args:
        sentence: supported by `source`.
        source: the text that it will be checked against.
        pool: other sentences of the document; names and words to put in are taken from them.
        draw: where chance comes from.

    Returns:
        The changed sentence and the kind of change; None where nothing could be changed.
    """
    kinds: list[tuple[str, Change]] = [
        ("number", partial(_other_number, source=source, pool=pool)),
        ("name", partial(_other_name, source=source, pool=pool)),
        ("word", partial(_other_word, source=source, pool=pool)),
        ("negated", _negated),
        ("opposite", partial(_opposite, source=source)),
        ("absolute", _absolute),
        ("swapped", _swapped),
    ]
    weights = (5, 4, 3, 3, 5, 1, 4)
    order = sorted(range(len(kinds)), key=lambda n: draw.random() ** (1 / weights[n]), reverse=True)
    for n in order:
        kind, change = kinds[n]
        if (found := change(sentence, draw)) and found.lower() != sentence.lower():
            return found, kind
    return None


def introduced(sentence: str, draw: random.Random) -> str:
    """The sentence as assistants like to begin it, once in eight times."""
    return draw.choice(_LEADS) + lowered(sentence) if draw.random() < 0.125 else sentence


def extended(sentence: str, clause: str, draw: random.Random) -> str:
    """Both as one sentence."""
    link = draw.choice((", and ", "; ", ", while ", ", and ", ". "))
    second = clause if link == ". " else lowered(clause)
    return f"{sentence.rstrip('.!')}{link}{second}"


def lowered(sentence: str) -> str:
    """The sentence as it goes on after a comma: its first letter small, unless it begins with a name or a symbol."""
    first = sentence.split(" ", 1)[0]
    return sentence if any(letter.isupper() or letter.isdigit() for letter in first[1:]) else sentence[0].lower() + sentence[1:]


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _synonym(sentence: str, draw: random.Random) -> str | None:
    places = [m for m in re.finditer(r"[a-z]+", sentence) if m[0] in _SYNONYMS]
    for found in sorted(draw.sample(places, min(len(places), 2)), key=lambda m: -m.start()):
        sentence = sentence[: found.start()] + _SYNONYMS[found[0]] + sentence[found.end() :]
    return sentence if places else None


def _spelled(sentence: str, draw: random.Random) -> str | None:
    """Numbers written another way."""

    def other(found: re.Match[str]) -> str:
        digits = found[0]
        if digits.isdigit() and int(digits) <= 12 and not sentence[found.end() :].startswith(("%", ".", "-")):
            return _DIGIT_WORDS[int(digits)]
        return digits.replace(",", "") if "," in digits else digits

    found = _NUMBER.sub(other, sentence)
    return found.replace(" per cent", "%").replace(" percent", "%") if draw.random() < 0.8 else found.replace("%", " per cent")


def _reordered(sentence: str, _: random.Random) -> str | None:
    if not (found := _BECAUSE.match(sentence)):
        return None
    return f"{_capitalised(found['link'])} {found['clause']}, {lowered(found['main'])}."


def _active(sentence: str, _: random.Random) -> str | None:
    if not (found := _PASSIVE.match(sentence)):
        return None
    return f"{_capitalised(found['who'])} {found['verb']} {lowered(found['what'])}{found['year'] or ''}."


def _without(pattern: re.Pattern[str]) -> Change:
    def change(sentence: str, _: random.Random) -> str | None:
        found = pattern.sub("", sentence.rstrip("."), count=1)
        return f"{_capitalised(found).rstrip(',;')}." if found != sentence.rstrip(".") else None

    return change


KEEPING: tuple[Change, ...] = (
    _synonym, _synonym, _spelled, _reordered, _active, _without(_CONNECTIVE), _without(_BRACKETS), _without(_TAIL),
    _without(_HEAD),
)  # fmt: skip


def _other_number(sentence: str, draw: random.Random, source: str, pool: Sequence[str]) -> str | None:
    places = list(_NUMBER.finditer(sentence))
    if not places:
        return None
    found = draw.choice(places)
    there = {m[0] for m in _NUMBER.finditer(source)}
    known = [m[0] for text in pool for m in _NUMBER.finditer(text) if len(m[0]) == len(found[0])]
    candidates = [draw.choice(known)] if known and draw.random() < 0.4 else []
    candidates += [_altered(found[0], draw) for _ in range(4)]
    new = next((number for number in candidates if number not in there), None)
    return sentence[: found.start()] + new + sentence[found.end() :] if new else None


def _altered(number: str, draw: random.Random) -> str:
    """A number of about the same size: one digit other, or two digits of it swapped, as people err."""
    digits = [place for place, letter in enumerate(number) if letter.isdigit()]
    letters = list(number)
    if len(digits) > 1 and draw.random() < 0.3:
        a, b = draw.sample(digits, 2)
        letters[a], letters[b] = letters[b], letters[a]
    else:
        place = draw.choice(digits)
        letters[place] = draw.choice([d for d in "123456789" if d != letters[place]])
    return "".join(letters)


def _other_name(sentence: str, draw: random.Random, source: str, pool: Sequence[str]) -> str | None:
    places = list(_NAME.finditer(sentence))
    known = [m[0] for text in pool for m in _NAME.finditer(text) if m[0] not in source]
    if not places or not known:
        return None
    found = draw.choice(places)
    alike = [name for name in known if len(name.split()) == len(found[0].split())] or known
    return sentence[: found.start()] + draw.choice(alike) + sentence[found.end() :]


def _other_word(sentence: str, draw: random.Random, source: str, pool: Sequence[str]) -> str | None:
    """A content word gives way to one with the same ending from elsewhere in the document."""
    places = [m for m in _WORD.finditer(sentence) if m[0] not in _SYNONYMS]
    lower = source.lower()
    for found in draw.sample(places, len(places)):
        ending = found[0][-3:]
        alike: list[str] = [w for text in pool for w in _WORD.findall(text) if w.endswith(ending) and w[:4] not in lower]
        if alike:
            return sentence[: found.start()] + draw.choice(alike) + sentence[found.end() :]
    return None


def _negated(sentence: str, _: random.Random) -> str | None:
    if re.search(r"\bnot\b|\bcannot\b", sentence):
        return re.sub(r"\bcannot\b", "can", re.sub(r" not\b", "", sentence, count=1), count=1)
    found = _AUXILIARY.search(sentence)
    return f"{sentence[: found.end()]} not{sentence[found.end() :]}" if found else None


def _opposite(sentence: str, draw: random.Random, source: str) -> str | None:
    places = [m for m in re.finditer(r"[a-z]+", sentence) if m[0] in OPPOSITES]
    for found in draw.sample(places, len(places)):
        others = [word for word in sorted(OPPOSITES[found[0]]) if not re.search(rf"\b{word}\b", source)]
        if others:
            return sentence[: found.start()] + draw.choice(others) + sentence[found.end() :]
    return None


def _absolute(sentence: str, draw: random.Random) -> str | None:
    places = [m for m in re.finditer(r"[a-z]+", sentence) if m[0] in _SOFT]
    if not places:
        return None
    found = draw.choice(places)
    return sentence[: found.start()] + _SOFT[found[0]] + sentence[found.end() :]


def _swapped(sentence: str, draw: random.Random) -> str | None:
    """Two numbers, two names, or two words with the same ending change places."""
    for pattern in draw.sample((_NUMBER, _NAME, _WORD), 3):
        places = list(pattern.finditer(sentence))
        both = [
            (a, b) for a in places for b in places
            if a.start() < b.start() and a[0] != b[0]
            and (pattern is not _WORD or (a[0][-2:] == b[0][-2:] and b.start() - a.end() > 5))
            and not re.fullmatch(r",? (?:and|or) ", sentence[a.end() : b.start()])
        ]  # fmt: skip
        if both:
            a, b = draw.choice(both)
            return sentence[: a.start()] + b[0] + sentence[a.end() : b.start()] + a[0] + sentence[b.end() :]
    return None
