"""The training loop of the lesson: batch, loss, gradients, update; and now and then a look at text that it has not read.

The batch of a step depends on the seed and the step's number only, and nothing else is drawn, so a run that was cut off and
taken up again goes exactly where it would have gone.
"""

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from finetune.pretrain.config import Plan, Shape
from finetune.pretrain.model import Decoder, new_model


@dataclass(frozen=True, slots=True)
class Look:
    """Losses in nats per token: `train` as a mean since the look before, `held` over all held-out text."""

    step: int
    train: float
    held: float


def batch_of(tokens: Tensor, plan: Plan, context: int, step: int) -> tuple[Tensor, Tensor]:
    """Random windows and, shifted by one place, what comes next; two of shape (B, T)."""
    generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
    starts = torch.randint(len(tokens) - context, (plan.batch,), generator=generator)
    windows = torch.stack([tokens[start : start + context + 1] for start in starts.tolist()])
    return windows[:, :-1], windows[:, 1:]


def loss_of(model: Decoder, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of the next token; (B, T) and (B, T) -> a scalar."""
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


@torch.no_grad()
def held_loss(model: Decoder, tokens: Tensor) -> float:
    """Mean cross-entropy over the tokens 2 to N of a text, shape (N,), read in windows that do not overlap."""
    context = model.shape.context
    total, count = 0.0, len(tokens) - 1
    whole = count // context * context
    if whole:
        inputs, targets = tokens[:whole].view(-1, context), tokens[1 : whole + 1].view(-1, context)
        for x, y in zip(inputs.split(32), targets.split(32), strict=True):
            total += loss_of(model, x, y).item() * y.numel()
    if whole < count:
        total += loss_of(model, tokens[None, whole:-1], tokens[None, whole + 1 :]).item() * (count - whole)
    return total / count


def rate_at(step: int, plan: Plan) -> float:
    """Learning rate of a step: linear warm-up, then half a cosine down to the floor (Loshchilov and Hutter, 2017)."""
    warm = max(1, round(plan.warm_up * plan.steps))
    if step < warm:
        return plan.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, plan.steps - warm)
    return plan.learning_rate * (plan.floor + (1 - plan.floor) * 0.5 * (1 + math.cos(math.pi * done)))


class Training:
    """A model on its way through a plan.

    Args:
        shape: of the network.
        plan: of the training.
        folder: gets checkpoint.pt; None keeps none.
    """

    def __init__(self, shape: Shape, plan: Plan, folder: Path | None = None) -> None:
        self.plan, self.shape, self._folder = plan, shape, folder
        self.model = new_model(shape, plan.seed)
        matrices = [p for p in self.model.parameters() if p.dim() == 2]
        gains = [p for p in self.model.parameters() if p.dim() < 2]
        groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": gains, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=plan.learning_rate, betas=plan.betas)
        self.step, self.looks = 0, list[Look]()

    def update(self, tokens: Tensor) -> float:
        """One step on text of shape (N,); its loss in nats per token."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.step, self.plan)
        loss = loss_of(self.model, *batch_of(tokens, self.plan, self.shape.context, self.step))
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.optimiser.step()
        self.step += 1
        return loss.item()

    def run(self, train: Tensor, held: Tensor, tell: Callable[[int, float | None], None]) -> None:
        """Train to the end of the plan; `tell` hears after every step (steps done, newest held-out loss)."""
        losses: list[float] = []
        while self.step < self.plan.steps:
            losses.append(self.update(train))
            if self.step % self.plan.every == 0 or self.step == self.plan.steps:
                self.looks.append(Look(self.step, sum(losses) / len(losses), held_loss(self.model, held)))
                losses = []
                self.save()
            tell(self.step, self.looks[-1].held if self.looks else None)

    def save(self) -> None:
        """Write the checkpoint beside the old one, then put it in its place; the best weights so far are kept too."""
        if self._folder is None:
            return
        parts = [("checkpoint.pt", self._state())]
        if self.looks and self.looks[-1].held == min(look.held for look in self.looks):
            parts.append(("best.pt", self.model.state_dict()))
        for name, value in parts:
            part = self._folder / f"{name}.{os.getpid()}"
            torch.save(value, part)
            part.replace(self._folder / name)

    def _state(self) -> dict[str, object]:
        looks = [asdict(look) for look in self.looks]
        made = {"shape": asdict(self.shape), "plan": self.plan.as_json(), "step": self.step, "looks": looks}
        return {**made, "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}

    @classmethod
    def resumed(cls, folder: Path) -> "Training":
        """The training whose checkpoint lies in a folder, where it stood at its last look."""
        state = torch.load(folder / "checkpoint.pt", weights_only=True)
        training = cls(Shape(**state["shape"]), Plan.from_json(state["plan"]), folder)
        training.model.load_state_dict(state["model"])
        training.optimiser.load_state_dict(state["optimiser"])
        training.step, training.looks = state["step"], [Look(**look) for look in state["looks"]]
        return training
