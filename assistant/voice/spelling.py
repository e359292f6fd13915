"""The course's own spelling of what was heard: who says "dropout" is heard to say "drop out", which the course never writes.

Only rare words of the course are put in place: of parts that never stand beside each other in it, and of strange words, as
"Jaccord" is one, that are a letter off.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from os.path import commonprefix

from knowledge.index import CourseIndex
from knowledge.lexical import terms

_WORD = re.compile(r"[^\W_]+")
_GAP = re.compile(r"[ -]")
_MOST_PARTS = 3  # "B M 25"
_SHORTEST = 4  # letters
_SHORTEST_OFF = 7  # letters of a word that may be a letter off: of shorter ones too many are
_LEAST = 2  # uses in the course
_RARE = 2  # pieces; the embedder's vocabulary holds common words whole


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a course spells.

    Attributes:
        words: rare words in small letters, each with its commonest form.
        known: all words, in small letters.
        pairs: words in small letters that stand beside each other somewhere.
        count_tokens: pieces of a word, as the embedder cuts it.
    """

    words: dict[str, str]
    known: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    count_tokens: Callable[[str], int]

    def of(self, text: str) -> str:
        """The text with words of the course where they were heard otherwise."""
        found, respelt, end, at = list(_WORD.finditer(text)), "", 0, 0
        while at < len(found):
            size, word = self._heard(text, found[at : at + _MOST_PARTS])
            if word:
                respelt += text[end : found[at].start()] + word
                end = found[at + size - 1].end()
            at += size
        return respelt + text[end:]

    def _heard(self, text: str, parts: list[re.Match[str]]) -> tuple[int, str]:
        """How many of the parts are a word of the course, and which; 1 and nothing if none are."""
        for size in range(len(parts), 1, -1):
            low = [part[0].lower() for part in parts[:size]]
            gaps = (text[a.end() : b.start()] for a, b in zip(parts, parts[1:size], strict=False))
            pairs = zip(low, low[1:], strict=False)
            if "".join(low) in self.words and all(map(_GAP.fullmatch, gaps)) and self.pairs.isdisjoint(pairs):
                return size, self.words["".join(low)]
        return 1, self._strange(parts[0][0].lower())

    def _strange(self, heard: str) -> str:
        """The one word of the course that is a letter off a strange word, and no other form of it."""
        if len(heard) < _SHORTEST_OFF or heard in self.known or self.count_tokens(heard) < _RARE:
            return ""
        near = [word for word in self.words if _is_a_letter_off(heard, word) and terms(heard) != terms(word)]
        return self.words[near[0]] if len(near) == 1 else ""


def spelling(texts: Iterable[str], count_tokens: Callable[[str], int]) -> Spelling:
    """Learn how texts spell.

    Args:
        texts: of a course.
        count_tokens: pieces of a word, as the embedder cuts it.
    """
    forms: dict[str, Counter[str]] = {}
    pairs: set[tuple[str, str]] = set()
    for text in texts:
        written = _WORD.findall(text)
        low = [word.lower() for word in written]
        for key, word in zip(low, written, strict=True):
            forms.setdefault(key, Counter())[word] += 1
        pairs.update(zip(low, low[1:], strict=False))
    long = {key: form for key, form in forms.items() if len(key) >= _SHORTEST and form.total() >= _LEAST}
    words = {key: _form(form) for key, form in long.items() if count_tokens(key) >= _RARE}
    return Spelling(words, frozenset(forms), frozenset(pairs), count_tokens)


def spelling_of(index: CourseIndex) -> Spelling:
    """How a course spells; found anew when it has changed, in a second."""
    return _learnt(index, index.catalogue.generation)


@lru_cache(maxsize=2)
def _learnt(index: CourseIndex, generation: int) -> Spelling:
    return spelling((passage.text for passage in index.catalogue.all_passages()), index.embedder.count_tokens)


def _form(forms: Counter[str]) -> str:
    """The commonest form; small letters where a plain word has them, too, when it does not begin a sentence."""
    word = forms.most_common(1)[0][0]
    return word.lower() if word[1:].islower() and word.lower() in forms else word


def _is_a_letter_off(heard: str, word: str) -> bool:
    """Whether one letter is another, missing or too much, and it is not the first."""
    same = len(commonprefix((heard, word)))
    if not same or abs(len(heard) - len(word)) > 1:
        return False
    left, right = heard[same:], word[same:]
    return max(len(left), len(right)) - len(commonprefix((left[::-1], right[::-1]))) <= 1
