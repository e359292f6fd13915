"""What a training will need, said before anything starts: rows, tokens, steps, memory, disk and time.

Memory is a formula, for a LoRA adapter on a decoder of the llama family (bytes; T: tokens of one micro-batch):
    weights      parameters x 4 (float32 on a CPU) or x 2 (bf16 on a GPU), / 4 of that in four bits
    adapter      trainable x 16: weight, gradient and two moments of AdamW in float32
    activations  T x layers x (30 hidden + 9 inner) x bytes of a number: what backward needs of a layer with seven adapters (the
                 inputs of its linear layers before and after dropout, norms, heads, the gate), and what the allocator does not
                 give back; with gradient checkpointing T x (layers x hidden + one layer's)
    logits       tokens that carry loss x vocabulary x 4 x 2
    libraries    0.6 GB
The factors 30 and 9 fit what was measured with the 135M on a CPU, sequences of 904 tokens: 4.8 GB (SFT) and 7.8 GB (DPO).

Time is measured: forward and backward through base and adapter on a row of median length, as long as a row takes. A pair costs
three such rows and a thumb two and a half, for their references are computed too (forward: half of forward and backward).
"""

import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from finetune.base import require_disk
from finetune.config import Kind, TrainingConfig
from finetune.training.examples import Examples
from finetune.training.faults import OutOfMemory
from finetune.training.model import load_model, lora, on_gpu
from finetune.training.run import Run

_LIBRARIES = 600 << 20
_ANSWER = 128  # tokens of a row that carry loss, about
_KEPT = 3  # checkpoints on disk at once: two, and the one being written
_TIMES: dict[Kind, float] = {
    "sft": 1.0,
    "dpo": 1.5,
    "kto": 2.5,
}  # of forward and backward per token; a pair's tokens count twice


@dataclass(frozen=True)
class Plan:
    """Sizes in bytes, time in seconds.

    Attributes:
        tokens: of one epoch.
        median_row: tokens of a row; of a pair both sequences.
        free_memory: on the device that computes.
        seconds: None as long as nothing was measured.
    """

    kind: Kind
    rows: int
    too_long: int
    held: int
    tokens: int
    median_row: int
    longest: int
    batch: int
    steps: int
    parameters: int
    trainable: int
    memory: int
    free_memory: int
    disk: int
    seconds: float | None = None

    @property
    def rows_seen(self) -> int:
        """Rows over all steps."""
        return min(self.steps * self.batch, math.ceil(self.steps / self.steps_per_epoch) * self.rows)

    @property
    def steps_per_epoch(self) -> int:
        """The last step of an epoch may have fewer rows."""
        return math.ceil(self.rows / self.batch)

    def recorded(self) -> dict[str, Any]:
        """What a run's manifest keeps of it."""
        return {
            "steps": self.steps,
            "rows": {"train": self.rows, "too_long": self.too_long, "held": self.held},
            "tokens": {"epoch": self.tokens, "median_row": self.median_row, "longest": self.longest},
            "parameters": {"base": self.parameters, "adapter": self.trainable},
            "expected_memory": self.memory,
            "disk": self.disk,
        }


def make_plan(kind: Kind, config: TrainingConfig, base: Path, examples: Examples, steps: int | None) -> Plan:
    """Plan a training.

    Args:
        kind: what it learns from.
        config: its hyperparameters.
        base: Hugging Face folder; only its configuration and the header of its weights are read.
        examples: as loaded.
        steps: as many; None takes config's epochs.
    """
    stage = config.stage(kind)
    parameters, trainable = count_parameters(base, config)
    rows = len(examples.train)
    return Plan(
        kind=kind,
        rows=rows,
        too_long=examples.too_long,
        held=len(examples.held),
        tokens=sum(examples.lengths),
        median_row=int(median(examples.lengths)),
        longest=examples.longest,
        batch=stage.batch,
        steps=steps or math.ceil(rows / stage.batch) * stage.epochs,
        parameters=parameters,
        trainable=trainable,
        memory=_memory(kind, config, base, parameters, trainable, examples.longest),
        free_memory=free_memory(),
        disk=_KEPT * trainable * 12 + (64 << 20),  # weights and two moments; tokenizer and states
    )


