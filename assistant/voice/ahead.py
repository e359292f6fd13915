"""Words before they are asked for: at each pause, what was said so far is transcribed, since many a pause is the end."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from assistant.voice.recognise import Heard, Samples


class Ahead:
    """Transcribes at each pause, and has the words already, or sooner, if nothing follows.

    Only the latest pause counts. An engine at work cannot be interrupted, so if speech goes on, what comes next waits for it.

    Args:
        hear: transcribes; called in a thread, one call at a time.
    """

    def __init__(self, hear: Callable[[Samples], Heard]) -> None:
        self._hear = hear
        self._pool = ThreadPoolExecutor(1, "hearing")
        self._said: Samples | None = None
        self._work: Future[Heard] | None = None

    def begin(self, samples: Samples) -> None:
        """Somebody pauses: this was said so far."""
        self.forget()
        self._said, self._work = samples, self._pool.submit(self._hear, samples)

    async def heard(self, samples: Samples) -> Heard:
        """Transcribe an utterance; raises what `hear` raises."""
        if not len(samples):
            return Heard((), "", 0.0)
        if self._said is None or not np.array_equal(self._said, samples):
            self.begin(samples)
        assert self._work is not None
        work, self._said, self._work = self._work, None, None
        return await asyncio.wrap_future(work)

    def forget(self) -> None:
        """What was said is no longer of interest."""
        if self._work is not None:
            self._work.cancel()  # has no effect on what has begun
        self._said = self._work = None
