"""What a sentence says exactly: its numbers, names, negations, absolute words and directions, set against a source.

An encoder of this size reads gist well and detail badly: "1958" for "1985", "rises" for "falls", "never" for "often". These
checks read nothing but detail. Each is a count or a share, 0 where all agrees; a calibrator weighs them (cascade.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from course_guard.support.opposites import OPPOSITES
from knowledge.lexical import terms

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
    " nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES = {word: float(n) for n, word in enumerate(_UNITS.split())}
_VALUES |= {word: float(n * 10) for n, word in enumerate(_TENS.split(), start=2)}
_VALUES |= {
    "half": 0.5, "twice": 2, "double": 2, "doubles": 2, "doubling": 2, "thrice": 3, "triple": 3, "third": 3, "thirds": 3,
    "quarter": 4, "quarters": 4, "dozen": 12, "first": 1, "second": 2, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "tenfold": 10, "hundred": 100, "both": 2,
}  # fmt: skip
_UNSURE = frozenset(
    {"zero", "one", "first", "second", "half", "both", "third", "double", "quarter"}
)  # seldom claims in themselves
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "hundred": 1e2}
_LETTERS = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9}  # only where they touch the number: "7B", not "5 m"
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉−", "01234567890123456789-")
_TOKEN = re.compile(
    r"(?P<number>(?<![\w.])\d{1,3}(?:[,\u00a0\u2009\u202f]\d{3})+(?:\.\d+)?(?!\d)|(?<![\w.])\.?\d+(?:\.\d+)*(?:[kKMB](?![\w-]))?)(?:st|nd|rd|th)?"
    r"|(?P<word>[^\W_]+(?:['’_-][^\W_]+)*)|(?P<end>[.!?]+(?=\s|$))"
)
_NEGATIONS = frozenset({
    "not", "no", "never", "cannot", "neither", "nor", "none", "nothing", "nobody", "without", "unable", "fails", "fail",
    "lacks", "lack", "hardly", "undefined", "nowhere", "instead",
})  # fmt: skip
_FUNCTION_WORDS = (
    "a an the this that these those it in on at by for from to of with if when while as and or but so every each any all no its"
    " his her their our there here both many most some such"
)
_OPENERS = frozenset(_FUNCTION_WORDS.split())
_REACH = 3  # content words after a negation that it denies
_ABSOLUTES = frozenset({
    "all", "always", "every", "everywhere", "everyone", "never", "none", "only", "exactly", "guaranteed", "guarantees",
    "guarantee", "must", "entirely", "completely", "solely", "exclusively", "certain", "certainly", "any", "identical",
    "cannot", "impossible", "necessarily", "proves", "best", "ever", "undefined",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What a text says exactly.

    Attributes:
        numbers: each value with the stemmed content words around it; values that are seldom claims ("one", "first") are apart.
        loose: values of such words, which a source may have but a claim need not.
        names: capitalised words, symbols and identifiers, in lower case.
        words: all words, in lower case.
        order: stemmed content words as they come.
        denied: stemmed content words that follow a negating word.
        absolutes: words such as "always" and "only".
    """

    numbers: tuple[tuple[float, frozenset[str]], ...]
    loose: frozenset[float]
    names: frozenset[str]
    words: frozenset[str]
    order: tuple[str, ...]
    denied: frozenset[str]
    absolutes: frozenset[str]

    @property
    def values(self) -> frozenset[float]:
        """Every value, however it is written: a per cent also as a share and the other way round, and rounded."""
        plain = self.loose | {value for value, _ in self.numbers}
        rounded = {float(round(v)) for v in plain if v > 10} | {round(v, 1) for v in plain}
        return plain | rounded | {round(v * 100, 9) for v in plain if v < 1} | {round(v / 100, 9) for v in plain}


@lru_cache(maxsize=4096)
def facts(text: str, around: int = 6) -> Facts:
    """Read a text, plain or with Markdown marks; `around` is how many words on either side belong to a number."""
    text = re.sub(r"[*`]+", "", text).translate(_SUPERSCRIPT)
    tokens = [(m.lastgroup or "", m[0]) for m in _TOKEN.finditer(text)]
    words = [token.lower().replace("’", "'") for group, token in tokens if group == "word"]
    numbers, loose = [], set()
    for place, (value, sure) in _values(tokens):
        if sure:
            near = [token for group, token in tokens[max(0, place - around) : place + around + 1] if group == "word"]
            numbers.append((value, frozenset(terms(" ".join(near)))))
        else:
            loose.add(value)
    return Facts(
        tuple(numbers),
        frozenset(loose),
        frozenset(_names(tokens)),
        frozenset(words) | {part for word in words if "-" in word for part in word.split("-")},
        tuple(terms(text)),
        frozenset(_denied(tokens)),
        frozenset(words) & _ABSOLUTES,
    )


def _denied(tokens: list[tuple[str, str]]) -> Iterator[str]:
    for place, (_, token) in enumerate(tokens):
        word = token.lower().replace("’", "'")
        if word in _NEGATIONS or word.endswith("n't"):
            following = takewhile(lambda each: each[0] != "end", tokens[place + 1 : place + 8])
            yield from terms(" ".join(text for _, text in following))[:_REACH]
        elif word.startswith("non-"):
            yield from terms(word.removeprefix("non-"))


