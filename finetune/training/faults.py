"""What goes wrong in the world while a model trains, said so that it can be mended."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from finetune.config import Kind
from knowledge.errors import CourseError

_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc")
_NO_SPACE = ("no space left", "disk quota", "file write failed", "failed writing file")


class OutOfMemory(CourseError):
    """The model, its activations or a checkpoint did not fit into memory."""


class DiskFull(CourseError):
    """A checkpoint could not be written; what was saved before is whole."""


@contextmanager
def explained(kind: Kind, resume: str) -> Iterator[None]:
    """Turn an error that means no memory or no disk space into one with a remedy; any other passes.

    Args:
        kind: of training, for the remedy.
        resume: the command that goes on from the last checkpoint.

    Raises:
        OutOfMemory: the processor or GPU has no memory left.
        DiskFull: no space is left on the disk.
    """
    try:
        yield
    except CourseError:
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {error}".lower()
        if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
            raise OutOfMemory(
                "There was not enough memory for this training.",
                f"Start it anew with less: --set {kind}.device_batch={2 if kind == 'kto' else 1}, --set "
                f"gradient_checkpointing=true, --set {kind}.max_length=1024, or a smaller --model. "
                f"If something else took the memory, close it and go on: {resume}",
            ) from error
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(sign in text for sign in _NO_SPACE):
            raise DiskFull(
                "The disk is full; the last whole checkpoint is kept.", f"Free some space, then: {resume}"
            ) from error
        raise
