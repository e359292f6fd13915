"""Direct preference optimisation: make the better answer of each pair likelier than the worse one, near the start's answers.

    lectern finetune dpo --from sft-1    continues the adapter of an SFT run; without --from it starts from the base
    accelerate launch --config_file finetune/accelerate/several_gpus.yaml -m finetune.training.dpo --run dpo-1

The reference (the start: the SFT adapter, or the base with the adapter switched off) is computed beside each step, not before:
for one epoch that costs the same, and a training that was stopped need not compute it again.
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
    from trl import DPOConfig, DPOTrainer

    from finetune.training.loop import arguments, fit
    from finetune.training.model import with_adapter
    from finetune.training.session import load, training

    with training(run):
        tokenizer, examples, model = load(run)
        dpo = run.config.dpo
        trainer = DPOTrainer(
            args=DPOConfig(
                **arguments(run, len(examples.held)),
                beta=dpo.beta,
                loss_type=list(dpo.losses),
                loss_weights=list(dpo.losses.values()),
            ),
            train_dataset=examples.dataset(examples.train),
            eval_dataset=examples.dataset(examples.held) if examples.held else None,
            processing_class=tokenizer,
            **with_adapter(model, run.start_adapter(), run.config),
        )
        return fit(run, trainer, console, minutes)


if __name__ == "__main__":
    from finetune.training.session import main

    main("dpo", train)
