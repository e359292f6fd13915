"""What a model must beat: guesses that need no network. All losses are mean nats per token over the tokens 2 to N of a text."""

import math
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Baselines:
    """Cross-entropies in nats per token.

    Attributes:
        uniform: every token is as likely as any other.
        unigram: by how often a token occurs in the training text, each counted once more (Laplace).
        bigram: by what followed the token before it; where that was seldom seen, by the unigram (Witten and Bell, 1991).
    """

    uniform: float
    unigram: float
    bigram: float


def baselines(train: Tensor, held: Tensor, vocabulary: int) -> Baselines:
    """Count in one text, measure on the other.

    Args:
        train: tokens, shape (N,).
        held: tokens, shape (M,), M at least 2.
        vocabulary: V.
    """
    words, held_words = train.tolist(), held.tolist()
    single = Counter(words)
    pairs = Counter(pairwise(words))
    before = Counter(words[:-1])
    kinds = Counter(first for first, _ in pairs)  # of different followers

    def unigram(token: int) -> float:
        return (single[token] + 1) / (len(words) + vocabulary)

    def bigram(first: int, token: int) -> float:
        seen = before[first] + kinds[first]
        return (pairs[first, token] + kinds[first] * unigram(token)) / seen if seen else unigram(token)

    asked = list(pairwise(held_words))
    return Baselines(
        uniform=math.log(vocabulary),
        unigram=-sum(math.log(unigram(token)) for _, token in asked) / len(asked),
        bigram=-sum(math.log(bigram(first, token)) for first, token in asked) / len(asked),
    )
