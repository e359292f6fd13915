"""Opening the course index of the settings; apart from runtime.py so that `lectern sources` need not load a chat model."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assistant.embedders import embedder_folder
from assistant.settings import Settings
from knowledge.embedding import SentenceEmbedder
from knowledge.errors import CourseError
from knowledge.index import CourseIndex
from knowledge.ingest import files_of


def open_index(settings: Settings, *, anew: bool = False) -> CourseIndex:
    """The course index of the settings, created empty if there is none.

    Args:
        settings: say where it is and which embedder it is for.
        anew: erase what is there first; nothing is lost if the embedder's weights are not here.

    Raises:
        MissingModel: the embedder's weights are not here.
        IndexMismatch: the index was made with another embedder.
        CourseError: its folder cannot be written, or the index is damaged.
    """
    embedder = SentenceEmbedder(embedder_folder(settings))
    with _faults_explained(settings.index_dir):
        if anew:
            CourseIndex.erase(settings.index_dir)
        return CourseIndex(settings.index_dir, embedder)


def recorded_files(settings: Settings) -> list[Path]:
    """The files and folders that the index was made from, also where it cannot be opened because it is another's.

    Raises:
        CourseError: its folder cannot be read, or the index is damaged.
    """
    with _faults_explained(settings.index_dir):
        return files_of(CourseIndex.recorded(settings.index_dir))


@contextmanager
def _faults_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.DatabaseError) as error:
        remedy = "Check its permissions and the free disk space. If it is damaged, delete that folder and ingest again."
        raise CourseError(f"The index {folder} cannot be opened: {error}.", remedy) from error
