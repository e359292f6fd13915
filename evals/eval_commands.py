"""`lectern eval`: what there is to measure, runs, and what becomes of them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from evals import eval_options as given
from evals.running.request import OUT, Drawing, Request, read_lessons

app = typer.Typer(
    help="""Measure how good the answers are, and whether a change made them better.

    Everything runs on this machine, and what was computed before is not computed again. A usual day:

        $ lectern eval quick --name before

        $ lectern eval quick --name after --set retrieval.threshold=0.4

        $ lectern eval compare before after

        $ lectern eval gate after
    """,
    no_args_is_help=True,
)
_EXTRA = ("diskcache", "ir_measures", "jinja2", "matplotlib", "scipy", "sklearn")  # the extra "evals" of pyproject.toml


@app.callback()
def _check_packages() -> None:
    from importlib.util import find_spec

    from knowledge.errors import CourseError

    if missing := [name for name in _EXTRA if find_spec(name) is None]:
        raise CourseError(
            f"Evaluations need {', '.join(missing)}.", "pip install 'lectern[evals]', or in a checkout: make setup"
        )


@app.command("list")
def list_tasks(data: given.Data = None, as_json: given.AsJson = False) -> None:
    """Show what can be measured, with how many samples and in about how many minutes.

    Public data sets are not part of Lectern: tasks over them need --data and say which folder they read.

    For example:

        $ lectern eval list

        $ lectern eval list --data ~/public-sets --json
    """
    from rich.console import Console

    from evals.listing import listed, print_list

    found = listed(data)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        print_list(found, Console())


@app.command()
def run(
    tasks: given.Tasks,
    limit: given.Limit = None,
    seed: given.Seed = 0,
    split: given.Split = "test",
    model: given.Model = None,
    changes: given.Changes = None,
    data: given.Data = None,
    lessons: given.Lessons = None,
    cases: given.Cases = None,
    name: given.Name = "",
    judge: given.JudgeName = "overlap",
    resume: given.Resume = None,
    out: given.Out = OUT,
    no_cache: given.NoCache = False,
) -> None:
    """Run tasks of `lectern eval list`, or all that match a pattern; the last line printed is the path of the report.

    Ctrl-C stops; the same command with --resume goes on. Exit codes: 0 done, 1 a sample failed, 2 you can mend it, 130 stopped.

    For example:

        $ lectern eval run course/answers

        $ lectern eval run 'course/*' --limit 20 --seed 1

        $ lectern eval run 'judge/*' --data ~/public-sets --split dev

        $ lectern eval run course/answers --model qwen2.5-coder-0.5b-instruct-q4_k_m --set evidence.clear=1

        $ lectern eval run course/answers --cases physics.jsonl --split all
    """
    drawing = Drawing(split, limit, False, seed, read_lessons(lessons))
    _start(Request(tasks, drawing, model, changes or (), data, name, judge, resume, out, no_cache, cases))


@app.command()
def quick(
    limit: given.Limit = None,
    seed: given.Seed = 0,
    split: given.Split = "test",
    model: given.Model = None,
    changes: given.Changes = None,
    data: given.Data = None,
    name: given.Name = "quick",
    judge: given.JudgeName = "overlap",
    resume: given.Resume = None,
    out: given.Out = OUT,
    no_cache: given.NoCache = False,
) -> None:
    """Run a few samples of the tasks that matter from day to day, in less than ten minutes on two cores.

    Each task says how many samples it gives. Options are those of `lectern eval run`.

    For example:

        $ lectern eval quick

        $ lectern eval quick --set retrieval.threshold=0 --name answers-always
    """
    drawing = Drawing(split, limit, True, seed)
    _start(Request(["*"], drawing, model, changes or (), data, name, judge, resume, out, no_cache))


@app.command()
def full(
    limit: given.Limit = None,
    seed: given.Seed = 0,
    split: given.Split = "test",
    model: given.Model = None,
    changes: given.Changes = None,
    data: given.Data = None,
    name: given.Name = "full",
    judge: given.JudgeName = "overlap",
    resume: given.Resume = None,
    out: given.Out = OUT,
    no_cache: given.NoCache = False,
) -> None:
    """Run every task with all its samples: a matter of a night. Options are those of `lectern eval run`.

    For example:

        $ lectern eval full --data ~/public-sets

        $ lectern eval full --data ~/public-sets --resume latest
    """
    drawing = Drawing(split, limit, False, seed)
    _start(Request(["*"], drawing, model, changes or (), data, name, judge, resume, out, no_cache))


@app.command()
def compare(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help=given.RUN)],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="Likewise.")],
    out: given.Out = OUT,
    as_json: given.AsJson = False,
) -> None:
    """Say what changed between two runs, sample by sample: differences with intervals and tests, and what changed most.

    A run is a folder, its name below --out, its --name (the last one so called), or latest.

    For example:

        $ lectern eval compare before after

        $ lectern eval compare runs/20260101-120000-quick latest --json
    """
    from evals.figures.compare import compare_runs
    from evals.figures.compare_text import print_comparison
    from evals.running.runs import find_run

    found = compare_runs(find_run(before, out).folder, find_run(after, out).folder)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        print_comparison(found)


@app.command()
def gate(
    which: given.Which = "latest",
    accept: Annotated[
        bool, typer.Option("--accept", help="Make the run the baseline that later runs are held against.")
    ] = False,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="RUN", help="Hold it against this run, not the accepted one.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--file", dir_okay=False, exists=True, help="Another file than evals/gate/gate.toml.")
    ] = None,
    out: given.Out = OUT,
    as_json: given.AsJson = False,
) -> None:
    """Hold a run against the baseline, figure by figure; exit code 1 if one fell, or if the samples are too few to say.

    evals/gate/gate.toml says which figures, and how much worse each may get. The run is the latest if none is named.

    For example:

        $ lectern eval quick && lectern eval gate

        $ lectern eval gate after --baseline before

        $ lectern eval gate latest --accept
    """
    from evals.gate.accept import BASELINE, write_baseline
    from evals.gate.check import check
    from evals.gate.file import CONFIG
    from evals.gate.text import print_gate
    from evals.running.runs import find_run

    chosen = find_run(which, out)
    if accept:
        write_baseline(chosen.folder, config=config or CONFIG)
        typer.echo(f"{chosen.name} is the baseline now, in {BASELINE}")
        return
    held_against = BASELINE if baseline is None else find_run(baseline, out).folder
    found = check(chosen.folder, config=config or CONFIG, baseline=held_against)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        print_gate(found)
    raise typer.Exit(found.exit_code)


@app.command()
def report(
    which: given.Which,
    against: Annotated[str | None, typer.Option("--against", metavar="RUN", help="Show it side by side with this run.")] = None,
    out: given.Out = OUT,
) -> None:
    """Write a run's report.html anew, and print its path: figures, pictures and every failure, in one file.

    For example:

        $ lectern eval report latest

        $ lectern eval report latest --against 20260101-120000-quick
    """
    from evals.report import write_report
    from evals.running.runs import find_run

    other = None if against is None else find_run(against, out).folder
    typer.echo(write_report(find_run(which, out).folder, other))


def _start(request: Request) -> None:
    """Run, then print the figures, what did not work, and the path of the report."""
    from rich.console import Console

    from evals.figures.summary import summarise
    from evals.listing import print_figures
    from evals.report import write_report
    from evals.running.start import carry_out

    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        run, outcome = carry_out(request, errors)
        for line in outcome.lines():
            errors.print(line, style="red", markup=False)
        if run.tasks():  # else not one could even begin
            print_figures(summarise(run.folder), run.manifest(), Console())
            typer.echo(write_report(run.folder, None))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if outcome.failed or outcome.stopped:
        raise typer.Exit(1)
