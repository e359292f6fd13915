"""Which token comes next: the likeliest, or one drawn at random, and how likely the likeliest were."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]


class Choice:
    """Chooses the tokens of one answer.

    Args:
        temperature: 0 takes the likeliest token; else a token is drawn with the chances of softmax(scores / temperature).
        seed: makes the draws repeatable.
        top: how many of the likeliest tokens to remember with their chances, for each token of the answer.

    Attributes:
        told: for each token so far its number, its log probability, and the likeliest (token, log probability), best first.
    """

    def __init__(self, temperature: float = 0.0, seed: int | None = None, top: int = 0) -> None:
        self.told: list[tuple[int, float, list[tuple[int, float]]]] = []
        self._temperature, self._top = temperature, top
        self._draw = np.random.default_rng(seed)

    def __call__(self, scores: Scores) -> int:
        """The token that comes next.

        Args:
            scores: of the whole vocabulary, shape (vocabulary,); not kept.
        """
        token = int(scores.argmax()) if self._temperature <= 0 else self._drawn(scores)
        if self._top:
            log = scores.astype(np.float64) - scores.max()
            log -= np.log(np.exp(log).sum())
            best = np.argpartition(-log, min(self._top, len(log) - 1))[: self._top]
            ranked = sorted(((int(n), float(log[n])) for n in best), key=lambda pair: -pair[1])
            self.told.append((token, float(log[token]), ranked))
        return token

    def _drawn(self, scores: Scores) -> int:
        """By the Gumbel-max trick, which needs no sum over the vocabulary (Gumbel, 1954)."""
        return int((scores.astype(np.float64) / self._temperature + self._draw.gumbel(size=len(scores))).argmax())

    def as_openai(self, text: Callable[[int], str]) -> dict[str, Any]:
        """What was remembered, in the form of OpenAI's `logprobs`.

        Args:
            text: of a token.
        """
        content = [
            {
                "token": text(token),
                "logprob": chance,
                "top_logprobs": [{"token": text(other), "logprob": likely} for other, likely in ranked],
            }
            for token, chance, ranked in self.told
        ]
        return {"content": content}
