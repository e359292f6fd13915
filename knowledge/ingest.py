"""Files -> index: idempotent by content hash, atomic per document, resumable by running it again."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import file_digest
from pathlib import Path

from knowledge.chunking import chunk
from knowledge.errors import UnreadableFile
from knowledge.index import CourseIndex
from knowledge.loaders.builder import pretty
from knowledge.loaders.discover import Found, Rejected, discover
from knowledge.loaders.load import MAX_BYTES, load
from knowledge.passage import Document, Passage, Section
from knowledge.settings import ChunkingSettings

Inspect = Callable[[str], Sequence[tuple[int, int]]]  # where a text speaks to the assistant instead of the reader

_SHOWN = 160  # characters of what a suspect says
_BATCH = 64  # passages embedded between two progress reports

STARTER_COURSE = Path(__file__).with_name("course")
_STARTER_PREFIX = "course/"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an ingest stands; `remaining_s` is None until a rate is known."""

    done_files: int
    total_files: int
    file: str
    passages: int
    passages_per_s: float
    remaining_s: float | None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not taken, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """What the one who added a file should look at.

    Attributes:
        path: the file.
        what: "hidden text left out" or "instructions to the assistant".
        places: how many there are.
        first: the words of the first one; instructions go before anything else.
        where: why it is not seen, or where it stands.
    """

    path: str
    what: str
    places: int
    first: str
    where: str

    def __str__(self) -> str:
        """One line without Markdown or control characters of the file's own."""
        words = "".join(char for char in self.first if char.isprintable() and char not in "`<>[]")
        shown = words if len(words) <= _SHOWN else f"{words[:_SHOWN]}\u2026"
        places = "1 place" if self.places == 1 else f"{self.places} places, first"
        return f'{self.what}: {places}: "{shown}" ({self.where})'


@dataclass(slots=True)
class IngestReport:
    """What an ingest did. `added` and `replaced` hold sources; `passages` counts the new ones."""

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    passages: int = 0
    seconds: float = 0.0
    stopped: bool = False


def ingest(
    index: CourseIndex,
    paths: Sequence[Path],
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    chunking: ChunkingSettings | None = None,
    inspect: Inspect | None = None,
) -> IngestReport:
    """Bring files and folders into the index.

    Args:
        index: where to.
        paths: files, or folders that are taken recursively; the starter course's folder is known by its own source names.
        on_progress: called at least once a file and once every 64 passages, in this thread.
        stop: set it to end after the current batch; what is complete stays, a rerun goes on from there.
        chunking: sizes of passages and sections.
        inspect: finds sentences that speak to the assistant; they stay, but are reported, and no title or heading holds them.

    Returns:
        What was added, replaced, left alone and skipped with its reason, and what to look at. Bad files never raise.

    Raises:
        IndexBusy: another process is writing this index.
    """
    run = _Run(index, on_progress or (lambda _: None), stop or threading.Event(), chunking or ChunkingSettings(), inspect)
    return run.run(paths)


class _Stopped(Exception):
    """The caller set `stop` while a document was being embedded."""


