"""Every number of a pre-training run, with where its default comes from."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """What the network looks like: about one million parameters, which two cores train in minutes.

    Attributes:
        vocabulary: V, tokens; a course has some 100,000 of them, so rarer ones would hardly be seen.
        width: d, of the vector that stands for a token.
        layers: L, blocks one after the other.
        heads: of attention, each of width / heads dimensions, an even number.
        context: T, tokens that a prediction can look back on.
    """

    vocabulary: int = 2048
    width: int = 128
    layers: int = 4
    heads: int = 4
    context: int = 128

    @property
    def hidden(self) -> int:
        """Width inside the feed-forward layer: 8/3 d, so that three SwiGLU matrices cost what two of 4d do (Shazeer, 2020)."""
        return -(-8 * self.width // 3 // 8) * 8


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is trained; weight decay, betas, clipping and the end of the schedule as GPT-3 (Brown et al., 2020).

    Attributes:
        steps: updates of the weights.
        batch: B, windows a step.
        learning_rate: its peak; models this small bear one ten times that of GPT-3 small.
        warm_up: share of the steps in which the rate rises.
        floor: the rate at the end, as a share of the peak.
        weight_decay: on matrices, not on gains of norms.
        betas: of AdamW (Loshchilov and Hutter, 2019).
        clip: longest gradient.
        every: steps between two looks at the validation loss, each of which saves a checkpoint.
        seed: of weights and batches.
    """

    steps: int
    batch: int = 16
    learning_rate: float = 3e-3
    warm_up: float = 0.05
    floor: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    every: int = 25
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain values, to be written beside the weights."""
        return {**asdict(self), "betas": list(self.betas)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Plan":
        """The plan that `as_json` wrote."""
        return cls(**{**values, "betas": tuple(values["betas"])})
