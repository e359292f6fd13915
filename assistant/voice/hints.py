"""The course's own terms, as a prompt that recognition leans towards.

Whisper reads a prompt as the text before, and goes on in its spelling (OpenAI Cookbook, "Whisper prompting guide"). It takes
224 tokens at most, and a long one makes it slow and fanciful, so only terms that it would hardly guess are in it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from math import log

from knowledge.index import CourseIndex
from knowledge.passage import Document

_LONGEST = 150  # characters, about 75 of Whisper's tokens: strange words take two to a token
_UNSPOKEN = re.compile(r"`[^`]*`|\$[^$]*\$|https?://\S+|\S*[\\/_=<>{}]\S*|\[[^\]]*\]\([^)]*\)")  # code, formulas, addresses
_WORD = re.compile(r"(?<![\w-])[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*(?![\w-])")
_SPELT = re.compile(r"[A-Z].*[A-Z0-9]|[a-z]{2,}\d|[a-z]{2,}[A-Z]")  # LoRA, BM25, SVD, word2vec: spelt as nobody would guess
_RARE_PIECES = 3  # an embedder's vocabulary holds common words whole, and cuts rare ones to pieces
_IN_HEADING = 5  # times as important as in the text
_LEAST = 3  # uses; what is named once is hardly asked about
_SHORTEST = 7  # letters of a rare plain word; the embedder's pieces say little about shorter ones


def hints(index: CourseIndex) -> str:
    """List terms of the course that would be misheard, the most important first; empty for an empty course.

    They are found anew when the course has changed, which takes a second.
    """
    return _hints(index, index.catalogue.generation)


@lru_cache(maxsize=2)
def _hints(index: CourseIndex, generation: int) -> str:
    documents = (index.document(info.document_id) for info in index.sources())
    return prompt(terms((one for one in documents if one is not None), index.embedder.count_tokens))


def prompt(ranked: Iterable[str]) -> str:
    """Join terms, the foremost first, as far as the budget goes."""
    joined = ""
    for term in ranked:
        longer = f"{joined}, {term}" if joined else term
        if len(longer) > _LONGEST:
            break
        joined = longer
    return joined


def terms(documents: Iterable[Document], count_tokens: Callable[[str], int]) -> list[str]:
    """Rank the terms of documents that a recogniser would hardly guess.

    A term counts by how often it is used, more where it stands in a heading, and by how strange it is.

    Args:
        documents: their headings and running text are read, not their tables, code and formulas.
        count_tokens: pieces of a word, as the embedder cuts it.
    """
    weights: Counter[str] = Counter()
    spellings: dict[str, Counter[str]] = {}
    for document in documents:
        for block in document.blocks:
            if block.kind in ("heading", "text"):
                for word in _WORD.findall(_UNSPOKEN.sub(" ", document.text[block.start : block.end])):
                    term = _singular(word)
                    weights[term.lower()] += _IN_HEADING if block.kind == "heading" else 1
                    spellings.setdefault(term.lower(), Counter())[term] += 1
    scores: dict[str, float] = {}
    for key, weight in weights.items():
        spelling = spellings[key].most_common(1)[0][0]
        if weight >= _LEAST and (strangeness := _strangeness(spelling, count_tokens)):
            scores[spelling] = log(weight) * strangeness
    return sorted(scores, key=lambda term: (-scores[term], term))


def _singular(word: str) -> str:
    """Undo the commonest plurals, so that they need not be told apart."""
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word


def _strangeness(term: str, count_tokens: Callable[[str], int]) -> float:
    """0 for what anybody would write so; a spelling of its own counts most."""
    if any(_SPELT.search(part) for part in term.split("-")):
        return 0.0 if term.isalpha() and term.isupper() and len(term) > 6 else 2.0  # a cry, not a name
    pieces = count_tokens(term) if len(term) >= _SHORTEST and "-" not in term else 0
    return pieces / _RARE_PIECES if pieces >= _RARE_PIECES else 0.0