class _Run:
    """One call of `ingest`: its inputs, its report and its clock."""

    def __init__(
        self,
        index: CourseIndex,
        on_progress: Callable[[Progress], None],
        stop: threading.Event,
        chunking: ChunkingSettings,
        inspect: Inspect | None,
    ) -> None:
        self._index, self._tell, self._stop, self._chunking = index, on_progress, stop, chunking
        self._inspect: Inspect = inspect or (lambda _: ())
        self._report = IngestReport()
        self._started = time.monotonic()
        self._done = self._total = self._embedded = 0
        self._bytes_done = self._bytes_total = 0

    def run(self, paths: Sequence[Path]) -> IngestReport:
        found: list[Found] = []
        for item in discover(paths):
            if isinstance(item, Rejected):
                self._report.skipped.append(Skipped(str(item.path), item.reason))
            else:
                found.append(item)
        fingerprints = [_fingerprint(item.path) for item in found]
        self._total, self._bytes_total = len(found), sum(size for size, _ in fingerprints)
        hashes = {source_name(item): hash_ for item, (_, hash_) in zip(found, fingerprints, strict=True)}
        with self._index.writing():
            known = self._index.catalogue.hashes()
            # A file of this run that has changed gives up its old content: another may have it now, by a change of names.
            owners = {hash_: source for source, hash_ in known.items() if hashes.get(source, hash_) == hash_}
            for item, (size, hash_) in zip(found, fingerprints, strict=True):
                if self._stop.is_set():
                    self._report.stopped = True
                    break
                self._progress(str(item.path))
                try:
                    self._take(item, hash_, known, owners)
                except UnreadableFile as error:
                    self._report.skipped.append(Skipped(str(item.path), str(error)))
                except _Stopped:
                    self._report.stopped = True
                    break
                self._done += 1
                self._bytes_done += size
                self._progress(str(item.path))
        self._report.seconds = time.monotonic() - self._started
        return self._report

    def _take(self, item: Found, content_hash: str, known: dict[str, str], owners: dict[str, str]) -> None:
        source = source_name(item)
        if known.get(source) == content_hash:
            self._report.unchanged += 1
            return
        if content_hash in owners and source not in known:
            raise UnreadableFile(f"same content as {owners[content_hash]}, which is in the index.")
        document = load(item.path, source)
        if self._inspect(document.title):
            name = pretty(item.path.stem)
            document = replace(document, title="Untitled" if self._inspect(name) else name)
        count_tokens = self._index.embedder.count_tokens
        sections, passages = chunk(document, count_tokens, self._chunking)
        if not passages:
            raise UnreadableFile("no text in it that could be cited.")
        suspects = list(_suspects(str(item.path), document, passages, self._inspect))
        sections, passages = self._without_planted_headings(sections, passages)
        for start in range(0, len(passages), _BATCH):
            if self._stop.is_set():
                raise _Stopped
            batch = passages[start : start + _BATCH]
            self._index.embed(batch)
            self._embedded += len(batch)
            self._progress(str(item.path))
        self._index.put(document, sections, passages)
        self._report.passages += len(passages)
        self._report.suspects += suspects
        (self._report.replaced if source in known else self._report.added).append(source)
        known[source] = document.content_hash
        owners[document.content_hash] = source

    def _without_planted_headings(
        self, sections: list[Section], passages: list[Passage]
    ) -> tuple[list[Section], list[Passage]]:
        """Headings stand above every prompt about their section."""
        headings = {heading for passage in passages for heading in passage.heading}
        planted = {heading for heading in headings if self._inspect(heading)}
        if not planted:
            return sections, passages

        def cleared(heading: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(part for part in heading if part not in planted)

        return (
            [replace(section, heading=cleared(section.heading)) for section in sections],
            [replace(passage, heading=cleared(passage.heading)) for passage in passages],
        )

    def _progress(self, file: str) -> None:
        seconds = time.monotonic() - self._started
        rate = self._embedded / seconds if seconds > 0 else 0.0
        remaining = None
        if self._bytes_done and self._embedded:
            remaining = seconds / self._bytes_done * (self._bytes_total - self._bytes_done)
        self._tell(Progress(self._done, self._total, file, self._embedded, rate, remaining))


def _suspects(path: str, document: Document, passages: Sequence[Passage], inspect: Inspect) -> Iterator[Suspect]:
    """What is hidden in a file, and what in it speaks to the assistant; usual hidden text counts only if it does that."""
    planted = [hidden for hidden in document.hidden if inspect(hidden.text)]
    hidden = planted + [hidden for hidden in document.hidden if not hidden.usual and hidden not in planted]
    if hidden:
        page = f", page {hidden[0].page}" if hidden[0].page else ""
        speaks = ", speaks to the assistant" if planted else ""
        yield Suspect(path, "hidden text left out", len(hidden), hidden[0].text, f"{hidden[0].how}{page}{speaks}")
    places = [("in the name of the file", name)] if inspect(name := pretty(Path(path).stem)) else []
    headings = dict.fromkeys(heading for passage in passages for heading in passage.heading)
    places += [("a heading", heading) for heading in headings if inspect(heading)]
    for passage in passages:
        where = f"page {passage.page}" if passage.page else " > ".join(passage.heading) or document.title
        places += [(where, passage.text[start:end]) for start, end in inspect(passage.text)]
    if places:
        yield Suspect(path, "instructions to the assistant", len(places), " ".join(places[0][1].split()), places[0][0])


def source_name(item: Found) -> str:
    """How a file is called in the index: its path, or `course/<file>` for a lesson of the starter course."""
    path = Path(item.source)
    return f"{_STARTER_PREFIX}{path.name}" if path.parent == STARTER_COURSE.resolve() else item.source


def files_of(sources: Iterable[str]) -> list[Path]:
    """The files or folders that an ingest would have to take for `sources` to be in the index again."""
    return sorted({STARTER_COURSE if source.startswith(_STARTER_PREFIX) else Path(source) for source in sources})


def _fingerprint(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256; no hash of a file that `load` will refuse by its size, or because it cannot be opened."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            return size, ""
        with path.open("rb") as file:
            return size, file_digest(file, "sha256").hexdigest()
    except OSError:
        return 0, ""
