"""How long a question may be, and how many may come in a minute."""

import threading
from collections import OrderedDict, deque

from course_guard.verdict import Finding

_MINUTE = 60.0  # seconds


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
    """At most so many questions of one sender in any 60 seconds; safe to use from several threads.

    Args:
        per_minute: at least 1.
        senders: how many are remembered; beyond that, whoever has been silent for longest is forgotten.
    """

    def __init__(self, per_minute: int, senders: int = 10_000) -> None:
        if per_minute < 1 or senders < 1:
            raise ValueError(f"per_minute is {per_minute} and senders is {senders}, at least 1 of each is needed")
        self._per_minute, self._senders = per_minute, senders
        self._times: OrderedDict[str, deque[float]] = OrderedDict()  # the last admitted questions of each
        self._lock = threading.Lock()

    def allowed(self, key: str, now: float) -> float:
        """Seconds to wait before the next question; 0 admits this one and counts it. One that has to wait costs nothing.

        Args:
            key: of the sender, such as a session.
            now: seconds of a clock that never goes back, such as time.monotonic().
        """
        with self._lock:
            times = self._times.setdefault(key, deque(maxlen=self._per_minute))
            self._times.move_to_end(key)
            if len(self._times) > self._senders:
                self._times.popitem(last=False)
            if len(times) == self._per_minute and (wait := times[0] + _MINUTE - now) > 0:
                return wait
            times.append(now)  # the oldest leaves by itself
            return 0.0
