"""BM25 over passages, with bm25s (Lu, 2024): English stop words, Snowball stemming, k1 1.5, b 0.75."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import Stemmer

_WORD = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")
_QUESTION_WORDS = frozenset({
    "give", "tell", "explain", "describe", "define", "please", "show", "list", "name", "compare", "mean", "means",
    "meaning", "work", "works", "used", "use", "using", "happen", "happens", "difference", "example", "course", "lesson",
    "say", "says", "said", "know", "want", "need",
})  # fmt: skip
_stemmer = Stemmer.Stemmer("english")


@cache
def _stop_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN_PLUS  # imports all of bm25s

    return frozenset(STOPWORDS_EN_PLUS) | _QUESTION_WORDS


def terms(text: str) -> list[str]:
    """Stemmed content words of a text, in order: lower case, without stop words and question words."""
    words: list[str] = []
    stop_words = _stop_words()
    for word in _WORD.findall(text.lower()):
        for part in (word, *word.split("-")) if "-" in word else (word.removesuffix("'s"),):
            if part not in stop_words and (len(part) > 1 or part.isdigit()):
                words.append(part)
    return list(_stemmer.stemWords(words))


class LexicalIndex:
    """BM25 scores and term rarities of a fixed list of passages.

    Args:
        ids: passage ids.
        texts: what each is searched by, same length.
    """

    def __init__(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        import bm25s

        self._ids = list(ids)
        tokens = [terms(text) for text in texts]
        self._document_frequency = Counter(term for words in tokens for term in set(words))
        self._bm25 = bm25s.BM25() if any(tokens) else None
        if self._bm25 is not None:
            self._bm25.index(tokens, show_progress=False)

    def search(self, question: str, k: int) -> list[tuple[str, float]]:
        """Up to `k` passages that share a term with the question, as (id, BM25 score), best first."""
        query = [term for term in terms(question) if term in self._document_frequency]
        if self._bm25 is None or not query:
            return []
        scores = self._bm25.get_scores(query)
        best = np.argsort(-scores, kind="stable")[:k]
        return [(self._ids[i], float(scores[i])) for i in best if scores[i] > 0]

    def rarity(self, term: str) -> float:
        """Inverse document frequency of a stemmed term, at least 0; a term that the course never uses is the rarest."""
        return math.log(1 + len(self._ids) / (1 + self._document_frequency[term]))
