"""A candidate against what the chat answers with now, on held-out lessons, as it will be served: base GGUF and adapter.gguf.

`lectern eval` does the work, in processes of its own: it runs both, on the same questions and with the same prompts, and its
gate decides. Saved states are switched off: they belong to one adapter, and the other one would see the best sentences of a
section where the first sees all of it. What becomes of a trial is kept in the adapter's manifest:

| key | meaning |
|---|---|
| at, seconds | when it ended, ISO 8601 in UTC, and how long it took |
| passed, why | whether it may be promoted; else the reasons |
| against | the id that it was compared with, null for the model by itself |
| quick, lessons | whether it was a rehearsal with few questions; the held-out lessons |
| cases | name of the file that was asked, null for the cases of the starter course |
| gate_sha256 | of the file of figures and margins |
| figures | that decide: {task, metric, status, why, margin, rises, before, after, difference, low, high, p, test, n, ...} |
| others | of the same tasks, with a verdict in the place of the status |
| runs | {base, candidate}: folders below finetune/trials |
| machine, judge, index, code, packages | of the candidate's run |
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.adapters import NONE, Adapter
from assistant.models import sha256_of
from assistant.settings import Settings
from finetune.adapters import now
from finetune.rows import replace_text
from knowledge.errors import CourseError

TASKS = ("course/grounded", "course/answers")
GATE = Path(__file__).with_name("promotion.toml")
QUICK = 6  # questions of each task: enough to go through all of it, too few to decide anything
_PATIENCE = 10.0  # seconds that an evaluation may take to end
_KEPT = ("machine", "judge", "index", "code", "packages")
_PAIRED = ("before", "after", "difference", "low", "high", "p", "test", "method", "n", "groups")


@dataclass(frozen=True, slots=True)
class Asked:
    """How to try a candidate.

    Attributes:
        lessons: the held-out ones, as the index names them.
        quick: take a few questions only, which decides nothing.
        gate: the file of figures and margins.
        cases: a file of what to ask; None asks the cases of the starter course.
        judge: what says whether a passage supports a sentence, as `lectern eval --judge` takes it.
    """

    lessons: Sequence[str]
    quick: bool = False
    gate: Path = GATE
    judge: str = "overlap"
    cases: Path | None = None


def trials_dir(settings: Settings) -> Path:
    """Where the runs of trials lie, with what they have computed, which is not computed again."""
    return settings.finetune_dir / "trials"


def try_out(settings: Settings, adapter: Adapter, against: Adapter | None, asked: Asked) -> dict[str, Any]:
    """Compare an adapter with another one, or with the model by itself.

    Returns:
        The trial, as the table above has it.

    Raises:
        CourseError: an evaluation could not be done; what it said stands above.
        KeyboardInterrupt: what has been computed is kept.
    """
    started, out = time.monotonic(), trials_dir(settings)
    lessons = out / "held_lessons.txt"
    replace_text(lessons, "".join(f"{lesson}\n" for lesson in asked.lessons))
    runs = {}
    for role, id_ in (("base", against.id if against else NONE), ("candidate", adapter.id)):
        options = [
            "--set",
            f"model.adapter={id_}",
            "--set",
            "engine.disk_mb=0",
            "--model",
            adapter.base,
            "--judge",
            asked.judge,
        ]
        options += ["--split", "all", "--lessons", str(lessons), "--out", str(out), "--name", f"{adapter.id}-{role}"]
        options += ["--limit", str(QUICK)] if asked.quick else []
        options += ["--cases", str(asked.cases)] if asked.cases else []
        said = _eval(settings, ["run", *TASKS, *options], f"The evaluation of the {role} ({id_})", partly=True)
        runs[role] = _folder(said)
    both = [str(runs["candidate"]), "--baseline", str(runs["base"])]
    gate = json.loads(_eval(settings, ["gate", *both, "--file", str(asked.gate), "--json"], "The gate", partly=True))
    compared = json.loads(_eval(settings, ["compare", str(runs["base"]), str(runs["candidate"]), "--json"], "The comparison"))
    manifest = _manifest(runs["candidate"])
    return {
        "at": now(),
        "seconds": round(time.monotonic() - started),
        "passed": gate["passed"],
        "why": _reasons(gate),
        "against": against.id if against else None,
        "quick": asked.quick,
        "lessons": sorted(asked.lessons),
        "cases": asked.cases and asked.cases.name,
        "gate_sha256": sha256_of(asked.gate, lambda _: None),
        "figures": [_deciding(figure) for figure in gate["figures"]],
        "others": _others(gate, compared),
        "runs": {role: folder.name for role, folder in runs.items()},
        **{key: manifest.get(key) for key in _KEPT},
    }


def _reasons(gate: Mapping[str, Any]) -> list[str]:
    why = [
        f"{figure['metric']} of {figure['task']} {'fell' if figure['status'] == 'fell' else 'is undecided'}: {figure['why']}"
        for figure in gate["figures"]
        if figure["status"] != "passed"
    ]
    return why + [f"{len(ids)} questions of {task} failed that worked before" for task, ids in gate["failed"].items()]


def _deciding(figure: Mapping[str, Any]) -> dict[str, Any]:
    """A figure of the gate without its nesting."""
    change = figure["change"] or {}
    kept = ("task", "metric", "status", "why", "margin", "rises", "floor", "ceiling", "higher_is_better", "unit")
    return {**{key: figure.get(key) for key in kept}, **{key: change.get(key) for key in _PAIRED}}


def _others(gate: Mapping[str, Any], compared: Mapping[str, Any]) -> list[dict[str, Any]]:
    decide = {(figure["task"], figure["metric"]) for figure in gate["figures"]}
    return [
        {"task": task["task"], **{key: figure.get(key) for key in ("metric", "verdict", "higher_is_better", "unit", *_PAIRED)}}
        for task in compared["tasks"]
        for figure in task["figures"]
        if (task["task"], figure["metric"]) not in decide
    ]


def _eval(settings: Settings, arguments: Sequence[str], what: str, partly: bool = False) -> str:
    """Standard output of `lectern eval ...`; its progress goes where ours goes.

    Args:
        settings: say where the data lie.
        arguments: after `lectern eval`.
        what: for the message.
        partly: whether exit code 1, some samples failed or a gate was not passed, is an outcome like others.

    Raises:
        CourseError: it failed.
    """
    command = [sys.executable, "-c", "from assistant.cli import main; main()", "eval", *arguments]
    environment = {**os.environ, "LECTERN_DATA_DIR": str(settings.data_dir)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment)
    try:
        said, _ = process.communicate()
    except KeyboardInterrupt:
        try:  # a Ctrl-C has reached it too, and it ends in good order; `kill -INT` has not
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait()
        raise
    except BaseException:
        process.kill()
        raise
    if process.returncode == 130:
        raise KeyboardInterrupt
    if process.returncode not in ((0, 1) if partly else (0,)) or not said.strip():
        raise CourseError(f"{what} failed with exit code {process.returncode}.", "Mend what it says above, then try again.")
    return said


def _folder(said: str) -> Path:
    """The folder of a run, whose last line names its report."""
    return Path(said.strip().splitlines()[-1]).parent


def _manifest(run: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((run / "manifest.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CourseError(f"The run {run} is damaged: {error}.", "Try it again.") from error
