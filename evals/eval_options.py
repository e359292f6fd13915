"""The options that commands of `lectern eval` share."""

from pathlib import Path
from typing import Annotated

import typer

from evals.running.request import Half

Tasks = Annotated[list[str], typer.Argument(metavar="TASK...", help="Names or patterns of `lectern eval list`.")]
RUN = "A folder, its name below --out, the --name of a run, or latest."
Which = Annotated[str, typer.Argument(metavar="RUN", help=RUN)]
Limit = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Draw at most this many samples of each task.")]
Seed = Annotated[int, typer.Option("--seed", help="Another seed draws other samples.")]
Split = Annotated[
    Half,
    typer.Option("--split", help="Tune on dev, quote test: what was fitted on a sample says nothing about it."),
]
Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Answer with this model of `lectern models list`, or a .gguf file.")
]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting for this run; may be given again.")
]
Data = Annotated[
    Path | None, typer.Option("--data", file_okay=False, exists=True, help="Folder that holds the folders of public data.")
]
Lessons = Annotated[
    Path | None,
    typer.Option(
        "--lessons", dir_okay=False, exists=True, help="Only samples about the lessons of this file, one a line, or about none."
    ),
]
Cases = Annotated[
    Path | None,
    typer.Option(
        "--cases",
        dir_okay=False,
        exists=True,
        help="Ask these of your own course; evals/cases/README.md tells the keys.",
    ),
]
Name = Annotated[str, typer.Option("--name", help="Added to the name of the run's folder.")]
JudgeName = Annotated[
    str,
    typer.Option(
        "--judge",
        help="What says whether a text supports a sentence: overlap, trained, coverage, always, nli:FOLDER, openai:URL#MODEL.",
    ),
]
Resume = Annotated[str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run; give the same command.")]
Out = Annotated[Path, typer.Option("--out", file_okay=False, help="Folder of the runs and their cache.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Compute everything anew, and keep nothing for later.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
