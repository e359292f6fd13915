"""Drafts for speculative decoding from the text that is there: what followed the last words when they stood there before.

Answers that quote their evidence repeat runs of its tokens. A guess costs rows in a batch whose weights are read anyway, and
only guesses that equal the model's own choice are kept, so the text does not change (prompt lookup decoding: Saxena, 2023;
verification as in Leviathan, Kalman and Matias, 2023).
"""

from collections.abc import Sequence

import numpy as np

_SHORTEST, _LONGEST = 2, 4  # tokens that must agree with an earlier place
LENGTHS = (0, 3, 7)  # 1, 4 and 8 rows: ggml's fast path takes rows by fours
_PRIOR = 0.6  # chance that a first guess is right, before anything is known
_INERTIA = 0.1  # weight of a new observation
_RECOVERY = 0.005  # of the way back to the prior, at each guess that was not tried
_COST_RECOVERY = 0.001  # likewise for what a batch costs; slower, because a try costs more where rows are dear
_OUTLIER = 3.0  # a step that takes longer than so many times what was expected says little about its rows
_ROW_COST = 0.12  # of a further row, relative to a batch of one, until measured


class Lookup:
    """Where each run of tokens of one request stood last."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}
        self._previous: dict[tuple[int, ...], int] = {}
        for token in tokens:
            self.append(token)

    def append(self, token: int) -> None:
        """One more token of the request."""
        self._tokens.append(token)
        end = len(self._tokens)
        for length in range(_SHORTEST, min(_LONGEST, end) + 1):
            run = tuple(self._tokens[end - length :])
            if run in self._ends:
                self._previous[run] = self._ends[run]
            self._ends[run] = end

    def propose(self, count: int) -> tuple[list[int], int]:
        """Up to `count` tokens that followed the longest run which the text ends with, and that run's length; 0 if none."""
        for length in range(min(_LONGEST, len(self._tokens)), _SHORTEST - 1, -1):
            if place := self._previous.get(tuple(self._tokens[-length:])):
                return self._tokens[place : place + count], length
        return [], 0


class DraftPolicy:
    """How many tokens to guess: as many as give the most tokens a second, by what steps cost and how often guesses were right.

    Both are learned while answering, so drafts end by themselves where they do not pay: few hits, or a batch that is full.
    """

    def __init__(self) -> None:
        self._hit = dict.fromkeys(range(_SHORTEST, _LONGEST + 1), _PRIOR)
        self._cost: dict[int, float] = {}
        self.guessed = self.accepted = 0

    def choose(self, matches: Sequence[int], most: int) -> int:
        """How long guesses shall be, one of LENGTHS.

        Args:
            matches: for each answer in the batch the length of the run that was found, 0 for none.
            most: rows of the batch.
        """
        found = [match for match in matches if match]
        if not found or len(matches) not in self._cost:  # first, what a step costs without
            return 0
        possible = [length for length in LENGTHS if len(matches) + length * len(found) <= max(most, len(matches))]
        best = max(possible, key=lambda length: self._rate(length, found, len(matches)))
        if best == 0:
            self._recover(set(found), len(matches))
        return best

    def _recover(self, matches: set[int], answers: int) -> None:
        """Trust guesses a little more, so that they are tried again some day."""
        for match in matches:
            self._hit[match] += _RECOVERY * (_PRIOR - self._hit[match])
        for rows in self._cost:
            if rows > answers:
                expected = self._cost[answers] * _usual(rows) / _usual(answers)
                self._cost[rows] += _COST_RECOVERY * (expected - self._cost[rows])

    def _rate(self, length: int, found: Sequence[int], answers: int) -> float:
        tokens = answers + sum(sum(self._hit[match] ** n for n in range(1, length + 1)) for match in found)
        return tokens / self._seconds(answers + length * len(found))

    def _seconds(self, rows: int) -> float:
        known = sorted(self._cost)
        nearest = min(max(rows, known[0]), known[-1])
        return float(np.interp(nearest, known, [self._cost[n] for n in known])) * _usual(rows) / _usual(nearest)

    def learn_cost(self, rows: int, seconds: float) -> None:
        """What a step without any prompt in it took."""
        if self._cost:
            seconds = min(seconds, _OUTLIER * self._seconds(rows))
        self._cost[rows] = self._cost.get(rows, seconds) + _INERTIA * (seconds - self._cost.get(rows, seconds))

    def learn_hits(self, match: int, guessed: int, accepted: int) -> None:
        """How many of a guess's tokens were right."""
        self.guessed += guessed
        self.accepted += accepted
        for n in range(min(guessed, accepted + 1)):
            self._hit[match] += _INERTIA * (float(n < accepted) - self._hit[match])


def _usual(rows: int) -> float:
    """What a batch costs, relative to a batch of one, before it is known better."""
    return 1.0 + _ROW_COST * (rows - 1)
