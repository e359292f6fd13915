"""Many students at once: `python -m evals.bench.traffic [--users 4] [--minutes 20] [--hours 8]`.

First blocks of one student and of all, in turn and without pauses, for the tokens a second; then a soak for the rest of the
time, with the pauses of `--hours` compressed into it: follow-ups, other subjects, new conversations, more of them than the
engine holds, students who leave in the middle, and sections read ahead between the questions. Every conversation has a code
word that its answers repeat; another's in an answer is a leak. Exit code 1 if there is a leak, a request that takes longer
than `--limit`, an error, or a sequence that is still busy in the end. Saved states go into a temporary folder.
"""

import os
import random
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Annotated

import typer

from assistant.llm.chat_llama import ChatLlama
from assistant.models import model_path
from assistant.prompts import section_prompt
from assistant.settings import Settings, go_offline, load_settings, thread_count
from evals.bench.material import Chapter, spread_over, starter_course
from evals.bench.states import settle
from evals.bench.traffic_report import Figures, lines
from evals.bench.users import Canaries, Heard, Student, tokens_within

_BLOCK_S = 40.0  # seconds of one block, less in short runs
_ROUNDS = 3  # of one student and of all
_BLOCKS_SHARE = 0.4  # of the whole time at most
_SAMPLES = 20  # of memory in short runs; one a minute in others
_STATES_MB = 1024


@dataclass(slots=True)
class Classroom:
    """Students at work, each in a thread, and what they heard."""

    students: Sequence[Student]
    limit: float  # seconds that no request may take
    heard: list[Heard] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    stuck: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def work(
        self, users: int, seconds: float, pause: Callable[[], float], leave: bool, watch: Callable[[], None] | None = None
    ) -> tuple[float, float]:
        """Let the first `users` students ask for so many seconds; returns when that began and ended.

        Args:
            users: how many.
            seconds: how long; who is then in the middle of an answer leaves it.
            pause: seconds to think before the next question.
            leave: whether some leave in the middle of an answer.
            watch: called about once a second.
        """
        stop = threading.Event()
        threads = [
            threading.Thread(target=self._ask, args=(student, stop, pause, leave), daemon=True)
            for student in self.students[:users]
        ]
        started = perf_counter()
        for thread in threads:
            thread.start()
        while perf_counter() - started < seconds and not self.failed and any(thread.is_alive() for thread in threads):
            sleep(min(1.0, seconds / _SAMPLES))
            self._look_for_stuck()
            if watch:
                watch()
        ended = perf_counter()
        stop.set()
        while any(thread.is_alive() for thread in threads) and not self.stuck:
            sleep(0.05)
            self._look_for_stuck()
        return started, ended

    @property
    def failed(self) -> bool:
        """Whether going on makes no sense."""
        return bool(self.stuck or self.errors or any(answer.foreign for answer in self.heard))

    def _ask(self, student: Student, stop: threading.Event, pause: Callable[[], float], leave: bool) -> None:
        try:
            while not stop.wait(pause()):
                answer = student.turn(stop, leave)
                with self._lock:
                    self.heard.append(answer)
        except Exception as error:  # fails the run, with its traceback
            self.errors.append(error)

    def _look_for_stuck(self) -> None:
        now = perf_counter()
        since = [student.waiting_since for student in self.students]
        self.stuck = sum(begun is not None and now - begun > self.limit for begun in since)


