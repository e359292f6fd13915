"""What the assistant hears, in words that people and voices speak, and where nobody speaks.

Other engines and weights: --set voice.model=faster-whisper-tiny.en, --set voice.listener=openai-whisper.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evals.scorers.hearing import PHANTOMS, WER, hearing, real_time_factor
from evals.sets import data_folder, speech
from evals.task import Metric, Sample, Solver, Task

if TYPE_CHECKING:
    from evals.environment import Environment


def _solver(environment: "Environment", speaker: str = "espeak") -> Solver:
    from evals.solvers.speech import HearingSolver

    return HearingSolver(environment, speaker)


def _task(
    name: str,
    about: str,
    read: Callable[[Path | None], Iterable[Sample]],
    metrics: tuple[Metric, ...],
    seconds: float,
    speaker: str = "espeak",
    **more: str | tuple[str, ...],
) -> Task:
    solver = partial(_solver, speaker=speaker)
    return Task(f"speech/{name}", about, read, solver, lambda _: (hearing,), metrics, seconds=seconds, **more)  # type: ignore[arg-type]


TASKS = (
    _task(
        "people",
        "words that people have recorded",
        lambda data: speech.people(data_folder(data, "speech")),
        (WER[0], real_time_factor()),
        seconds=1.0,
        data=("speech",),
        source="recordings of other projects' tests, licences in PROVENANCE.md beside them",
    ),
    _task(
        "course",
        "sentences of the starter course, spoken by espeak: clean and in noise, knowing the course and not",
        lambda _: speech.course(),
        (*WER, real_time_factor()),
        seconds=5.0,
    ),
    _task(
        "course-piper",
        "the same sentences, spoken by Piper",
        lambda _: speech.course(),
        (*WER, real_time_factor()),
        seconds=6.0,
        speaker="piper",
    ),
    _task(
        "nothing",
        "twenty minutes of silence, noise and music: whatever is heard is made up",
        lambda _: speech.nothing(),
        PHANTOMS,
        seconds=1.0,
    ),
)
