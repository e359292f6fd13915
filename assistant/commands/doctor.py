"""`lectern doctor`: what is missing, and what to do about it."""

import typer
from rich.console import Console
from rich.markup import escape

from assistant.settings import load_settings

_MARKS = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "fault": "[red]fault  [/]"}


def doctor() -> None:
    """Check models, index, packages, offline switches, memory and disk, and say what to do.

    Exit code: 0 when there is no fault, 1 otherwise.

    Example: lectern doctor
    """
    from assistant.doctor import examine

    console = Console()
    faults = 0
    for finding in examine(load_settings()):
        faults += finding.state == "fault"
        console.print(f"{_MARKS[finding.state]} {escape(finding.what)}", highlight=False)
        if finding.remedy:
            console.print(f"        {escape(finding.remedy)}", highlight=False, style="dim")
    raise typer.Exit(1 if faults else 0)
