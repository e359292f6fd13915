"""Which embedder an index belongs to: the one of the settings, or one that was tuned on the course and promoted.

`lectern finetune embedder` writes embedder.json into an index that it has made with a tuned embedder. The file moves with the
index, so vectors and the weights that made them are never of two kinds, whenever the index is replaced.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from assistant.models import model_path
from assistant.settings import Settings
from knowledge.embedding import Embedder, SentenceEmbedder
from knowledge.errors import CourseError, MissingModel

POINTER = "embedder.json"


@dataclass(frozen=True, slots=True)
class Tuned:
    """A promoted embedder.

    Attributes:
        name: of the run that made it.
        base: `settings.embedder` that it was made from; with another one in the settings it is not used.
        folder: of its weights.
    """

    name: str
    base: str
    folder: str


def tuned_embedder(settings: Settings, index_dir: Path | None = None) -> Tuned | None:
    """The promoted embedder of an index (that of the settings if none is named); None if it has none, or another base's.

    Raises:
        CourseError: its file is damaged.
    """
    path = (index_dir or settings.index_dir) / POINTER
    try:
        found = Tuned(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):  # whoever opens the index says what is wrong with it
        return None
    except (OSError, ValueError, TypeError) as error:
        raise CourseError(f"{path} cannot be read: {error}.", _REMEDY) from error
    return found if found.base == settings.embedder else None


def embedder_folder(settings: Settings, index_dir: Path | None = None) -> Path:
    """The folder of the weights that an index (that of the settings if none is named) was made with.

    Raises:
        MissingModel: they are not there.
        CourseError: the index's embedder.json is damaged.
    """
    tuned = tuned_embedder(settings, index_dir)
    if tuned is None:
        return model_path(settings.embedder)
    folder = Path(tuned.folder)
    if not folder.is_dir():
        raise MissingModel(f"The tuned embedder {tuned.name} is not in {folder}.", _REMEDY)
    return folder


def guards_embedder(settings: Settings, course: Embedder) -> Embedder:
    """What the classifier of orders to the assistant reads with.

    It has learnt the vectors of the embedder in the settings. Beside a tuned one that embedder is loaded as well: 90 MB, and
    about 20 ms a question.

    Args:
        settings: of the assistant.
        course: the embedder of the open index.
    """
    return SentenceEmbedder(model_path(settings.embedder)) if tuned_embedder(settings) else course


def write_pointer(index_dir: Path, tuned: Tuned) -> None:
    """Say in an index that nobody uses yet with which tuned embedder it was made."""
    (index_dir / POINTER).write_text(json.dumps(asdict(tuned), indent=1), encoding="utf-8")


_REMEDY = f"Remove the index's {POINTER} and run: lectern ingest --rebuild"
