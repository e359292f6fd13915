"""Weights and tokenizer from a Hugging Face folder, with a PEFT adapter on them if there is one."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.llm.messages import role_of, texts_of
from knowledge.errors import CourseError, MissingModel

_SLOT = "\ue000"  # private use: no template contains it
_WHOLE = "Give the folder of a model in the format of transformers: config.json, tokenizer.json and *.safetensors."
_OTHER_ADAPTER = "Choose another one (`lectern finetune list`), or set model.adapter = none."


@dataclass(frozen=True, slots=True)
class Weights:
    """A loaded model.

    Attributes:
        model: a transformers model for causal language modelling, or the PEFT model around one, in evaluation mode.
        tokenizer: its tokenizer.
        ends: ids of the tokens that end an answer.
    """

    model: Any
    tokenizer: Any
    ends: frozenset[int]

    def tokenise(self, text: str, *, special: bool = False) -> list[int]:
        """Ids of the tokens of a text; control tokens in it are read as such only if `special`."""
        found = self.tokenizer(text, add_special_tokens=False, split_special_tokens=not special)
        return list(found["input_ids"])

    def prompt(self, messages: Sequence[Any]) -> list[int]:
        """Ids of the tokens of a prompt.

        As ChatLlama does it: content is tokenised apart from the template, block by block. It is data, so a <|im_end|> in it
        never becomes a control token.
        """
        slots = [{"role": role_of(message), "content": f"{_SLOT}{n}{_SLOT}"} for n, message in enumerate(messages)]
        template = self.tokenizer.apply_chat_template(slots, tokenize=False, add_generation_prompt=True)
        tokens: list[int] = []
        for position, part in enumerate(template.split(_SLOT)):
            if position % 2 == 0:
                tokens += self.tokenise(part, special=True)
            else:
                for text in texts_of(messages[int(part)]):
                    tokens += self.tokenise(text)
        return tokens


def load(folder: Path, adapter: Path | None) -> Weights:
    """Read a model: in bfloat16 on a GPU that torch can use, else in float32.

    Only safetensors are read, which cannot hold code, and no code that lies beside them is run.

    Args:
        folder: as `save_pretrained` leaves it, tokenizer and chat template with it.
        adapter: a folder with a LoRA adapter as PEFT saves it.

    Raises:
        MissingModel: the folder does not hold a whole model.
        CourseError: the model has no chat template, the adapter is broken or another model's, memory does not suffice.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        model, info = loaded
        if adapter is not None:
            model = _with_adapter(model, adapter)
        model.to(device).eval()
    except torch.OutOfMemoryError as error:
        raise CourseError(
            f"{folder} does not fit into the memory of the GPU.", "Close what else uses it, or choose a smaller model."
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise MissingModel(f"{folder} cannot be loaded: {_first_line(error)}", _WHOLE) from error
    if missing := sorted(info["missing_keys"]):
        raise MissingModel(f"{folder} is not a whole model: {missing[0]} is missing.", _WHOLE)
    if not tokenizer.chat_template:
        raise CourseError(f"{folder} has no chat template.", "Choose a model that was made for chat (instruct).")
    ends = model.generation_config.eos_token_id
    named = ends if isinstance(ends, list) else [ends, tokenizer.eos_token_id]
    return Weights(model, tokenizer, frozenset(end for end in named if end is not None))


def _with_adapter(model: Any, adapter: Path) -> Any:
    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError as error:
        raise CourseError("Adapters on transformers need PEFT.", "Run: make finetune") from error
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        saved = load_file(adapter / "adapter_model.safetensors")
        with warnings.catch_warnings():  # of what is told below
            warnings.simplefilter("ignore")
            changed = PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
        wanted = get_peft_model_state_dict(changed).keys()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise CourseError(f"The adapter {adapter} does not fit the model: {_first_line(error)}", _OTHER_ADAPTER) from error
    if saved.keys() != wanted:  # PEFT leaves what is missing as it was made, and only warns
        raise CourseError(f"The adapter {adapter} was made for a model with other layers.", _OTHER_ADAPTER)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in saved.values()):
        raise CourseError(f"The adapter {adapter} holds values that are not finite: its training failed.", _OTHER_ADAPTER)
    return changed


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
