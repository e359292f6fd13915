"""One course on disk, seen by several threads and processes."""

import shutil
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BagOfWordsEmbedder

from knowledge.catalogue import Catalogue
from knowledge.chunking import chunk
from knowledge.embedding import SentenceEmbedder
from knowledge.errors import IndexBusy, IndexMismatch, MissingModel
from knowledge.index import CourseIndex
from knowledge.ingest import ingest
from knowledge.loaders.markdown import markdown_document
from knowledge.passage import Document
from knowledge.retrieval import CourseRetriever
from knowledge.sentences import sentence_spans

pytestmark = pytest.mark.usefixtures("processes")

QUOKKA = "# Quokkas\n\nThe quokka is a small wallaby of Rottnest Island.\n"


class OtherEmbedder(BagOfWordsEmbedder):
    identity = "bag-of-words:64"
    dimension = 64


def elsewhere(processes: ForkServerContext, function: Callable[..., Any], *args: object) -> Any:
    """What `function` returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=processes) as pool:
        return pool.submit(function, *args).result(timeout=60)


# Run in other processes


def ingest_elsewhere(folder: Path, course: Path) -> list[str]:
    return ingest(CourseIndex(folder, BagOfWordsEmbedder()), [course]).added


def remove_elsewhere(folder: Path, source: str) -> bool:
    return CourseIndex(folder, BagOfWordsEmbedder()).remove(source)


def rebuild_elsewhere(folder: Path, course: Path) -> None:
    CourseIndex.erase(folder)
    ingest(CourseIndex(folder, OtherEmbedder()), [course])


def create_elsewhere(folder: Path) -> int:
    return CourseIndex(folder, BagOfWordsEmbedder()).catalogue.generation


def write_elsewhere(folder: Path, course: Path) -> str:
    try:
        ingest_elsewhere(folder, course)
    except IndexBusy as error:
        return str(error)
    return ""


# Helpers


def sources(index: CourseIndex) -> set[str]:
    return {Path(info.source).name for info in index.sources()}


def nearest(index: CourseIndex, question: str) -> str:
    """File of the passage that is nearest by vectors alone."""
    ((id_, _), *_) = index.dense(index.embedder.embed([question])[0], 1) or [("", 0.0)]
    found = index.catalogue.passages([id_])
    return Path(found[id_].source).name if found else ""


def put(index: CourseIndex, name: str, text: str) -> Document:
    document = markdown_document(Path(name), text.encode(), name, text)
    index.put(document, *chunk(document, index.embedder.count_tokens))
    return document


def stored(index: CourseIndex) -> set[str]:
    from knowledge.store import VectorStore

    store = VectorStore(index.folder / "chroma", index.embedder)
    ids = store.ids()
    store.close()
    assert len(ids) == len(set(ids))
    return set(ids)


# What is in it


def test_a_document_comes_back_as_it_was(index):
    with index.writing():
        document = put(index, "a.md", "# Straße\n\nÄußerst 𝔘nicode: 数学.\n\n## B\n\n| x | y |\n|---|---|\n| 1 | 2 |")
    assert index.document(document.id) == document
    sections, passages = chunk(document, index.embedder.count_tokens)
    assert index.catalogue.all_passages() == passages
    assert list(index.catalogue.passages([passages[1].id, "unknown"]).values()) == [passages[1]]
    (info,) = index.sources()
    assert (info.document_id, info.source, info.title) == (document.id, "a.md", "Straße")
    assert (info.passages, info.tokens) == (len(passages), sum(p.tokens for p in passages))
    assert index.sections() == sections
    assert [p for section in sections for p in index.section_passages(section.id)] == passages
    assert index.document("unknown") is None
    assert index.section_passages("unknown") == ()


def test_sentences_come_with_their_vectors(ingested):
    passages = ingested.catalogue.all_passages()
    found = ingested.sentences([*(p.id for p in passages), "unknown"])
    assert found.keys() == {p.id for p in passages}
    for passage in passages:
        sentences = found[passage.id]
        assert list(sentences.spans) == sentence_spans(passage.text)
        expected = ingested.embedder.embed([passage.text[a:b] for a, b in sentences.spans])
        assert sentences.vectors.dtype == np.float16
        assert sentences.vectors == pytest.approx(expected, abs=1e-3)


def test_sentences_go_with_their_passage(ingested, course_dir):
    plants = [p.id for p in ingested.catalogue.all_passages() if p.source.endswith("plants.md")]
    assert ingested.sentences(plants).keys() == set(plants)
    ingested.remove(str(course_dir / "plants.md"))
    assert ingested.sentences(plants) == {}
    with ingested.writing():
        put(ingested, "quokka.md", QUOKKA)
        (old,) = (p.id for p in ingested.catalogue.all_passages() if p.source == "quokka.md")
        put(ingested, "quokka.md", QUOKKA + "It smiles.")
    assert ingested.sentences([old]) == {}
    CourseIndex.erase(ingested.folder)
    assert ingested.sentences([p.id for p in ingested.catalogue.all_passages()]) == {}


def test_replacing_leaves_nothing_of_the_old(index):
    with index.writing():
        put(index, "a.md", "# A\n\nAll about wombats.")
        assert index.lexical().search("wombats", 5)
        old, _ = index.dense(index.embedder.embed(["wombats"])[0], 5)[0]
        put(index, "a.md", QUOKKA)
    assert len(index.catalogue.all_passages()) == len(index.sources()) == 1
    assert stored(index) == set(index.catalogue.passage_ids()) != {old}
    assert index.lexical().search("wombats", 5) == []
    assert index.lexical().search("quokka", 5)
    assert [id_ for id_, _ in index.dense(index.embedder.embed(["quokka"])[0], 5)] == index.catalogue.passage_ids()


def test_a_replacement_that_fails_half_way_leaves_the_old(index):
    with index.writing():
        old = put(index, "a.md", QUOKKA)
    new = markdown_document(Path("a.md"), b"new", "a.md", "# New\n\nAll new.")
    sections, passages = chunk(new, index.embedder.count_tokens)
    with pytest.raises(sqlite3.IntegrityError):
        index.catalogue.put(new, sections, [*passages, *passages])
    assert index.document(old.id) == old
    assert [p.text for p in index.catalogue.all_passages()] == ["The quokka is a small wallaby of Rottnest Island."]


def test_removing_forgets_one_document(ingested, course_dir):
    source = str(course_dir / "plants.md")
    assert ingested.remove(source)
    assert sources(ingested) == {"bayes.md", "orbits.md"}
    assert nearest(ingested, "rubisco Calvin cycle") != "plants.md"
    assert stored(ingested) == set(ingested.catalogue.passage_ids())
    assert not ingested.remove(source)


def test_documents_of_the_past_do_not_crowd_out_the_present(index):
    """Vectors that the catalogue does not know are ignored, however many are nearer."""
    with index.writing():
        put(index, "quokka.md", QUOKKA)
        ghosts = [
            passage
            for i in range(100)
            for passage in chunk(markdown_document(Path("g"), b"", f"g{i}", f"Quokka ghost {i}."), len)[1]
        ]
        index.embed(ghosts)
        assert nearest(index, "Quokka ghost") == "quokka.md"
        assert len(index.dense(index.embedder.embed(["Quokka ghost"])[0], 5)) == 1
    assert stored(index) == set(index.catalogue.passage_ids())  # swept


def test_no_file_of_chroma_can_be_torn_by_a_kill(index):
    """Chroma writes the files of its graph in place. It must not need them: its log in SQLite is atomic."""
    text = "\n\n".join(f"# Heading{i}\n\nword{i} and word{i + 1}." for i in range(1100))  # it would write them after 1000
    with index.writing():
        put(index, "big.md", text)
    assert nearest(index, "word700 word701") == "big.md"
    files = [path for path in (index.folder / "chroma").rglob("*") if path.is_file() and path.name != "chroma.sqlite3"]
    assert sum(path.stat().st_size for path in files) < 200_000  # what an empty graph takes; the vectors take 1.1 MB
    for path in files:
        path.write_bytes(b"torn")
    vector = index.embedder.embed([index.catalogue.all_passages()[700].searchable])[0]
    ((_, similarity), *_) = CourseIndex(index.folder, index.embedder).dense(vector, 1)
    assert similarity == pytest.approx(1, abs=1e-3)


# The embedder


def test_another_embedder_is_refused_with_a_remedy_and_erasing_helps(ingested, course_dir):
    with pytest.raises(IndexMismatch, match=r"bag-of-words:256.*bag-of-words:64.*lectern ingest --rebuild"):
        CourseIndex(ingested.folder, OtherEmbedder())
    assert nearest(ingested, "rubisco") == "plants.md"

    CourseIndex.erase(ingested.folder)
    fresh = CourseIndex(ingested.folder, OtherEmbedder())
    assert fresh.sources() == []
    ingest(fresh, [course_dir])
    assert nearest(fresh, "rubisco") == "plants.md"
    assert len(stored(fresh)) == len(fresh.catalogue.passage_ids())
    with pytest.raises(IndexMismatch):  # the one that was open all the time
        nearest(ingested, "rubisco")


def test_an_index_of_another_version_is_refused(ingested, monkeypatch):
    monkeypatch.setattr("knowledge.catalogue.SCHEMA_VERSION", "0")
    with pytest.raises(IndexMismatch, match=r"schema.*Lectern has changed.*lectern ingest --rebuild"):
        CourseIndex(ingested.folder, ingested.embedder)
    assert len(CourseIndex.recorded(ingested.folder)) == 3


def test_an_index_of_another_version_without_documents_is_made_anew(ingested, course_dir, monkeypatch):
    for info in ingested.sources():
        ingested.remove(info.source)
    monkeypatch.setattr("knowledge.catalogue.SCHEMA_VERSION", "0")
    fresh = CourseIndex(ingested.folder, OtherEmbedder())
    ingest(fresh, [course_dir])
    assert nearest(fresh, "rubisco") == "plants.md"


def test_no_index_has_no_recorded_sources(tmp_path):
    assert CourseIndex.recorded(tmp_path / "nowhere") == []
    assert not (tmp_path / "nowhere").exists()


def test_erasing_nothing_is_no_error(tmp_path):
    CourseIndex.erase(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_erasing_leaves_other_files_alone(index):
    (index.folder / "mine.txt").write_text("precious")
    CourseIndex.erase(index.folder)
    assert (index.folder / "mine.txt").exists()


def test_erasing_waits_for_no_writer(index):
    with index.writing(), pytest.raises(IndexBusy):
        CourseIndex.erase(index.folder)


def test_weights_that_are_not_there_are_named_with_the_command_that_fetches_them(tmp_path):
    with pytest.raises(MissingModel, match="lectern models pull"):
        SentenceEmbedder(tmp_path)


# Several processes


def test_a_second_writer_is_told_so(processes, index, course_dir):
    with index.writing():
        put(index, "quokka.md", QUOKKA)
        refusal = elsewhere(processes, write_elsewhere, index.folder, course_dir)
        assert "Another process is writing" in refusal
        assert sources(index) == {"quokka.md"}
        with pytest.raises(IndexBusy):
            CourseIndex(index.folder, index.embedder).remove("quokka.md")
    assert elsewhere(processes, write_elsewhere, index.folder, course_dir) == ""


def test_a_reader_notices_what_another_process_does(processes, ingested, tmp_path):
    course = tmp_path / "more"
    course.mkdir()
    (course / "quokka.md").write_text(QUOKKA)
    question = "Is the quokka a small wallaby?"
    retriever = CourseRetriever(index=ingested)
    assert nearest(ingested, question) != "quokka.md"  # Chroma is open now

    assert len(elsewhere(processes, ingest_elsewhere, ingested.folder, course)) == 1
    assert nearest(ingested, question) == "quokka.md"
    found = retriever.retrieve(question)
    assert found.covered
    assert ingested.vectors([found.passages[0].passage.id])

    (course / "quokka.md").write_text("# Wombats\n\nThe wombat digs burrows.")
    assert elsewhere(processes, ingest_elsewhere, ingested.folder, course) == []
    assert nearest(ingested, "wombat burrows") == "quokka.md"
    assert elsewhere(processes, remove_elsewhere, ingested.folder, str(course / "quokka.md"))
    assert nearest(ingested, "wombat burrows") != "quokka.md"
    assert not retriever.retrieve("wombat burrows").covered


def test_a_reader_survives_a_rebuild_by_another_process(processes, ingested, course_dir):
    assert nearest(ingested, "rubisco") == "plants.md"
    CourseIndex.erase(ingested.folder)
    assert ingested.sources() == []
    assert nearest(ingested, "rubisco") == ""
    assert ingested.lexical().search("rubisco", 1) == []
    elsewhere(processes, rebuild_elsewhere, ingested.folder, course_dir)
    with pytest.raises(IndexMismatch, match="bag-of-words:64"):  # rather than nonsense from the vectors of another model
        nearest(ingested, "rubisco")


def test_many_processes_may_create_an_index_at_once(processes, tmp_path):
    with ProcessPoolExecutor(4, mp_context=processes) as pool:
        assert list(pool.map(create_elsewhere, [tmp_path / "new"] * 12, timeout=60)) == [0] * 12


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files can be counted on Linux only")
def test_reopening_leaks_no_files(ingested, tmp_path):
    other = CourseIndex(ingested.folder, ingested.embedder)  # like another process: it has a Chroma of its own
    open_files = []
    for number in range(6):
        with other.writing():
            put(other, "quokka.md", QUOKKA + f"Number {number}.")
        assert nearest(ingested, "quokka wallaby") == "quokka.md"
        open_files.append(sum(1 for _ in Path("/proc/self/fd").iterdir()))
    assert open_files[-1] <= open_files[1] + 12  # 12 are left behind by each store that is not closed


# Several threads


def test_threads_search_while_another_ingests(ingested, course_dir):
    written = -1  # the version that the index is known to hold; a search that begins now must find no older one
    stop = threading.Event()
    problems: list[object] = []
    retriever = CourseRetriever(index=ingested)

    def search(question: str) -> None:
        while not stop.is_set():
            oldest = written
            try:
                found = retriever.retrieve(question, k=20).passages
            except BaseException as error:
                problems.append(error)
                raise
            texts = [item.passage.text for item in found if Path(item.passage.source).name == "plants.md"]
            versions = [int(text.split("version ")[1][0]) if "version " in text else -1 for text in texts]
            if not versions or min(versions) < oldest:
                problems.append((question, oldest, texts))

    questions = ["rubisco", "base rate", "Kepler law", "quokka", "oxygen", "perihelion", "posterior", "NADPH"]
    threads = [threading.Thread(target=search, args=(question,)) for question in questions]
    for thread in threads:
        thread.start()
    for number in range(5):
        (course_dir / "plants.md").write_text(f"{QUOKKA}\nThis is version {number}, with rubisco and oxygen.")
        (course_dir / f"more{number}.md").write_text(f"# More\n\nMore number {number} of base rates.")
        report = ingest(ingested, [course_dir])
        assert (len(report.added), len(report.replaced)) == (1, 1)
        written = number
    stop.set()
    for thread in threads:
        thread.join(timeout=30)
    assert problems == []
    assert stored(ingested) == set(ingested.catalogue.passage_ids())


def test_questions_need_not_wait_for_a_batch_that_is_being_embedded(ingested):
    """A batch takes seconds on two slow cores."""
    started, go_on = threading.Event(), threading.Event()
    embed = ingested.embedder.embed

    def slow(texts: list[str]) -> object:
        if any("wallaby" in text for text in texts):
            started.set()
            assert go_on.wait(20)
        return embed(texts)

    ingested.embedder.embed = slow
    writer = threading.Thread(target=lambda: put(ingested, "quokka.md", QUOKKA))
    writer.start()
    assert started.wait(20)
    answered = threading.Event()
    asker = threading.Thread(target=lambda: (nearest(ingested, "rubisco"), answered.set()), daemon=True)
    asker.start()
    assert answered.wait(10)
    go_on.set()
    writer.join()


def test_a_lost_lock_file_is_no_obstacle(index):
    with index.writing():
        pass
    (index.folder / "writing.lock").unlink()
    shutil.rmtree(index.folder / "chroma", ignore_errors=True)
    with index.writing():
        put(index, "quokka.md", QUOKKA)
    assert Catalogue(index.folder / "catalogue.sqlite", index.embedder.identity).generation == 1
