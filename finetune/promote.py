"""From a training run, or an adapter, to what the chat answers with: export, trial, verdict, pointer.

Whoever is killed between two of these steps finds the chat as it was: only the last one, one file put in the place of another,
changes it. The same command then goes on where it ended, since what an evaluation has computed is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assistant.adapters import Adapter, BadAdapter, check, find_adapter, list_adapters, promotions
from assistant.settings import Settings
from finetune.adapters import export, held_lessons, promote, record, trying
from finetune.trial import GATE, Asked, try_out
from knowledge.errors import CourseError

LEAST_LESSONS = 10  # evals/gate/check.py: resampling fewer groups gives intervals that are far too narrow
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line.

    Attributes:
        target: a training run or an adapter.
        base: the GGUF of the run's base, where the run does not say.
        cases: a file of questions with known answers; None takes those of the starter course where the index holds it,
            else those that were drafted with the rows.
        lessons: a file with held-out lessons, one a line; None takes those of the rows that were trained on.
    """

    target: str
    base: str | None = None
    lessons: Path | None = None
    quick: bool = False
    gate: Path = field(default=GATE)
    judge: str = "overlap"
    cases: Path | None = None


def adapter_of(settings: Settings, target: str, base: str | None = None) -> Adapter:
    """The adapter of that id, or that of a finished run of that name.

    A run whose adapter was made before and has been trained on since gives the new one.

    Raises:
        CourseError: there is neither, or it cannot be exported.
    """
    from finetune.training.run import MANIFEST, runs_folder

    if (runs_folder() / target / MANIFEST).is_file() or "/" in target:
        return export(settings, target, base)
    if target in {adapter.id for adapter in list_adapters(settings)}:
        return find_adapter(settings, target)
    raise BadAdapter(f"There is neither a training run nor an adapter {target}.", "See: lectern finetune list")


def try_and_promote(settings: Settings, wish: Wish, say: Say = lambda _: None) -> tuple[Adapter, dict[str, Any]]:
    """Promote an adapter if it is better than what the chat answers with now, which on the first time is the model by itself.

    Args:
        settings: of this process.
        wish: what was asked for.
        say: told what begins.

    Returns:
        The adapter and its trial; it has been promoted if the trial says "passed".

    Raises:
        CourseError: it could not be tried; nothing has changed.
    """
    with trying(settings):
        adapter = adapter_of(settings, wish.target, wish.base)
        check(adapter, adapter.base)
        current = promotions(settings)[-1]
        if current == adapter.id:
            raise CourseError(f"{adapter.id} is promoted already.", "See: lectern finetune list")
        lessons = _lessons(settings, adapter, wish)
        if len(lessons) < LEAST_LESSONS:
            say(f"Only {len(lessons)} lessons are held out; below {LEAST_LESSONS} the gate cannot decide on accuracy.")
        against = _served(settings, current, adapter.base, say)
        say(f"{adapter.id} against {against.id if against else adapter.base}, on {len(lessons)} held-out lessons.")
        cases = wish.cases or _drafted(settings, say)
        trial = try_out(settings, adapter, against, Asked(lessons, wish.quick, wish.gate, wish.judge, cases))
        adapter = record(adapter, trial)
        if trial["passed"]:
            promote(settings, adapter, current)
        return adapter, trial


def _served(settings: Settings, current: str | None, base: str, say: Say) -> Adapter | None:
    """What answers now on this base: the promoted adapter, unless it is of another one or damaged."""
    if current is None:
        return None
    try:
        adapter = find_adapter(settings, current)
        check(adapter, base)
    except BadAdapter as error:
        say(f"{error.problem} The model by itself is what to be better than.")
        return None
    return adapter


def _drafted(settings: Settings, say: Say) -> Path | None:
    """The cases that were drafted from the rows of held-out lessons; None where those of the starter course can be asked."""
    from assistant.course import open_index
    from finetune.data.cases import CASES, starter_is_whole
    from finetune.rows import data_folder

    if starter_is_whole(info.source for info in open_index(settings).sources()):
        return None
    path = data_folder(settings.finetune_dir) / CASES
    if not path.is_file() or not path.stat().st_size:
        raise CourseError(
            "The index does not hold the starter course, and there are no questions about yours.",
            "Draft some with the rows: lectern finetune data. Or write your own: --cases FILE (evals/cases/README.md).",
        )
    say(f"It asks what was drafted from the held-out lessons, {path}; a copy of it, mended, may be given with --cases.")
    return path


def _lessons(settings: Settings, adapter: Adapter, wish: Wish) -> list[str]:
    if wish.lessons is None:
        return held_lessons(settings, adapter)
    try:
        lines = wish.lessons.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{wish.lessons} cannot be read: {error}.", "Write one lesson a line.") from error
    return [line.strip() for line in lines if line.strip()]
