"""Six lessons of the starter course in an index without weights, and the rows that are made of them, once for all tests."""

import atexit
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from conftest import BagOfWordsEmbedder

import knowledge.course
from assistant.settings import Settings
from finetune.data.build import Course, Wanted, make_pairs, make_rows, open_course
from finetune.data.decontaminate import read_cases
from finetune.data.grounded import Made
from finetune.data.production import Production
from finetune.rows import Pair
from knowledge.index import CourseIndex
from knowledge.ingest import ingest

LESSONS = ("09", "12", "15", "21", "28", "31")
WANTED = Wanted(rows=60, pairs=20, seed=3, held=0.34)


@cache
def lesson_index() -> CourseIndex:
    """The index; only read it."""
    folder = TemporaryDirectory(prefix="lectern-rows-")
    atexit.register(folder.cleanup)
    index = CourseIndex(Path(folder.name), BagOfWordsEmbedder())
    lessons = Path(next(iter(knowledge.course.__path__)))
    ingest(index, [path for path in sorted(lessons.glob("*.md")) if path.name[:2] in LESSONS])
    return index


@cache
def production() -> Production:
    """The chain of the default settings on that index."""
    return Production(lesson_index(), Settings())


@cache
def built() -> tuple[Course, list[Made], list[Pair]]:
    """The course with its rows and rule-made pairs."""
    course, asked = open_course(production(), read_cases(), WANTED)
    made = make_rows(course, asked, frozenset(), lambda *_: None)
    return course, made, make_pairs(course, made, None, "", frozenset(), lambda *_: None)


def some(kind: str, number: int = 0) -> Made:
    """One of the rows of a kind."""
    found = [one for one in built()[1] if one.row.kind == kind]
    Random(0).shuffle(found)
    return found[number]
