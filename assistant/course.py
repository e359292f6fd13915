"""Opening the course index of the settings; apart from runtime.py so that `lectern sources` need not load a chat model."""

import sqlite3

from assistant.models import model_path
from assistant.settings import Settings
from knowledge.embedding import SentenceEmbedder
from knowledge.errors import CourseError
from knowledge.index import CourseIndex


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
    embedder = SentenceEmbedder(model_path(settings.embedder))
    try:
        if anew:
            CourseIndex.erase(settings.index_dir)
        return CourseIndex(settings.index_dir, embedder)
    except (OSError, sqlite3.DatabaseError) as error:
        remedy = "Check its permissions and the free disk space. If it is damaged, delete that folder and ingest again."
        raise CourseError(f"The index {settings.index_dir} cannot be opened: {error}.", remedy) from error
