"""GGUF files with the package gguf: what a model's file says of itself, and writing one so that nobody sees half of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from knowledge.errors import CourseError


def import_gguf() -> Any:
    """The package gguf.

    Raises:
        CourseError: it is not installed.
    """
    try:
        import gguf
    except ModuleNotFoundError as error:
        raise CourseError("The package gguf is not installed.", "Run: make finetune") from error
    return gguf


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file that has been read; tensors are mapped, not loaded.

    Attributes:
        path: of the file.
        fields: metadata by key, as gguf.ReaderField.
        tensors: gguf.ReaderTensor by name, in the order of the file.
    """

    path: Path
    fields: dict[str, Any]
    tensors: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "GgufFile":
        """Open a file.

        Raises:
            CourseError: it cannot be read or is no GGUF file.
        """
        gguf = import_gguf()
        try:
            reader = gguf.GGUFReader(path)
        except (OSError, ValueError, LookupError, OverflowError) as error:  # what damaged headers make of it
            raise CourseError(f"{path} cannot be read as GGUF: {error}.", "Make or fetch the file anew.") from error
        return cls(path, dict(reader.fields), {tensor.name: tensor for tensor in reader.tensors})

    def text(self, key: str) -> str:
        """A text of the metadata; empty if it is not there."""
        field = self.fields.get(key)
        return str(field.contents()) if field else ""

    @cached_property
    def architecture(self) -> str:
        """For example "llama" or "qwen2"."""
        return self.text("general.architecture")

    @property
    def model_arch(self) -> Any:
        """The architecture as gguf.MODEL_ARCH."""
        gguf = import_gguf()
        return next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == self.architecture)

    def number(self, key: str, default: int | None = None) -> int:
        """A number of the architecture, for example "block_count".

        Raises:
            CourseError: it is not there, and there is no default.
        """
        field = self.fields.get(f"{self.architecture}.{key}")
        if field is None and default is None:
            raise CourseError(f"{self.path} does not say its {key}.", "Make or fetch the file anew.")
        return int(field.contents()) if field else int(default or 0)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor, as numpy and PyTorch count: (out, in). GGUF counts the other way round."""
        return tuple(int(size) for size in reversed(self.tensors[name].shape))


@contextmanager
def written(out: Path) -> Iterator[Path]:
    """A path to write to, which becomes `out` when the block has ended without an exception, and is removed otherwise.

    Raises:
        CourseError: the disk is full, or the folder may not be written to.
    """
    part = out.with_name(f"{out.name}.part")  # one name: what a killed process leaves is overwritten by the next
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CourseError(
            f"{out} cannot be written: {error.strerror or error}.", "Make room, or choose another folder."
        ) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
