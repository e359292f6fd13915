"""Kahneman-Tversky optimisation: learn from lone thumbs, where no second answer to the same question was judged.

lectern finetune kto --from sft-1
accelerate launch --config_file finetune/accelerate/several_gpus.yaml -m finetune.training.kto --run kto-1
"""

from typing import TYPE_CHECKING

from finetune.training.run import Run

if TYPE_CHECKING:
    from rich.console import Console

    from finetune.training.loop import Outcome


def weights(desirable: int, undesirable: int) -> tuple[float, float]:
    """Weights of thumbs up and thumbs down that give both sides the same mass, and all of them their number."""
    both = desirable + undesirable
    return both / (2 * desirable), both / (2 * undesirable)


def train(run: Run, console: "Console", minutes: float | None = None) -> "Outcome":
    """Train a prepared run, or go on with an unfinished one.

    Raises:
        CourseError: no memory or disk space, rows or base have changed, or not one step was done in time.
    """
    from trl import KTOConfig, KTOTrainer

    from finetune.training.loop import arguments, fit
    from finetune.training.model import with_adapter
    from finetune.training.session import load, training

    with training(run):
        tokenizer, examples, model = load(run)
        up, down = weights(examples.desirable, len(examples.train) - examples.desirable)
        trainer = KTOTrainer(
            args=KTOConfig(**arguments(run, 0), beta=run.config.kto.beta, desirable_weight=up, undesirable_weight=down),
            train_dataset=examples.dataset(examples.train),
            processing_class=tokenizer,
            **with_adapter(model, run.start_adapter(), run.config),
        )
        return fit(run, trainer, console, minutes)


if __name__ == "__main__":
    from finetune.training.session import main

    main("kto", train)
