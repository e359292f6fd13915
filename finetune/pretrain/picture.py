"""The curve of a run as a picture."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from finetune.pretrain.baselines import Baselines
from finetune.pretrain.loop import Look

_PERPLEXITIES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


def draw(looks: Sequence[Look], guesses: Baselines, path: Path) -> None:
    """Write a PNG: training and held-out loss over steps, baselines as lines; the axis on the right shows perplexity.

    Args:
        looks: at least one.
        guesses: in nats per token, as the looks.
        path: replaced in one step.
    """
    from matplotlib.figure import Figure  # without pyplot, which would look for a screen

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="nats per token")
    steps = [look.step for look in looks]
    axes.plot(steps, [look.train for look in looks], label="training", color="#9aa5b1")
    axes.plot(steps, [look.held for look in looks], label="held-out documents", color="#0b6e99")
    for name, loss in (("uniform", guesses.uniform), ("unigram", guesses.unigram), ("bigram", guesses.bigram)):
        axes.axhline(loss, color="#b3541e", linewidth=0.8, linestyle="--")
        axes.annotate(name, (steps[-1], loss), ha="right", va="bottom", color="#b3541e", fontsize=9)
    low, high = axes.get_ylim()
    round_ones = [n for n in _PERPLEXITIES if low <= math.log(n) <= high]
    right = axes.secondary_yaxis("right")
    right.set_yticks([math.log(n) for n in round_ones], [str(n) for n in round_ones])
    right.set_ylabel("perplexity")
    axes.legend(frameon=False)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    figure.savefig(part, format="png", dpi=150)
    part.replace(path)
