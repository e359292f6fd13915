"""Hyperparameters: config.yaml, overlaid by --config FILE, overlaid by --set key=value. Unknown keys are refused."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel, Field, ValidationError

from knowledge.errors import CourseError
from knowledge.settings import StrictModel

Kind = Literal["sft", "dpo", "kto"]


class LoraSettings(StrictModel):
    """The adapter."""

    rank: int = Field(ge=1, le=512)
    alpha: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    targets: str | tuple[str, ...] = Field(description="all-linear, or names of modules such as [q_proj, v_proj]")


class StageSettings(StrictModel):
    """What the three kinds of training share; config.yaml explains the fields."""

    learning_rate: float = Field(gt=0, le=1)
    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    device_batch: int = Field(ge=0)
    max_length: int = Field(ge=16)
    warmup: float = Field(ge=0, lt=1)
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"]
    weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    held: int = Field(0, ge=0)


class SftSettings(StageSettings):
    """Learning from rows."""


class DpoSettings(StageSettings):
    """Learning from preference pairs."""

    beta: float = Field(gt=0)
    losses: dict[str, float] = Field(min_length=1, description="TRL's names of losses and their weights")


class KtoSettings(StageSettings):
    """Learning from lone thumbs."""

    beta: float = Field(gt=0)


class TrainingConfig(StrictModel):
    """The whole of config.yaml."""

    base: str
    seed: int = Field(ge=0)
    lora: LoraSettings
    sft: SftSettings
    dpo: DpoSettings
    kto: KtoSettings
    checkpoint_minutes: float = Field(ge=0)
    gradient_checkpointing: bool
    qlora: bool

    def stage(self, kind: Kind) -> StageSettings:
        """The settings of one kind of training."""
        return {"sft": self.sft, "dpo": self.dpo, "kto": self.kto}[kind]

    def device_batch(self, kind: Kind, gpu: bool) -> int:
        """Rows at once on one device: what is set, else 1 on a CPU and 4 on a GPU; KTO needs two."""
        stage = self.stage(kind)
        return max(2 if kind == "kto" else 1, stage.device_batch or min(4 if gpu else 1, stage.batch))


def load_config(file: Path | None = None, changes: Sequence[str] = ()) -> TrainingConfig:
    """The defaults, changed by a YAML file with some of the keys, then by key=value such as "sft.learning_rate=1e-4".

    Raises:
        CourseError: the file cannot be read, or a key or value is wrong; the text names it.
    """
    tree = _read(Path(__file__).with_name("config.yaml"))
    if file is not None:
        _overlay(tree, _read(file))
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise CourseError(f"--set {change} has no value.", "Write it as key=value, for example: sft.epochs=1")
        branch: Any = value.strip() if value.strip() == "" else yaml.safe_load(value)
        for part in reversed(_known(key.strip()).split(".")):
            branch = {part: branch}
        _overlay(tree, branch)
    return parse_config(tree)


def parse_config(tree: object) -> TrainingConfig:
    """A whole configuration from plain data, such as a run's manifest holds.

    Raises:
        CourseError: a key or value is wrong.
    """
    try:
        return TrainingConfig.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        names = ", ".join(_names(TrainingConfig))
        raise CourseError(f"Training setting {key}: {first['msg']}.", f"Correct it; the settings are: {names}.") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CourseError(f"{file} cannot be read as YAML: {error}.", "Correct the file or its path.") from error
    if not isinstance(tree, dict):
        raise CourseError(f"{file} holds no settings.", "Write lines such as `seed: 7`; finetune/config.yaml has them all.")
    return tree


def _overlay(tree: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if key != "losses" and isinstance(value, dict) and isinstance(tree.get(key), dict):
            _overlay(tree[key], value)
        else:
            tree[key] = value


def _names(kind: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _names(field.annotation, f"{above}{name}.")
        else:
            yield above + name


def _known(key: str) -> str:
    names = list(_names(TrainingConfig))
    if key in names:
        return key
    same_end = [name for name in names if name.split(".")[-1] == key.split(".")[-1]]
    near = dict.fromkeys([*same_end, *get_close_matches(key, names, 3, 0.6)])
    remedy = f"Did you mean {' or '.join(near)}?" if near else f"The settings are: {', '.join(names)}."
    raise CourseError(f"There is no training setting {key}.", remedy)
