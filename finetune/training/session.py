"""What happens before a training script builds its trainer, and how `accelerate launch` reaches it."""

import argparse
import ctypes
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from assistant.settings import go_offline, load_settings
from finetune.config import Kind
from finetune.training.examples import Examples, load_examples
from finetune.training.faults import explained
from finetune.training.model import load_model, load_tokenizer, on_gpu
from finetune.training.run import Run, open_run
from knowledge.errors import CourseError

if TYPE_CHECKING:
    from rich.console import Console

    from finetune.training.loop import Outcome

    Train = Callable[[Run, Console], Outcome]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8  # malloc.h


@contextmanager
def training(run: Run) -> Iterator[None]:
    """Around a whole training: nobody else trains this run, it can start, and what goes wrong is explained.

    Raises:
        CourseError: rows or base have changed, or there is too little memory or disk space.
    """
    from finetune.training.plan import plan_run, require_room

    hush()
    keep_freed_memory()
    run.require_same()
    with run.locked(), explained(run.kind, run.resume_command):
        if "WORLD_SIZE" not in os.environ:  # sizes of sharded trainings are their configuration's affair
            require_room(plan_run(run), run.folder)
        yield


def load(run: Run) -> tuple[Any, Examples, Any]:
    """Tokenizer, examples and base model of a run."""
    config, folder = run.config, run.base_folder()
    stage = config.stage(run.kind)
    tokenizer = load_tokenizer(folder)
    examples = load_examples(run.kind, load_settings(), tokenizer, stage.max_length, stage.held, config.seed)
    return tokenizer, examples, load_model(folder, config)


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next row, which needs it again; says whether it does.

    Rows differ in length, and glibc gives every large tensor back to the kernel, which has to clear its pages anew: a third of
    the time on two cores (docs/log.md). Values as in mallopt(3); other systems' allocators have no such trouble.
    """
    if on_gpu() or sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    wanted = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: 256 << 20, _ARENA_MAX: 1}
    return mallopt is not None and all(mallopt(name, value) for name, value in wanted.items())


def hush() -> None:
    """Keep the libraries' own bars and remarks off the screen, and one process on one GPU."""
    if "WORLD_SIZE" not in os.environ and on_gpu():
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # TRL refuses several without a launcher
    import datasets
    from transformers.utils import logging

    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()


def main(kind: Kind, train: "Train") -> None:
    """Train the run that --run names; exit codes as `lectern`'s."""
    go_offline()
    from rich.console import Console

    parser = argparse.ArgumentParser(description=f"Train a run made by `lectern finetune {kind} --prepare`, or go on with it.")
    parser.add_argument("--run", required=True, help="its name or folder")
    console = Console(stderr=True)
    try:
        run = open_run(parser.parse_args().run)
        if run.kind != kind:
            raise CourseError(f"{run.name} is a {run.kind} run.", f"Launch finetune.training.{run.kind}.")
        outcome = train(run, console)
    except CourseError as error:
        console.print(f"Error: {error}", style="bold red", markup=False)
        sys.exit(error.exit_code)
    sys.exit(130 if outcome.ending == "asked" else 0)
