"""Supervised fine-tuning: learn to write the completions of the rows.

lectern finetune sft                              makes a run and trains it
lectern finetune sft --prepare                    makes one for several GPUs or machines, which is trained by
accelerate launch --config_file finetune/accelerate/several_gpus.yaml -m finetune.training.sft --run sft-1
"""

from typing import TYPE_CHECKING

from finetune.training.run import Run

if TYPE_CHECKING:
    from rich.console import Console

    from finetune.training.loop import Outcome


def train(run: Run, console: "Console", minutes: float | None = None) -> "Outcome":
    """Train a prepared run, or go on with an unfinished one.

    Raises:
        CourseError: no memory or disk space, rows or base have changed, or not one step was done in time.
    """
    from trl import SFTConfig, SFTTrainer

    from finetune.training.loop import arguments, fit
    from finetune.training.model import with_adapter
    from finetune.training.session import load, training

    with training(run):
        tokenizer, examples, model = load(run)
        trainer = SFTTrainer(
            args=SFTConfig(**arguments(run, len(examples.held))),
            train_dataset=examples.dataset(examples.train),
            eval_dataset=examples.dataset(examples.held) if examples.held else None,
            processing_class=tokenizer,
            **with_adapter(model, run.start_adapter(), run.config),
        )
        return fit(run, trainer, console, minutes)


if __name__ == "__main__":
    from finetune.training.session import main

    main("sft", train)
