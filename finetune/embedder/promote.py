"""An index made with a tuned embedder takes the place of the one in use, and the way back.

The old index is kept. Whatever goes wrong, a kill between the two renames included, either the old or the new one is in its
place after the next `lectern finetune embedder`; `mend` sees to that. A running assistant notices the change and says that it
must be started again.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from assistant.embedders import Tuned, embedder_folder, tuned_embedder, write_pointer
from assistant.settings import Settings
from finetune.embedder.staging import stage
from knowledge.embedding import Embedder, SentenceEmbedder
from knowledge.errors import CourseError
from knowledge.index import CourseIndex

MakeEmbedder = Callable[[Path], Embedder]
_BEFORE = "index.before"


def used_index(settings: Settings, make: MakeEmbedder = SentenceEmbedder) -> CourseIndex:
    """The index in use with the embedder that it was made with.

    Raises:
        CourseError: weights are missing, or the course is empty.
    """
    index = CourseIndex(settings.index_dir, make(embedder_folder(settings)))
    if not index.sources():
        raise CourseError("The course is empty.", "Add material: lectern ingest --starter, or lectern ingest PATH...")
    return index


def promote(
    settings: Settings, staged: Path, tuned: Tuned, starts: Callable[[], object], make: MakeEmbedder = SentenceEmbedder
) -> None:
    """Use the staged index from now on.

    Args:
        settings: say where the index is.
        staged: the index made with the tuned embedder; documents that came since are added to it first.
        tuned: that embedder.
        starts: builds the assistant; what it raises undoes the promotion.
        make: folder -> embedder.

    Raises:
        CourseError: the assistant would not start with it; the old index is back in its place.
        IndexBusy: another process is writing the index.
    """
    starts()  # a fault that was there before is not the new index's
    kept = settings.finetune_dir / _BEFORE
    used = used_index(settings, make)
    write_pointer(staged, tuned)
    with used.writing():
        stage(used, CourseIndex(staged, make(Path(tuned.folder))), settings.retrieval)
        _remove(kept)
        _swap(settings.index_dir, staged, kept)
        try:
            starts()
        except BaseException:
            _swap(settings.index_dir, kept, staged)
            raise


def rollback(settings: Settings, make: MakeEmbedder = SentenceEmbedder) -> str:
    """Go back to the index before the last promotion, with the documents that the course has now; returns the tuned one's name.

    Raises:
        CourseError: there is nothing to go back to.
        IndexBusy: another process is writing the index.
    """
    kept, tuned = settings.finetune_dir / _BEFORE, tuned_embedder(settings)
    if tuned is None or not kept.is_dir():
        raise CourseError("No tuned embedder is in use.", "Train and promote one: lectern finetune embedder")
    used = used_index(settings, make)
    away = staged_folder(settings, tuned.name)
    with used.writing():
        stage(used, CourseIndex(kept, make(embedder_folder(settings, kept))), settings.retrieval)
        away.parent.mkdir(parents=True, exist_ok=True)
        _remove(away)
        _swap(settings.index_dir, kept, away)
    return tuned.name


def mend(settings: Settings) -> None:
    """Put the old index back where a promotion or rollback was killed between its two renames."""
    kept = settings.finetune_dir / _BEFORE
    if not CourseIndex.recorded(kept) or CourseIndex.recorded(settings.index_dir):
        return
    _remove(settings.index_dir)  # empty: made by whoever looked for a course meanwhile
    kept.rename(settings.index_dir)


def staged_folder(settings: Settings, name: str) -> Path:
    """Where the index of a run lies while it is not in use."""
    return settings.finetune_dir / "runs" / name / "index"


def _swap(used: Path, new: Path, kept: Path) -> None:
    """`used` becomes `kept`, then `new` becomes `used`; if the second fails, the first is undone."""
    try:
        used.rename(kept)
        new.rename(used)
    except BaseException:
        if kept.exists() and not used.exists():
            kept.rename(used)
        raise


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
