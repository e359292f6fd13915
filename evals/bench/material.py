"""Course sections to measure with: the user's own course, else the starter course, which needs no index and no embedder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from assistant.course import open_index
from assistant.settings import Settings
from knowledge.chunking import chunk
from knowledge.ingest import STARTER_COURSE
from knowledge.loaders.load import load
from knowledge.passage import Passage
from knowledge.settings import ChunkingSettings

_OPENING = 6  # words


@dataclass(frozen=True, slots=True)
class Chapter:
    """A section of a course with its passages in reading order."""

    id: str
    passages: tuple[Passage, ...]

    @property
    def subject(self) -> str:
        """What to ask about."""
        first = self.passages[0]
        return first.heading[-1] if first.heading else first.title

    @property
    def openings(self) -> list[str]:
        """The first words of each passage, to point at it."""
        return [" ".join(passage.text.split()[:_OPENING]) for passage in self.passages]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(passage.text for passage in self.passages)


def own_course(settings: Settings) -> list[Chapter]:
    """The sections of the index in use; none if there is no index. Creates nothing."""
    if not settings.index_dir.is_dir():
        return []
    index = open_index(settings)
    chapters = [Chapter(section.id, index.section_passages(section.id)) for section in index.sections()]
    return [chapter for chapter in chapters if chapter.passages]


def starter_course(count_tokens: Callable[[str], int], chunking: ChunkingSettings) -> list[Chapter]:
    """The sections of the starter course, cut by the given tokenizer."""
    chapters = []
    for path in sorted(STARTER_COURSE.glob("*.md")):
        _, passages = chunk(load(path, f"course/{path.name}"), count_tokens, chunking)
        chapters += [Chapter(id_, tuple(members)) for id_, members in groupby(passages, key=lambda p: p.section_id)]
    return chapters


def spread_over(chapters: Sequence[Chapter], count: int, count_tokens: Callable[[str], int]) -> list[Chapter]:
    """Up to `count` sections from all over the course, of those that are long enough to be typical."""
    sizes = sorted(count_tokens(chapter.text) for chapter in chapters)
    least = sizes[len(sizes) // 2] if sizes else 0
    typical = [chapter for chapter in chapters if count_tokens(chapter.text) >= least]
    step = max(1, len(typical) // count)
    return typical[::step][:count]
