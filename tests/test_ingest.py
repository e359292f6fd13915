"""Files to index: idempotent, atomic, resumable."""

import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from conftest import BagOfWordsEmbedder

from knowledge.embedding import Vectors
from knowledge.index import CourseIndex
from knowledge.ingest import STARTER_COURSE, IngestReport, Progress, ingest
from knowledge.retrieval import CourseRetriever
from knowledge.sentences import sentence_spans

pytestmark = pytest.mark.usefixtures("processes")

Content = dict[str, tuple[str, tuple[str, ...]]]


class CountingEmbedder(BagOfWordsEmbedder):
    def __init__(self) -> None:
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.embedded.extend(texts)
        return super().embed(texts)


@pytest.fixture
def embedder() -> CountingEmbedder:
    return CountingEmbedder()


def names(sources: Sequence[str]) -> list[str]:
    return [Path(source).name for source in sources]


def reasons(report: IngestReport) -> dict[str, str]:
    return {Path(skipped.path).name: skipped.reason for skipped in report.skipped}


def content(index: CourseIndex) -> Content:
    """File name to content hash and passage ids: whatever two equal indexes have in common."""
    passages = index.catalogue.all_passages()
    return {
        Path(source).name: (hash_, tuple(p.id for p in passages if p.source == source))
        for source, hash_ in index.catalogue.hashes().items()
    }


def stored(index: CourseIndex) -> set[str]:
    from knowledge.store import VectorStore

    store = VectorStore(index.folder / "chroma", index.embedder)
    ids = store.ids()
    store.close()
    assert len(ids) == len(set(ids))
    return set(ids)


def big(marker: str, passages: int = 150) -> str:
    return "\n\n".join(f"# {marker}{i}\n\nThe {marker} number {i} is told apart by word{i}." for i in range(passages))


# What an ingest does


def test_a_second_run_embeds_nothing_and_opens_no_chroma(ingested, embedder, course_dir, monkeypatch):
    passages = ingested.catalogue.all_passages()
    assert len(passages) > 5
    sentences = {p.text[a:b] for p in passages for a, b in sentence_spans(p.text)}
    assert sorted(embedder.embedded) == sorted([*(p.searchable for p in passages), *sentences])  # each once
    embedder.embedded.clear()
    fresh = CourseIndex(ingested.folder, embedder)
    monkeypatch.setattr("knowledge.store.VectorStore", None)
    monkeypatch.setattr(embedder, "count_tokens", None)  # nor is anything cut, which would load the model
    before = fresh.catalogue.generation
    report = ingest(fresh, [course_dir])
    assert (report.unchanged, report.added, report.replaced, report.passages, embedder.embedded) == (3, [], [], 0, [])
    assert fresh.catalogue.generation == before


def test_a_change_replaces_its_document_and_no_other(ingested, embedder, course_dir):
    before = content(ingested)
    embedder.embedded.clear()
    (course_dir / "plants.md").write_text("# Fungi\n\nFungi are no plants.")
    (course_dir / "new.md").write_text("# New\n\nA quokka.")
    report = ingest(ingested, [course_dir])
    assert (names(report.added), names(report.replaced), report.unchanged) == (["new.md"], ["plants.md"], 2)
    assert report.passages == 2
    assert sorted(embedder.embedded) == sorted(
        ["Fungi\nFungi are no plants.", "Fungi are no plants.", "New\nA quokka.", "A quokka."]
    )
    after = content(ingested)
    assert {name for name in after if after[name] != before.get(name)} == {"new.md", "plants.md"}
    assert stored(ingested) == set(ingested.catalogue.passage_ids())
    assert ingested.lexical().search("photosynthesis", 5) == []


def test_a_file_that_is_gone_stays_until_it_is_removed(ingested, course_dir):
    (course_dir / "plants.md").unlink()
    assert ingest(ingested, [course_dir]).unchanged == 2
    assert len(ingested.sources()) == 3


