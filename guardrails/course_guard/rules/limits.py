"""How long a question may be, how many may come in a minute, and how many may be under way at once."""

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from course_guard.verdict import Finding

_MINUTE = 60.0  # seconds
_BUSY_S = 10  # until one of many answers under way is likely to be finished
_SENDERS = 10_000  # that are remembered; beyond, whoever has been silent for longest is forgotten


class LengthRule:
    """A question longer than is read.

    Args:
        max_chars: the longest that passes, at least 1.
    """

    name = "input.length"

    def __init__(self, max_chars: int) -> None:
        if max_chars < 1:
            raise ValueError(f"max_chars is {max_chars}, at least 1 is needed")
        self._max_chars = max_chars

    def look(self, text: str) -> Finding | None:
        """A finding whose span is what is too much; there is no replacement, since half a question is another question."""
        if len(text) <= self._max_chars:
            return None
        reason = f"The question has {len(text):,} characters; {self._max_chars:,} are read at most."
        return Finding(reason, ((self._max_chars, len(text)),))


class RateLimit:
    """Too many questions of one sender in any 60 seconds, or of all senders at once; may be used from several threads.

    Args:
        per_minute: questions of one sender, at least 1.
        waiting: questions of all senders that are not answered yet, at least 1.
        clock: seconds, never going back.
    """

    name = "input.rate"

    def __init__(self, per_minute: int, waiting: int, clock: Callable[[], float] = time.monotonic) -> None:
        if per_minute < 1 or waiting < 1:
            raise ValueError(f"per_minute is {per_minute} and waiting is {waiting}, at least 1 of each is needed")
        self._per_minute, self._waiting, self._clock = per_minute, waiting, clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()  # the last questions of each sender
        self._under_way = 0
        self._lock = threading.Lock()

    @contextmanager
    def question(self, sender: str, refuse: bool = True) -> Iterator[Finding | None]:
        """One question, under way as long as the block runs; gives what there is to object to it.

        Args:
            sender: such as a session of the page.
            refuse: whether a question with a finding goes no further; it does not count then, so waiting always helps.
        """
        with self._lock:
            now, times = self._clock(), self._times_of(sender)
            found = self._found(times, now)
            counts = found is None or not refuse
            if counts:
                times.append(now)  # the oldest leaves by itself
                self._under_way += 1
        try:
            yield found
        finally:
            if counts:
                with self._lock:
                    self._under_way -= 1

    def _times_of(self, sender: str) -> deque[float]:
        times = self._times.setdefault(sender, deque(maxlen=self._per_minute))
        self._times.move_to_end(sender)
        if len(self._times) > _SENDERS:
            self._times.popitem(last=False)
        return times

    def _found(self, times: deque[float], now: float) -> Finding | None:
        if len(times) == self._per_minute and (wait := times[0] + _MINUTE - now) > 0:
            asked = "1 question" if self._per_minute == 1 else f"{self._per_minute} questions"
            return Finding(f"You have asked {asked} within a minute; please wait {_seconds(wait)} before the next.")
        if self._under_way >= self._waiting:
            others = "Another question is" if self._under_way == 1 else f"{self._under_way} other questions are"
            return Finding(f"{others} being answered; please wait {_seconds(_BUSY_S)}, then ask again.")
        return None


def _seconds(wait: float) -> str:
    whole = math.ceil(wait)
    return "1 second" if whole == 1 else f"{whole} seconds"
