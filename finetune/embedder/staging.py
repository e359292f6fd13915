"""The course's index made anew with another embedder, beside the one in use.

Documents, sections and passages are taken from the index in use, so no file is read again and every passage keeps its id.
"""

from collections.abc import Callable
from itertools import groupby

from knowledge import calibrated
from knowledge.calibration import STALE, calibrate
from knowledge.index import CourseIndex
from knowledge.retrieval import RELEVANCE_WEIGHTS
from knowledge.settings import RetrievalSettings

_BATCH = 64  # passages embedded between two progress reports


def stage(
    used: CourseIndex, staged: CourseIndex, settings: RetrievalSettings, tell: Callable[[int, int], None] | None = None
) -> None:
    """Bring `staged` to the documents of `used`, and calibrate its threshold. Run again, it goes on or catches up.

    Args:
        used: is only read.
        staged: with the new embedder.
        settings: of the search, for the calibration.
        tell: called with (passages done, of how many).

    Raises:
        IndexBusy: another process is writing `staged`.
    """
    wanted, there = used.catalogue.hashes(), staged.catalogue.hashes()
    for source in there.keys() - wanted.keys():
        staged.remove(source)
    passages = used.catalogue.all_passages()
    sections = used.sections()
    done, document = 0, None
    with staged.writing():
        for document_id, group in groupby(passages, key=lambda passage: passage.document_id):
            own = list(group)
            document = used.document(document_id)
            if document is not None and there.get(document.source) != document.content_hash:
                for start in range(0, len(own), _BATCH):
                    staged.embed(own[start : start + _BATCH])
                    if tell:
                        tell(done + min(start + _BATCH, len(own)), len(passages))
                staged.put(document, [section for section in sections if section.document_id == document_id], own)
            done += len(own)
            if tell:
                tell(done, len(passages))
        if document is not None:
            # A running assistant notices a change by this number alone; see knowledge/index.py.
            while staged.catalogue.generation <= used.catalogue.generation:
                staged.catalogue.put(document, [section for section in sections if section.document_id == document_id], own)
    _calibrate(used, staged, settings)


def _calibrate(used: CourseIndex, staged: CourseIndex, settings: RetrievalSettings) -> None:
    """Fit the threshold to the new similarities, with the share of false refusals that the index in use was fitted for.

    An index that was never calibrated is followed in that too: its successor differs from it by the embedder alone.
    """
    before = calibrated.read(used.folder, used.embedder.identity, RELEVANCE_WEIGHTS)
    own = calibrated.read(staged.folder, staged.embedder.identity, RELEVANCE_WEIGHTS)
    if before and not (own and own.changed(staged.catalogue.passage_ids()) <= STALE and own.target == before.target):
        calibrated.write(staged.folder, calibrate(staged, settings, false_refusals=before.target))