def _values(tokens: list[tuple[str, str]]) -> Iterator[tuple[int, tuple[float, bool]]]:
    """Place of each number, its value, and whether it is surely meant as a claim."""
    place = 0
    while place < len(tokens):
        group, token = tokens[place]
        start, word = place, token.lower()
        value: float | None = None
        sure = True
        if group == "number":
            value = _plain(re.sub(r"[^\d.]", "", token))
            if scale := _LETTERS.get(token[-1]):
                yield start, (value, False)
                value *= scale
        elif group == "word" and word in _VALUES:
            value, sure = _VALUES[word], word not in _UNSURE
        elif group == "word" and (known := [_VALUES[part] for part in word.split("-") if part in _VALUES]):
            value, sure = sum(known), len(known) > 1  # "thirty-two", but also "non-zero" and "two-layer"
        if value is not None and place + 1 < len(tokens) and (scale := _SCALES.get(tokens[place + 1][1].lower().split("-")[0])):
            yield from ((start, (part, False)) for part in (value, round(value) * scale))  # "about 47 billion" of 46.7
            value, sure, place = value * scale, True, place + 1
        if value is not None:
            yield start, (round(value, 9), sure)
        place += 1


def _plain(digits: str) -> float:
    """The value; of a version such as 1.2.3 the first two parts, which is enough to tell versions apart."""
    parts = digits.strip(".").split(".")
    return float(".".join(parts[:2])) if parts[0] else float(f"0.{'.'.join(parts[1:]) or 0}")


def _names(tokens: list[tuple[str, str]]) -> Iterator[str]:
    """Words that are written as names; the first word of a sentence only where it cannot be anything else."""
    first = True
    for place, (group, token) in enumerate(tokens):
        if group == "end":
            first = True
            continue
        if group == "word":
            inner = any(letter.isupper() or letter.isdigit() or letter == "_" for letter in token[1:])
            following = place + 1 < len(tokens) and tokens[place + 1][0] == "word" and tokens[place + 1][1][0].isupper()
            opener = first and (not following or token.lower() in _OPENERS)
            if inner or (token[0].isupper() and len(token) > 1 and not opener):
                yield token.lower().removesuffix("'s").removesuffix("’s")
            first = False


def compare(claim: Facts, best: Facts, window: Facts, everywhere: Facts) -> dict[str, float]:
    """Where a claim departs from its source.

    Args:
        claim: the sentence.
        best: the source sentence that resembles it most.
        window: that sentence with its neighbours.
        everywhere: all of the evidence with the question.

    Returns:
        By name, each 0 where nothing is wrong; shares lie between 0 and 1.
    """
    values, near = everywhere.values, window.values
    wanted = [value for value, _ in claim.numbers]
    contexts = everywhere.numbers
    unbound = [
        value
        for value, words in claim.numbers
        if value in values
        and words
        and not any(value == v and words & w for v, w in contexts)
        and value not in everywhere.loose
    ]
    known, close = _known(everywhere), _known(window)
    opposite = {word for word in claim.words if OPPOSITES.get(word, frozenset()) & best.words and word not in best.words}
    return {
        "numbers_missing": float(min(2, sum(value not in values for value in wanted))),
        "numbers_far": float(min(2, sum(value in values and value not in near for value in wanted))),
        "numbers_unbound": float(min(2, len(unbound))),
        "names_missing": float(min(2, sum(not _has(known, name) for name in claim.names))),
        "names_far": float(min(2, sum(_has(known, name) and not _has(close, name) for name in claim.names))),
        "negation_added": float(bool(claim.denied & (frozenset(best.order) - best.denied))),
        "negation_dropped": float(bool(best.denied & (frozenset(claim.order) - claim.denied))),
        "opposites": float(min(2, len(opposite))),
        "absolutes": float(min(2, len(claim.absolutes - window.words))),
        "disorder": _disorder(claim.order, window.order),
        "reversed": _reversed(claim.order, best.order),
    }


def _known(source: Facts) -> frozenset[str]:
    return source.words | {word.removesuffix("'s") for word in source.words} | source.names


def _has(known: frozenset[str], name: str) -> bool:
    return name in known or name.rstrip("s") in known or all(part in known or part.isdigit() for part in name.split("-"))


def _disorder(claim: tuple[str, ...], source: tuple[str, ...], reach: int = 4) -> float:
    """Share of the claim's neighbouring content words, both in the source, that do not stand near each other there."""
    places: dict[str, list[int]] = {}
    for place, term in enumerate(source):
        places.setdefault(term, []).append(place)
    pairs = [(a, b) for a, b in zip(claim, claim[1:], strict=False) if a != b and a in places and b in places]
    if not pairs:
        return 0.0
    apart = sum(not any(0 < abs(y - x) <= reach for x in places[a] for y in places[b]) for a, b in pairs)
    return apart / len(pairs)


def _reversed(claim: tuple[str, ...], source: tuple[str, ...]) -> float:
    """Share of the pairs of content words that stand once in both texts, in the other order there."""
    places = {term: place for place, term in enumerate(source) if source.count(term) == 1}
    shared = [places[term] for term in claim if term in places and claim.count(term) == 1]
    pairs = [(a, b) for n, a in enumerate(shared) for b in shared[n + 1 :]]
    return sum(a > b for a, b in pairs) / len(pairs) if pairs else 0.0
