"""Files -> index: idempotent by content hash, atomic per document, resumable by running it again."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import file_digest
from pathlib import Path

from knowledge.chunking import chunk
from knowledge.errors import IndexBusy, UnreadableFile
from knowledge.index import CourseIndex
from knowledge.loaders.builder import pretty
from knowledge.loaders.discover import Found, Rejected, discover
from knowledge.loaders.load import MAX_BYTES, load
from knowledge.loaders.recording import MAX_BYTES as MAX_RECORDING_BYTES
from knowledge.loaders.recording import Spoken, Transcriber, is_recording
from knowledge.passage import Document
from knowledge.settings import ChunkingSettings
from knowledge.suspects import Inspect as Inspect
from knowledge.suspects import Suspect as Suspect
from knowledge.suspects import suspects, without_planted_headings

_BATCH = 64  # passages embedded between two progress reports
_BUSY_S = 1.0  # between two looks whether the index is free

STARTER_COURSE = Path(__file__).with_name("course")
_STARTER_PREFIX = "course/"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an ingest stands.

    Attributes:
        remaining_s: of a recording that is being heard, for this one; else for all. None until a rate is known.
        heard_s, recording_s: seconds of the recording `file` that were heard so far, and in all; 0 of other files.
    """

    done_files: int
    total_files: int
    file: str
    passages: int
    passages_per_s: float
    remaining_s: float | None
    heard_s: float = 0.0
    recording_s: float = 0.0

    @property
    def name(self) -> str:
        """The file without its folder, and how much of it was heard."""
        name = Path(self.file).name
        return f"{name}, {self.heard_s / 60:.0f} of {self.recording_s / 60:.0f} min" if self.recording_s else name


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not taken, and why."""

    path: str
    reason: str


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
    transcribe: Transcriber | None = None,
) -> IngestReport:
    """Bring files and folders into the index: recordings last, because listening takes long.

    Args:
        index: where to.
        paths: files, or folders that are taken recursively; the starter course's folder is known by its own source names.
        on_progress: called at least once a file and once every 64 passages, in this thread.
        stop: set it to end after the current batch; what is complete stays, a rerun goes on from there.
        chunking: sizes of passages and sections.
        inspect: finds sentences that speak to the assistant; they stay, but are reported, and no title or heading holds them.
        transcribe: listens to recordings; without it they are skipped.

    Returns:
        What was added, replaced, left alone and skipped with its reason, and what to look at. Bad files never raise.

    Raises:
        IndexBusy: another process is writing this index.
    """
    tell, stop, chunking = on_progress or (lambda _: None), stop or threading.Event(), chunking or ChunkingSettings()
    return _Run(index, tell, stop, chunking, inspect, transcribe).run(paths)


class _Stopped(BaseException):
    """The caller set `stop` half-way through a document; no Exception, which a loader would take for a damaged file."""


class _Run:
    """One call of `ingest`: its inputs, its report and its clock."""

    def __init__(
        self,
        index: CourseIndex,
        on_progress: Callable[[Progress], None],
        stop: threading.Event,
        chunking: ChunkingSettings,
        inspect: Inspect | None,
        transcribe: Transcriber | None,
    ) -> None:
        self._index, self._tell, self._stop, self._chunking = index, on_progress, stop, chunking
        self._inspect: Inspect = inspect or (lambda _: ())
        self._transcribe = transcribe
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
        fingerprints = {item: _fingerprint(item.path) for item in found}
        self._total, self._bytes_total = len(found), sum(size for size, _ in fingerprints.values())
        with self._index.writing():
            self._take_all({item: print_ for item, print_ in fingerprints.items() if not is_recording(item.path)})
        self._take_all({item: print_ for item, print_ in fingerprints.items() if is_recording(item.path)})
        self._report.seconds = time.monotonic() - self._started
        return self._report

    def _take_all(self, fingerprints: dict[Found, tuple[int, str]]) -> None:
        hashes = {source_name(item): hash_ for item, (_, hash_) in fingerprints.items()}
        known = self._index.catalogue.hashes()
        # A file of this run that has changed gives up its old content: another may have it now, by a change of names.
        owners = {hash_: source for source, hash_ in known.items() if hashes.get(source, hash_) == hash_}
        for item, (size, hash_) in fingerprints.items():
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

    def _take(self, item: Found, content_hash: str, known: dict[str, str], owners: dict[str, str]) -> None:
        source = source_name(item)
        if known.get(source) == content_hash:
            self._report.unchanged += 1
            return
        if content_hash in owners and source not in known:
            raise UnreadableFile(f"same content as {owners[content_hash]}, which is in the index.")
        if is_recording(item.path):
            document = load(item.path, source, partial(self._hear, self._transcribe) if self._transcribe else None)
            with self._held():
                self._put(item, document)
        else:
            document = load(item.path, source)
            self._put(item, document)
        (self._report.replaced if source in known else self._report.added).append(source)
        known[source] = document.content_hash
        owners[document.content_hash] = source

    def _hear(self, transcribe: Transcriber, path: Path) -> Iterator[Spoken]:
        began = time.monotonic()

        def tell(heard_s: float, recording_s: float) -> None:
            remaining = (time.monotonic() - began) / heard_s * (recording_s - heard_s) if heard_s else None
            self._progress(str(path), heard_s, recording_s, remaining)

        yield from transcribe(path, tell, self._stop.is_set)
        if self._stop.is_set():  # it may have ended early
            raise _Stopped

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the index for writing as soon as nobody else does: what took minutes to hear is worth waiting a little."""
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(self._index.writing())
                    break
                except IndexBusy:
                    if self._stop.wait(_BUSY_S):
                        raise _Stopped from None
            yield

    def _put(self, item: Found, document: Document) -> None:
        if self._inspect(document.title):
            name = pretty(item.path.stem)
            document = replace(document, title="Untitled" if self._inspect(name) else name)
        sections, passages = chunk(document, self._index.embedder.count_tokens, self._chunking)
        if not passages:
            raise UnreadableFile("no text in it that could be cited.")
        found = list(suspects(str(item.path), document, passages, self._inspect))
        sections, passages = without_planted_headings(sections, passages, self._inspect)
        for start in range(0, len(passages), _BATCH):
            if self._stop.is_set():
                raise _Stopped
            batch = passages[start : start + _BATCH]
            self._index.embed(batch)
            self._embedded += len(batch)
            self._progress(str(item.path))
        self._index.put(document, sections, passages)
        self._report.passages += len(passages)
        self._report.suspects += found

    def _progress(self, file: str, heard_s: float = 0.0, recording_s: float = 0.0, remaining: float | None = None) -> None:
        seconds = time.monotonic() - self._started
        rate = self._embedded / seconds if seconds > 0 else 0.0
        if not recording_s and self._bytes_done and self._embedded:
            remaining = seconds / self._bytes_done * (self._bytes_total - self._bytes_done)
        self._tell(Progress(self._done, self._total, file, self._embedded, rate, remaining, heard_s, recording_s))


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
        if size > (MAX_RECORDING_BYTES if is_recording(path) else MAX_BYTES):
            return size, ""
        with path.open("rb") as file:
            return size, file_digest(file, "sha256").hexdigest()
    except OSError:
        return 0, ""
