"""`lectern finetune`. assistant/cli.py finds `add` through the entry-point group "lectern.commands"."""

import typer

from finetune import commands_adapters, commands_data, commands_embedder, commands_export, commands_pretrain, commands_train

_PARTS = (commands_data, commands_train, commands_export, commands_adapters, commands_embedder, commands_pretrain)


def add(app: typer.Typer) -> None:
    """Add the commands of this package to `lectern`."""
    sub = typer.Typer(
        help="Make a better model from the course and from what readers allow: data, training, gate, promotion, and back.",
        no_args_is_help=True,
        callback=_first,
    )
    for part in _PARTS:
        part.add(sub)
    app.add_typer(sub, name="finetune")


def _first() -> None:
    """Make a better model from the course and from what readers allow: data, training, gate, promotion, and back."""
    from assistant.settings import load_settings
    from finetune.data.forget import forget_deleted

    forget_deleted(load_settings())
