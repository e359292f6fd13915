"""The base in memory, its tokenizer and its adapter: float32 on a CPU, bf16 on a GPU, four bits there if asked for."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from finetune.config import TrainingConfig
from finetune.training.tokens import speak_as_served
from knowledge.errors import CourseError


def on_gpu() -> bool:
    """Whether a CUDA device does the work."""
    import torch

    return bool(torch.cuda.is_available())


def in_bf16() -> bool:
    """Whether to compute in bfloat16: not on CPUs, where it is four times slower than float32, nor on GPUs without it."""
    import torch

    return on_gpu() and bool(torch.cuda.is_bf16_supported())


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a base; its chat template gives the tokens of the served engine."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.chat_template is None:
        raise CourseError(f"{folder} has no chat template.", "Choose a model that was made for chat (instruct).")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return speak_as_served(tokenizer)


def load_model(folder: Path, config: TrainingConfig) -> Any:
    """The base, ready for an adapter.

    Raises:
        CourseError: four bits are asked for without a GPU or without bitsandbytes.
    """
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": torch.bfloat16 if in_bf16() else torch.float32}
    if config.qlora:
        options |= _four_bits()
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, attn_implementation="sdpa", **options)
    model.config.use_cache = False  # a cache is for writing answers
    return model


def _four_bits() -> dict[str, Any]:
    if not on_gpu():
        raise CourseError("qlora needs a CUDA GPU.", "Leave it out: --set qlora=false")
    if find_spec("bitsandbytes") is None:
        raise CourseError("qlora needs bitsandbytes, which is not installed.", 'Run: pip install "lectern[qlora]"')
    import torch
    from transformers import BitsAndBytesConfig

    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",  # NormalFloat and double quantisation: Dettmers et al. 2023, section 3
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if in_bf16() else torch.float16,
    )
    return {"quantization_config": quantised, "device_map": {"": int(os.environ.get("LOCAL_RANK", "0"))}}


def lora(config: TrainingConfig) -> Any:
    """The adapter to be, as PEFT's LoraConfig."""
    from peft import LoraConfig

    targets = config.lora.targets if isinstance(config.lora.targets, str) else list(config.lora.targets)
    return LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )


def with_adapter(model: Any, start: Path | None, config: TrainingConfig) -> dict[str, Any]:
    """What a trainer of TRL takes: a base and the adapter to make, or a base that wears the adapter to continue.

    In both cases TRL has its frozen reference without a second model in memory: the adapter switched off, or a copy of it.
    """
    if start is None:
        return {"model": model, "peft_config": lora(config)}
    from peft import PeftModel

    return {"model": PeftModel.from_pretrained(model, start, is_trainable=True)}
