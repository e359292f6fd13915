"""The base model in the form that transformers trains: a Hugging Face folder, made once from the GGUF that is served."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assistant.models import model_path, sha256_of
from assistant.settings import load_settings
from knowledge.errors import CourseError

FOLDER_PREFIX = "hf:"
_MARK = "lectern.json"  # what a folder was made from; written last
_EXTRA = "Run: make finetune"

Say = Callable[[str], None]


def base_model(name: str, say: Say = lambda _: None) -> Path:
    """The Hugging Face folder of a base model: weights in float16, tokenizer, chat template.

    A GGUF file is dequantised once, into settings.finetune_dir/bases/<its SHA-256>; training then sees the weights that are
    served, up to the rounding to float16 (2^-11, a hundredth of what four bits cost). `hf:FOLDER` stands for that folder.

    Args:
        name: of `lectern models list`, a .gguf file, or hf:FOLDER.
        say: told before a conversion, which takes a minute for 0.5B.

    Raises:
        CourseError: the extra is missing, the disk is full, or the file is no model that transformers knows.
        MissingModel: no such model, or its weights are not in the cache.
    """
    if name.startswith(FOLDER_PREFIX):
        folder = Path(name.removeprefix(FOLDER_PREFIX)).expanduser().absolute()
        if not (folder / "config.json").is_file():
            raise CourseError(f"{folder} is not a Hugging Face model folder.", "Give one that holds config.json and weights.")
        return folder
    gguf = model_path(name)
    if gguf.suffix != ".gguf":
        raise CourseError(f"{name} is not a chat model.", "See `lectern models list`.")
    digest = base_sha256(name)
    bases = load_settings().finetune_dir / "bases"
    folder = bases / digest
    if (folder / _MARK).is_file():
        return folder

    from filelock import FileLock

    bases.mkdir(parents=True, exist_ok=True)
    with FileLock(bases / f"{digest}.lock"):  # several processes may start at once under `accelerate launch`
        if not (folder / _MARK).is_file():
            say(f"Making a trainable copy of {name}, once ...")
            _convert(gguf, digest, folder)
    return folder


def base_sha256(name: str) -> str:
    """What a base is known by: the SHA-256 of its GGUF; of hf:FOLDER, of its config and weight files' hashes, in order.

    Raises:
        MissingModel: no such model, or its weights are not in the cache.
    """
    if not name.startswith(FOLDER_PREFIX):
        return sha256_of(model_path(name), lambda _: None)
    folder = base_model(name)
    whole = hashlib.sha256()
    for file in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        whole.update(sha256_of(file, lambda _: None).encode())
    return whole.hexdigest()


def _convert(gguf: Path, digest: str, folder: Path) -> None:
    try:
        import gguf as reader_library
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
        from transformers.utils import logging
    except ImportError as error:
        raise CourseError(f"Training needs {error.name}, which is not installed.", _EXTRA) from error

    logging.disable_progress_bar()
    reader = reader_library.GGUFReader(gguf)
    need = sum(int(tensor.n_elements) for tensor in reader.tensors) * 2 + (64 << 20)
    require_disk(folder.parent, need, "a trainable copy of the base model")
    temporary = Path(tempfile.mkdtemp(prefix="making-", dir=folder.parent))
    try:
        # Without dequantize=True transformers takes the model for one that can neither be trained nor saved.
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float16, quantization_config=GgufConfig(dequantize=True)
        )
        model.save_pretrained(temporary)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        _split_as_served(tokenizer, reader)
        tokenizer.save_pretrained(temporary)
        mark = {"gguf": gguf.name, "sha256": digest}
        (temporary / _MARK).write_text(json.dumps(mark, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # one without its mark is a leftover
        temporary.replace(folder)
    except ValueError as error:
        raise CourseError(f"{gguf} cannot be made trainable: {error}", "Choose a llama or qwen2 model.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _split_as_served(tokenizer: Any, reader: Any) -> None:
    """SmolLM splits off digits before anything else; transformers forgets that, and "  1" would become other tokens."""
    field = reader.get_field("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

        steps = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(steps)


def require_disk(folder: Path, need: int, what: str) -> None:
    """Refuse to start what the disk has no room for.

    Args:
        folder: where it shall lie; exists.
        need: bytes.
        what: for the message.

    Raises:
        CourseError: there are fewer bytes free.
    """
    free = shutil.disk_usage(folder).free
    if free < need:
        raise CourseError(
            f"{what[0].upper()}{what[1:]} needs {need / 1e9:.1f} GB in {folder}, but {free / 1e9:.1f} GB are free.",
            "Free some space (old runs are in finetune/runs), or set LECTERN_DATA_DIR to a larger disk.",
        )