def main(
    users: Annotated[int, typer.Option(min=2, help="Students at once.")] = 4,
    minutes: Annotated[float, typer.Option(min=0.2, help="How long all of it takes.")] = 20,
    hours: Annotated[float, typer.Option(min=0.01, help="Of a classroom's day that the soak stands for.")] = 8,
    think: Annotated[float, typer.Option(min=0, help="Seconds between a student's questions in that day, on average.")] = 60,
    limit: Annotated[float, typer.Option(min=1, help="Seconds after which a request counts as stuck.")] = 120,
    sections: Annotated[int, typer.Option(min=1, help="Of the starter course, read before it begins.")] = 8,
    conversations: Annotated[int, typer.Option(min=1, help="That each student keeps and comes back to.")] = 40,
    max_tokens: Annotated[int, typer.Option(min=8, help="Longest answer.")] = 80,
    seed: Annotated[int, typer.Option(help="For everything that the students do.")] = 0,
) -> None:
    """Run, report, and fail if anything went wrong."""
    go_offline()
    settings = load_settings()
    with TemporaryDirectory(prefix="lectern-traffic-") as folder:
        model = _model(settings, Path(folder))
        chapters = starter_course(model.count_tokens, settings.chunking)
        known = spread_over(chapters, sections, model.count_tokens)
        typer.echo(f"Reading {len(known)} sections", err=True)
        read_ahead(model, known, threading.Event())
        canaries = Canaries(random.Random(seed))
        students = [
            Student(model, canaries, known, random.Random(f"{seed}-{n}"), conversations, max_tokens) for n in range(users)
        ]
        room = Classroom(students, limit)
        figures = Figures(settings.model.name, users)
        seconds = minutes * 60
        block_s = min(_BLOCK_S, _BLOCKS_SHARE * seconds / (2 * _ROUNDS))
        measure_blocks(room, figures, block_s)
        pauses = random.Random(seed + 1)
        compression = hours * 3600 / seconds

        def pause() -> float:
            return pauses.expovariate(compression / think) if think else 0.0

        rest = seconds - 2 * _ROUNDS * block_s
        others = [chapter for chapter in chapters if chapter not in known]
        soak(model, room, figures, rest, pause, others)
        figures.finish(room.heard, room.stuck, room.errors, model)
        for line in lines(figures):
            typer.echo(line)
        if room.stuck == 0:
            model.scheduler.close()
    if room.stuck:
        sys.stdout.flush()
        os._exit(1)  # a normal end would wait for the engine
    if room.errors:
        raise room.errors[0]
    if figures.failures:
        raise typer.Exit(1)


def _model(settings: Settings, states: Path) -> ChatLlama:
    return ChatLlama(
        path=model_path(settings.model.name),
        context=settings.model.context,
        threads=thread_count(settings.model),
        states=states,
        engine=settings.engine.model_copy(update={"disk_mb": _STATES_MB}),
    )


def read_ahead(model: ChatLlama, chapters: Sequence[Chapter], stop: threading.Event) -> None:
    """Compute and save the states of these sections until `stop` is set."""
    for chapter in chapters:
        if not stop.is_set():
            model.compute_ahead([section_prompt(chapter.id, chapter.passages)], stop)


def measure_blocks(room: Classroom, figures: Figures, seconds: float) -> None:
    """One student, then all, in turn, each without pauses: tokens a second."""
    for number, users in enumerate(islice(cycle((1, len(room.students))), 2 * _ROUNDS)):
        if room.failed:
            return
        typer.echo(f"Block {number + 1} of {2 * _ROUNDS}: {users} at once", err=True)
        before = len(room.heard)
        start, end = room.work(users, seconds, lambda: 0.0, leave=False)
        rate = tokens_within(room.heard[before:], start, end) / (end - start)
        (figures.one if users == 1 else figures.many).append(rate)


def soak(
    model: ChatLlama,
    room: Classroom,
    figures: Figures,
    seconds: float,
    pause: Callable[[], float],
    others: Sequence[Chapter],
) -> None:
    """All students with pauses, some leaving, while other sections are read ahead; samples memory on the way."""
    figures.soak_from = len(room.heard)
    if room.failed:
        return
    started = perf_counter()
    every = min(60.0, seconds / _SAMPLES)

    def watch() -> None:
        passed = perf_counter() - started
        if passed >= every * len(figures.rss):
            figures.sample(passed)
            typer.echo(
                f"{passed / 60:.1f} min: {figures.rss[-1][1] / 1e6:,.0f} MB, {len(room.heard) - figures.soak_from} answers",
                err=True,
            )

    stop = threading.Event()
    reader = threading.Thread(target=read_ahead, args=(model, others, stop), name="reading ahead", daemon=True)
    figures.sample(0.0)
    reader.start()
    room.work(len(room.students), seconds, pause, leave=True, watch=watch)
    stop.set()
    model.scheduler.interrupt()
    if not room.stuck:
        reader.join()
        settle(model)
    figures.sample(perf_counter() - started)


if __name__ == "__main__":
    typer.run(main)
