"""What scorers read from the output of an assistant."""

from collections.abc import Mapping
from typing import Any

from evals.task import Output

PLANTED = "planted/"  # what the source of a passage begins with that the task, not the search, put before the model


def shown(output: Output) -> list[str]:
    """The sentences that the reader saw."""
    return [sentence["text"] for sentence in output["sentences"]]


def left_out(output: Output) -> list[str]:
    """The sentences that the model wrote and the check kept back."""
    return [sentence["text"] for sentence in output["dropped"]]


def evidence(output: Output) -> list[str]:
    """The passages that the answer could draw on, each under its heading, without which "it" may mean nothing."""
    return [with_heading(passage) for passage in output["evidence"]]


def with_heading(passage: Mapping[str, Any]) -> str:
    """A passage of the output as a judge should see it, its heading as a sentence of its own; ALCE puts titles there."""
    return "\n\n".join(part for part in (passage["heading"], passage["text"]) if part)


def answered(output: Output) -> bool:
    """Whether anything was shown as an answer."""
    return not output["refused"] and bool(output["answer"])
