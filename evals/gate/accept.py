"""Accepts a run as the baseline of the gate: without its texts, small enough to be committed, so that a fresh checkout has one.

evals/gate/baseline/ has the layout of a run: manifest.json, and samples/<task>.jsonl with the scores of the gated tasks. Of
question and answer there is nothing but a hash of the case, by which an edited case is told from the one that was scored.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

from evals.figures.pairs import without_texts
from evals.figures.summary import metrics_of, of_rows
from evals.gate.file import CONFIG, Gated, read_gate
from evals.running.runs import MANIFEST, SAMPLES, Run
from evals.task import Metric, Task
from knowledge.errors import CourseError

BASELINE = Path(__file__).parent / "baseline"


def write_baseline(run: Path, folder: Path = BASELINE, tasks: Sequence[Task] | None = None, config: Path = CONFIG) -> None:
    """Make a run the baseline, in place of the one before.

    `tasks` are those that there are, None takes the registry's.

    Raises:
        CourseError: the run has not finished, a gated sample failed in it or a gated figure rests on too few samples; or
            `folder` holds something else, or cannot be written.
    """
    metrics = metrics_of(tasks)
    gate = read_gate(config, metrics)
    found = Run(run)
    manifest = found.manifest()
    faults = [] if manifest.get("finished") else ["it has not finished"]
    for gated in gate:
        metric = next(metric for metric in metrics[gated.task] if metric.name == gated.metric)
        faults += _faults(found, gated, metric)
    if faults:
        remedy = "Mend that, or run more samples, and accept the new run."
        raise CourseError(f"{found.name} cannot be the baseline: {'; '.join(dict.fromkeys(faults))}.", remedy)
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise CourseError(f"{folder} holds something that is no baseline.", "Give an empty folder.")
    names = dict.fromkeys(gated.task for gated in gate)
    scratch = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Run(Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)))
        scratch.folder.chmod(0o755)  # a temporary folder is readable by its owner only
        (scratch.folder / SAMPLES).mkdir()
        scratch.write_manifest({**manifest, "tasks": {name: manifest["tasks"][name] for name in names}})
        for name in names:
            for row in sorted(found.rows(name), key=lambda row: row.sample.id):
                scratch.append(name, without_texts(row))
        if folder.exists():
            shutil.rmtree(folder)
        scratch.folder.rename(folder)
    except OSError as error:
        if scratch:
            shutil.rmtree(scratch.folder, ignore_errors=True)
        raise CourseError(
            f"{folder} cannot be written: {error}.", "Make it writable, or accept the run in a checkout."
        ) from error


def _faults(run: Run, gated: Gated, metric: Metric) -> list[str]:
    rows = run.rows(gated.task)
    if failed := [row.sample.id for row in rows if row.error]:
        return [f"{len(failed)} samples of {gated.task} failed ({', '.join(failed[:5])})"]
    figure = of_rows(metric, rows)
    n = figure.n if figure else 0
    return [f"{metric.name} of {gated.task} has {n} samples, of which {gated.least_n} are needed"] if n < gated.least_n else []
