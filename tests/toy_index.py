"""The toy course in an index that is built once, for the tests that only read it."""

import atexit
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from conftest import COURSE, BagOfWordsEmbedder

from knowledge.index import CourseIndex
from knowledge.ingest import ingest


@cache
def toy_index() -> CourseIndex:
    """As the fixture `ingested`, which tests that write should take."""
    folder = TemporaryDirectory(prefix="lectern-toy-")
    atexit.register(folder.cleanup)
    course = Path(folder.name, "toy")
    course.mkdir()
    for name, text in COURSE.items():
        (course / name).write_text(text, encoding="utf-8")
    index = CourseIndex(Path(folder.name, "index"), BagOfWordsEmbedder())
    ingest(index, [course])
    return index