def plan_run(run: Run) -> Plan:
    """The plan that a run was made by, with the memory that is free now."""
    kept = run.manifest
    rows, tokens, parameters = kept["rows"], kept["tokens"], kept["parameters"]
    return Plan(
        kind=run.kind, rows=rows["train"], too_long=rows["too_long"], held=rows["held"], tokens=tokens["epoch"],
        median_row=tokens["median_row"], longest=tokens["longest"], batch=run.config.stage(run.kind).batch, steps=kept["steps"],
        parameters=parameters["base"], trainable=parameters["adapter"], memory=kept["expected_memory"],
        free_memory=free_memory(), disk=kept["disk"],
    )  # fmt: skip


def require_room(plan: Plan, folder: Path) -> None:
    """Refuse what this machine has no room for.

    Raises:
        OutOfMemory: less memory is free than the plan expects.
        CourseError: less disk space is.
    """
    if plan.memory > plan.free_memory:
        raise OutOfMemory(
            f"This training needs about {plan.memory / 1e9:.1f} GB of memory, and {plan.free_memory / 1e9:.1f} GB are free.",
            f"Close other programs, take a smaller --model, --set {plan.kind}.max_length=1024, or --set "
            "gradient_checkpointing=true.",
        )
    require_disk(folder, plan.disk, "this training's checkpoints")


def count_parameters(base: Path, config: TrainingConfig) -> tuple[int, int]:
    """Parameters of the base, and of the adapter that config describes: rank x (inputs + outputs) of each adapted layer."""
    whole = adapter = 0
    wanted = config.lora.targets
    for name, shape in _shapes(base):
        whole += math.prod(shape)
        module = name.removesuffix(".weight").rsplit(".", 1)[-1]
        if ".layers." in name and len(shape) == 2 and (wanted == "all-linear" or module in wanted):
            adapter += config.lora.rank * sum(shape)
    return whole, adapter


def measure_seconds(kind: Kind, config: TrainingConfig, base: Path, tokens: int) -> float:
    """Seconds of one row, pair or thumb of so many tokens here, by the best of three trials after loading the model; the
    first also pays for memory that later rows find.

    Raises:
        CourseError: the model cannot be loaded.
    """
    import torch
    from peft import get_peft_model

    model = get_peft_model(load_model(base, config), lora(config)).train()
    device = "cuda" if on_gpu() else "cpu"
    model.to(device)
    length = max(8, tokens // 2 if kind == "dpo" else tokens)
    ids = torch.randint(0, model.config.vocab_size, (1, length), device=device)
    trials = []
    for _ in range(3):
        began = time.perf_counter()
        logits = model(input_ids=ids, logits_to_keep=min(_ANSWER, length)).logits
        logits.float().logsumexp(-1).mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()
        trials.append(time.perf_counter() - began)
    return min(trials) * _TIMES[kind] * (2 if kind == "dpo" else 1) * (1.33 if config.gradient_checkpointing else 1)


def free_memory() -> int:
    """Bytes that this process may still take: of the GPU if there is one, else of the machine."""
    if on_gpu():
        import torch

        return int(torch.cuda.mem_get_info()[0])
    import psutil

    return int(psutil.virtual_memory().available)


def free_disk(folder: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _memory(kind: Kind, config: TrainingConfig, base: Path, parameters: int, trainable: int, longest: int) -> int:
    shape = json.loads((base / "config.json").read_text(encoding="utf-8"))
    hidden, inner, layers = shape["hidden_size"], shape["intermediate_size"], shape["num_hidden_layers"]
    number = 2 if on_gpu() else 4
    sequences = config.device_batch(kind, on_gpu()) * (2 if kind == "dpo" else 1)
    layer = 30 * hidden + 9 * inner
    kept = layers * hidden + layer if config.gradient_checkpointing else layers * layer
    activations = sequences * longest * kept * number
    logits = sequences * min(longest, _ANSWER) * shape["vocab_size"] * 8
    weights = parameters * number / (4 if config.qlora else 1)
    return int(weights + trainable * 16 + activations + logits + _LIBRARIES)


def _shapes(base: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all tensors; safetensors files begin with 8 bytes of header length and a JSON header."""
    for file in sorted(base.glob("*.safetensors")):
        with file.open("rb") as source:
            header = json.loads(source.read(int.from_bytes(source.read(8), "little")))
        for name, entry in header.items():
            if name != "__metadata__":
                yield name, tuple(entry["shape"])