def test_bad_files_are_named_with_reasons_and_the_others_taken(index, course_dir, tmp_path):
    (course_dir / "empty.md").write_bytes(b"")
    (course_dir / "image.md").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (course_dir / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    (course_dir / "only.md").write_text("# Title\n\n```mermaid\ngraph TD; A --> B\n```")
    (course_dir / "film.mp4").write_bytes(b"film")
    report = ingest(index, [course_dir, tmp_path / "missing"])
    assert sorted(names(report.added)) == ["bayes.md", "orbits.md", "plants.md"]
    found = reasons(report)
    assert set(found) == {"empty.md", "image.md", "broken.pdf", "only.md", "film.mp4", "missing"}
    for name, words in {
        "empty.md": "empty",
        "image.md": "PNG",
        "only.md": "no text",
        "film.mp4": ".mp4",
        "missing": "no such",
    }.items():
        assert words in found[name]
    assert len(index.sources()) == 3


def test_a_file_that_vanishes_or_is_too_big_is_skipped(index, course_dir, monkeypatch):
    monkeypatch.setattr("knowledge.ingest.MAX_BYTES", 2_000)
    monkeypatch.setattr("knowledge.loaders.load.MAX_BYTES", 2_000)
    (course_dir / "long.md").write_text("Far too long. " * 200)
    (course_dir / "gone.md").write_text("Soon gone.")

    def discover(paths: Sequence[Path]):
        from knowledge.loaders.discover import discover as real

        found = list(real(paths))
        (course_dir / "gone.md").unlink()
        return found

    monkeypatch.setattr("knowledge.ingest.discover", discover)
    report = ingest(index, [course_dir])
    found = reasons(report)
    assert "no file" in found["gone.md"]
    assert "limit" in found["long.md"]
    assert len(report.added) == 3


def test_duplicates_are_named_once_and_not_taken(index, course_dir):
    (course_dir / "copy.md").write_bytes((course_dir / "plants.md").read_bytes())
    report = ingest(index, [course_dir])
    assert sorted(names(report.added)) == ["bayes.md", "copy.md", "orbits.md"]
    assert "same content as" in reasons(report)["plants.md"]
    assert "copy.md" in reasons(report)["plants.md"]
    again = ingest(index, [course_dir])
    assert (again.unchanged, again.added, list(reasons(again))) == (3, [], ["plants.md"])


@pytest.mark.parametrize(("one", "other"), [("plants.md", "bayes.md"), ("bayes.md", "plants.md")])
def test_files_may_exchange_their_names(ingested, course_dir, one, other):
    first, second = (course_dir / one).read_text(), (course_dir / other).read_text()
    (course_dir / one).write_text(second)
    (course_dir / other).write_text(first)
    report = ingest(ingested, [course_dir])
    assert (sorted(names(report.replaced)), report.skipped) == (sorted([one, other]), [])
    # and content may move to a new name while the old name gets new content
    (course_dir / ("a" + one)).write_text(second)
    (course_dir / one).write_text("# New\n\nSomething new.")
    report = ingest(ingested, [course_dir])
    assert (names(report.added), names(report.replaced), report.skipped) == (["a" + one], [one], [])
    assert stored(ingested) == set(ingested.catalogue.passage_ids())


def test_a_file_that_becomes_a_copy_says_what_it_says_now(ingested, course_dir):
    (course_dir / "plants.md").write_bytes((course_dir / "bayes.md").read_bytes())
    assert names(ingest(ingested, [course_dir]).replaced) == ["plants.md"]
    assert ingested.lexical().search("photosynthesis", 5) == []


def test_the_starter_course_has_names_of_its_own(index, monkeypatch, tmp_path, course_dir):
    link = tmp_path / "link"
    link.symlink_to(course_dir)
    monkeypatch.setattr("knowledge.ingest.STARTER_COURSE", link)
    assert STARTER_COURSE.is_dir()
    monkeypatch.chdir(course_dir.parent)
    assert sorted(ingest(index, [Path("toy")]).added) == ["course/bayes.md", "course/orbits.md", "course/plants.md"]


def test_progress_only_grows_and_comes_once_a_batch(index, course_dir):
    (course_dir / "big.md").write_text(big("axolotl", 200))
    (course_dir / "bad.md").write_bytes(b"")
    seen: list[Progress] = []
    report = ingest(index, [course_dir], on_progress=seen.append)
    assert all(a.done_files <= b.done_files and a.passages <= b.passages for a, b in zip(seen, seen[1:], strict=False))
    assert max(b.passages - a.passages for a, b in zip(seen, seen[1:], strict=False)) <= 64
    assert {p.total_files for p in seen} == {5}
    assert {Path(p.file).name for p in seen} == {"bad.md", "bayes.md", "big.md", "orbits.md", "plants.md"}
    assert (seen[0].done_files, seen[0].passages, seen[0].remaining_s) == (0, 0, None)
    assert (seen[-1].done_files, seen[-1].passages, seen[-1].remaining_s) == (5, report.passages, 0)
    assert seen[-1].passages_per_s > 0
    assert report.seconds > 0


def test_stopping_keeps_what_is_complete_and_a_rerun_does_the_rest(index, course_dir):
    (course_dir / "big.md").write_text(big("axolotl"))
    stop = threading.Event()

    def tell(progress: Progress) -> None:
        if Path(progress.file).name == "big.md" and progress.passages > 64:
            stop.set()

    report = ingest(index, [course_dir], tell, stop)
    assert report.stopped
    assert names(report.added) == ["bayes.md"]
    assert report.passages == len(index.catalogue.passage_ids())
    assert stored(index) == set(index.catalogue.passage_ids())
    again = ingest(index, [course_dir])
    assert (sorted(names(again.added)), again.unchanged, again.stopped) == (["big.md", "orbits.md", "plants.md"], 1, False)


def test_an_interrupt_frees_the_index(index, course_dir):
    def interrupt(progress: Progress) -> None:
        if progress.done_files == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(index, [course_dir], interrupt)
    assert len(ingest(index, [course_dir]).added) == 2


# Killed


class SlowEmbedder(BagOfWordsEmbedder):
    """A millisecond a text; dies by SIGKILL while it embeds a text that holds `fatal`, or is `fatal` if it is `exact`."""

    def __init__(self, fatal: str = "", exact: bool = False) -> None:
        self._fatal, self._exact = fatal, exact

    def embed(self, texts: Sequence[str]) -> Vectors:
        if self._fatal and any(self._fatal == text if self._exact else self._fatal in text for text in texts):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(len(texts) / 1000)
        return super().embed(texts)


def ingest_slowly(
    folder: Path, course: Path, started: Event, fatal: str = "", exact: bool = False, in_sweep: bool = False
) -> None:
    if in_sweep:
        from knowledge.store import VectorStore

        VectorStore.delete = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    index = CourseIndex(folder, SlowEmbedder(fatal, exact))
    started.set()
    ingest(index, [course])


def look(folder: Path) -> tuple[Content, list[str]]:
    """What a fresh process finds: the content, and the passages of some questions."""
    index = CourseIndex(folder, BagOfWordsEmbedder())
    retriever = CourseRetriever(index=index, k=20)
    questions = ["rubisco", "axolotl number 100", "posterior", "planets", "oldword newword"]
    found = [item.passage.id for question in questions for item in retriever.retrieve(question).passages]
    return content(index), found


def run_and_kill(
    processes: ForkServerContext, folder: Path, course: Path, delay: float | None = None, **options: object
) -> None:
    started = processes.Event()
    process = processes.Process(target=ingest_slowly, args=(folder, course, started), kwargs=options)
    process.start()
    assert started.wait(60)
    if delay is not None:
        time.sleep(delay)
        process.kill()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    process.close()


@pytest.fixture
def changed(course_dir: Path, tmp_path: Path, ingested: CourseIndex, embedder: CountingEmbedder) -> tuple[Content, Content]:
    """The course has changed since `ingested`: what was in the index, and what an undisturbed run makes of the change."""
    (course_dir / "middle.md").write_text(big("oldword", 90))
    ingest(ingested, [course_dir])
    before = content(ingested)
    (course_dir / "middle.md").write_text(big("newword", 90))
    (course_dir / "big.md").write_text(big("axolotl"))
    (course_dir / "plants.md").write_text("# Plants\n\nRubisco is slow.")
    undisturbed = CourseIndex(tmp_path / "undisturbed", embedder)
    ingest(undisturbed, [course_dir])
    return before, content(undisturbed)


def assert_last_good_state(before: Content, after: Content, now: Content, found: list[str]) -> None:
    for name in before.keys() | after.keys() | now.keys():
        assert now.get(name) in (before.get(name), after.get(name)), name
    live = {id_ for _, ids in now.values() for id_ in ids}
    assert found
    assert set(found) <= live


def test_killed_at_any_moment_the_course_answers_and_a_rerun_completes_it(processes, ingested, changed, course_dir):
    before, after = changed
    folder = ingested.folder
    with ProcessPoolExecutor(1, mp_context=processes, max_tasks_per_child=1) as fresh:
        for name, fatal in (("big.md", "axolotl100"), ("middle.md", "newword80")):  # second batches of new and of changed
            run_and_kill(processes, folder, course_dir, fatal=fatal)
            now, found = fresh.submit(look, folder).result(timeout=60)
            assert_last_good_state(before, after, now, found)
            assert now.get(name) == before.get(name)
        for delay in (random.uniform(0, 0.6) for _ in range(3)):
            run_and_kill(processes, folder, course_dir, delay)
            now, found = fresh.submit(look, folder).result(timeout=60)
            assert_last_good_state(before, after, now, found)
            assert content(ingested) == now  # the reader that was open all the time sees the same
        run_and_kill(processes, folder, course_dir)
        now, found = fresh.submit(look, folder).result(timeout=60)
    assert now == after
    assert_last_good_state(after, after, now, found)
    assert stored(ingested) == set(ingested.catalogue.passage_ids())


def test_killed_before_the_sweep_a_rerun_without_changes_sweeps(processes, ingested, changed, course_dir):
    run_and_kill(processes, ingested.folder, course_dir, in_sweep=True)
    assert content(ingested) == changed[1]
    live = set(ingested.catalogue.passage_ids())
    assert stored(ingested) > live
    assert {id_ for id_, _ in ingested.dense(ingested.embedder.embed(["oldword"])[0], 20)} <= live
    assert ingest(CourseIndex(ingested.folder, BagOfWordsEmbedder()), [course_dir]).unchanged == 5
    assert stored(ingested) == live


def test_sentences_that_a_killed_run_did_not_reach_are_embedded_by_the_next(processes, ingested, embedder, course_dir):
    (course_dir / "quokka.md").write_text("The quokka digs burrows. It smiles.")
    run_and_kill(processes, ingested.folder, course_dir, fatal="It smiles.", exact=True)
    embedder.embedded.clear()
    assert names(ingest(ingested, [course_dir]).added) == ["quokka.md"]
    assert embedder.embedded == ["The quokka digs burrows.", "It smiles."]
    (passage,) = (p for p in ingested.catalogue.all_passages() if "quokka" in p.text)
    assert ingested.sentences([passage.id])[passage.id].spans == ((0, 24), (25, 35))


def test_vectors_of_a_killed_run_are_used_by_the_next(processes, ingested, embedder, course_dir):
    (course_dir / "big.md").write_text(big("axolotl"))
    run_and_kill(processes, ingested.folder, course_dir, fatal="axolotl100")
    embedder.embedded.clear()
    report = ingest(ingested, [course_dir])
    assert report.passages == 150
    assert len(embedder.embedded) == 2 * (150 - 64)  # passages and sentences
