"""What students in traffic.py lived through, as figures, verdict and text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import linear_regression

from assistant.llm.chat_llama import ChatLlama
from assistant.llm.sequences import CONVERSATION
from evals.bench.machine import machine, quantile, spread
from evals.bench.users import Heard

_SETTLED = 0.1  # of the soak: what memory grows before that is buffers that are made once


@dataclass(slots=True)
class Figures:
    """What was measured.

    Attributes:
        one, many: tokens a second in the blocks of one student and of all.
        rss: in the soak, seconds since it began and bytes of memory.
        heard: every answer; those of the soak from `soak_from` on.
        stuck: requests that took too long.
        held, busy: sequences at the end, and those that a request still owns.
        evicted: conversations that lie on disk in the end.
    """

    model: str
    users: int
    one: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)
    rss: list[tuple[float, int]] = field(default_factory=list)
    heard: Sequence[Heard] = ()
    soak_from: int = 0
    stuck: int = 0
    errors: Sequence[Exception] = ()
    held: int = 0
    busy: int = 0
    evicted: int = 0

    def sample(self, seconds: float) -> None:
        """Note how much memory the process has now."""
        import psutil

        self.rss.append((seconds, psutil.Process().memory_info().rss))

    def finish(self, heard: Sequence[Heard], stuck: int, errors: Sequence[Exception], model: ChatLlama) -> None:
        """Take in what there is at the end."""
        pool = model.scheduler.pool
        self.heard, self.stuck, self.errors = heard, stuck, errors
        self.held, self.busy = len(pool._held), sum(sequence.busy for sequence in pool._held)
        if not stuck and pool.store is not None:
            pool.flush()
            self.evicted = sum(state.label == CONVERSATION for state in pool.store.saved())

    @property
    def leaks(self) -> list[Heard]:
        """Answers that show another conversation's code word."""
        return [answer for answer in self.heard if answer.foreign]

    @property
    def growth(self) -> tuple[float, float] | None:
        """Of memory in the soak, after it has settled: bytes an hour (least squares), and last over first sample less 1."""
        settled = [(at, size) for at, size in self.rss if at >= _SETTLED * self.rss[-1][0]]
        if len(settled) < 3:
            return None
        slope, _ = linear_regression([at for at, _ in settled], [size for _, size in settled])
        return slope * 3600, settled[-1][1] / settled[0][1] - 1

    @property
    def failures(self) -> list[str]:
        """What must not be."""
        found = [f"{answer.kind} answer shows {', '.join(answer.foreign)}" for answer in self.leaks]
        found += [f"{type(error).__name__}: {error}" for error in self.errors]
        found += [f"{self.stuck} requests took too long"] if self.stuck else []
        found += [f"{self.busy} sequences are busy although nobody asks"] if self.busy else []
        return found


def lines(seen: Figures) -> Iterator[str]:
    """Everything, line by line."""
    yield f"{machine()}\n{seen.model}, {seen.users} users, {len(seen.heard)} answers"
    yield from _rates(seen)
    yield from _soak(seen, seen.heard[seen.soak_from :])
    yield "\nMemory in the soak"
    yield "  " + ", ".join(f"{at / 60:.1f} min {size / 1e6:,.0f} MB" for at, size in seen.rss)
    if seen.growth:
        slope, share = seen.growth
        yield _row("after it has settled", f"{slope / 1e6:+.1f} MB an hour, last {share:+.1%} over first")
    yield "\nIn the end"
    yield _row("sequences", f"{seen.held} held, {seen.busy} busy; {seen.evicted} conversations on disk")
    told = [answer for answer in seen.heard if not answer.left]
    if told:
        share = sum(answer.own for answer in told) / len(told)
        yield _row("own code word shown", f"{share:.0%} of {len(told)} whole answers")
    yield _row("another's code word shown", f"{len(seen.leaks)} of {len(seen.heard)} answers")
    yield _row("stuck requests", str(seen.stuck))
    yield from (f"FAILED: {failure}" for failure in seen.failures)


def _rates(seen: Figures) -> Iterator[str]:
    yield "\nTokens/s without pauses, blocks in turn"
    yield _row("one user", spread(seen.one))
    yield _row(f"{seen.users} users together", spread(seen.many))
    yield _row("together / one", spread([many / one for one, many in zip(seen.one, seen.many, strict=False) if one]))


def _soak(seen: Figures, answers: Sequence[Heard]) -> Iterator[str]:
    yield f"\nSoak, {len(answers)} answers, {sum(answer.left for answer in answers)} left in the middle"
    for kind in ("all", *sorted({answer.kind for answer in answers})):
        first = [s for answer in answers if kind in ("all", answer.kind) and (s := answer.first_s) is not None]
        if first:
            tail = f"p95 {quantile(first, 0.95):.2f} s, most {max(first):.2f} s"
            yield _row(f"first token, {kind}", f"{spread(first, ' s')}, {tail}")
    gaps = [answer.longest_gap_s for answer in answers if len(answer.pieces) > 1]
    if gaps:
        over = sum(gap > 1 for gap in gaps)
        yield _row("longest pause of each stream", f"{spread(gaps, ' s')}, most {max(gaps):.2f} s, {over} over 1 s")
        yield _row("longest request", f"{max(answer.ended - answer.started for answer in answers):.1f} s")


def _row(name: str, value: str) -> str:
    return f"  {name:<32} {value}"
