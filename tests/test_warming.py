"""Which sections are read ahead, in what order, and when it stops; with `-m model` on the engine itself."""

import threading
import time

import pytest
from conftest import COURSE
from fake_model import FakeReader
from toy_index import toy_index

from assistant import warming
from assistant.history import History, TurnRecord, now
from assistant.llm.chat_llama import ChatLlama
from assistant.llm.sequences import CONVERSATION
from assistant.prompts import RULES_KEY, SECTION_KEY, answer_prompt
from assistant.settings import EngineSettings
from assistant.warming import Warmer
from knowledge.evidence import EvidencePlanner
from knowledge.ingest import ingest
from knowledge.retrieval import CourseRetriever
from knowledge.settings import ChunkingSettings

LONG = "# Tides\n\n" + "".join(f"## Part {n}\n\n{'The Moon raises tides in the sea. ' * 15}\n\n" for n in range(4))


def wait_until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.005)


@pytest.fixture
def reader(tmp_path):
    return FakeReader(tmp_path / "states")


@pytest.fixture
def warmer():
    """Makes warmers, and ends them."""
    made = []

    def make(reader, index, history=None):
        made.append(Warmer(reader, index, history))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(warming, "_LOOK_AGAIN_S", 0.01)


def ids(index):
    return [section.id for section in index.sections()]


def read_all(warmer):
    return list(warmer.read_all(threading.Event()))


def asked_about(index, history, section_id, times):
    for n in range(times):
        record = {"evidence": [{"passage": index.section_passages(section_id)[-1].id}]}
        history.add(TurnRecord(f"{section_id}{n}", "", now(), "Why?", "Why?", "", None, record))


# Order


def test_every_section_is_read_once_in_the_order_of_the_course(reader, warmer):
    index = toy_index()
    ahead = warmer(reader, index)
    progress = read_all(ahead)
    assert reader.read == ids(index)
    assert [(now.done, now.total, now.title) for now in progress] == [
        (0, 3, "Bayes' theorem"),
        (1, 3, "Orbits"),
        (2, 3, "Photosynthesis"),
        (3, 3, ""),
    ]
    assert [now.remaining_s is None for now in progress] == [True, False, False, False]
    assert ahead.count() == (3, 3)
    assert [now.done for now in read_all(ahead)] == [3]
    assert reader.read == ids(index)


def test_what_was_asked_about_comes_first_then_the_beginnings_of_documents(reader, warmer, index, course_dir, tmp_path):
    (course_dir / "a_tides.md").write_text(LONG, encoding="utf-8")
    ingest(index, [course_dir], chunking=ChunkingSettings(section_tokens=200))
    tides = [section.id for section in index.sections() if section.heading[0] == "Tides"]
    bayes, orbits, plants = (id_ for id_ in ids(index) if id_ not in tides)
    assert len(tides) > 2
    history = History(tmp_path / "history.sqlite")
    asked_about(index, history, tides[2], 1)
    asked_about(index, history, plants, 2)
    history.add(TurnRecord("gone", "", now(), "Why?", "Why?", "", None, {"evidence": [{"passage": "of an older course"}]}))
    history.add(TurnRecord("refused", "", now(), "Why?", "Why?", "", "not_covered", {"evidence": []}))
    read_all(warmer(reader, index, history))
    assert reader.read == [plants, tides[2], tides[0], bayes, orbits, *(id_ for id_ in tides[1:] if id_ != tides[2])]


def test_what_somebody_wants_comes_next(reader, warmer):
    index = toy_index()
    ahead = warmer(reader, index)
    reading = ahead.read_all(threading.Event())
    next(reading)
    ahead.want("no such section")
    ahead.want(ids(index)[2])
    list(reading)
    assert reader.read == [ids(index)[n] for n in (0, 2, 1)]


# Where it stops


def test_the_budget_is_filled_and_nothing_pushed_out(tmp_path, warmer):
    reader = FakeReader(tmp_path, disk_mb=1, state_bytes=400_000)
    ahead = warmer(reader, toy_index())
    progress = read_all(ahead)
    assert reader.read == ids(toy_index())[:2]
    assert (progress[-1].done, progress[-1].total) == (2, 3)
    assert ahead.count() == (2, 3)
    read_all(ahead)
    assert len(reader.read) == 2


def test_what_somebody_wants_pushes_out_what_nobody_used(tmp_path, warmer):
    reader = FakeReader(tmp_path, disk_mb=1, state_bytes=400_000)
    index = toy_index()
    ahead = warmer(reader, index)
    read_all(ahead)
    ahead.want(ids(index)[2])
    read_all(ahead)
    assert reader.read == ids(index)
    assert [ahead.is_ready(id_, index.section_passages(id_)) for id_ in ids(index)] == [False, True, True]


def test_a_disk_that_takes_nothing_ends_it(tmp_path, warmer):
    reader = FakeReader(tmp_path, disk_mb=1, state_bytes=2_000_000)
    read_all(warmer(reader, toy_index()))
    assert len(reader.read) == 1


def test_a_budget_of_nothing_keeps_nothing(tmp_path, warmer):
    reader = FakeReader(tmp_path, disk_mb=0)
    ahead = warmer(reader, toy_index())
    ahead.want(ids(toy_index())[0])
    assert [now.done for now in read_all(ahead)] == [0]
    assert (reader.read, ahead.store, ahead.count(), ahead.forget_changed()) == ([], None, (0, 3), 0)


def test_an_event_stops_it_between_two_sections(reader, warmer):
    stop = threading.Event()
    reading = warmer(reader, toy_index()).read_all(stop)
    next(reading)
    next(reading)
    stop.set()
    assert list(reading)[-1].done < 3
    assert len(reader.read) == 1


# A course that changes


def test_states_of_changed_sections_and_other_rules_are_forgotten(reader, warmer, ingested, course_dir):
    ahead = warmer(reader, ingested)
    read_all(ahead)
    bayes, orbits, plants = ids(ingested)
    for number, label in enumerate((RULES_KEY, CONVERSATION, f"{SECTION_KEY}{bayes}", "rules:0", f"section:0:{bayes}")):
        reader.saved_states.save([number], b"state", label)
    (course_dir / "orbits.md").write_text(COURSE["orbits.md"].replace("cube", "third power"), encoding="utf-8")
    assert ingest(ingested, [course_dir]).replaced
    assert ahead.count() == (2, 3)
    assert ahead.forget_changed() == 3
    labels = {state.label for state in reader.saved_states.saved()}
    assert labels == {RULES_KEY, CONVERSATION, f"{SECTION_KEY}{bayes}", f"{SECTION_KEY}{plants}"}
    read_all(ahead)
    assert reader.read[3:] == [id_ for id_ in ids(ingested) if id_ not in (bayes, plants)]


def test_a_section_that_goes_while_others_are_read_is_left_out(reader, warmer, ingested):
    reading = warmer(reader, ingested).read_all(threading.Event())
    next(reading)
    gone = ids(ingested)[1]
    ingested.remove(next(info.source for info in ingested.sources() if info.title == "Orbits"))
    assert list(reading)[-1].done == 3
    assert gone not in reader.read
    assert len(reader.read) == 2


def test_a_course_that_changes_while_it_is_read_is_read_anew(tmp_path, warmer, ingested, course_dir, quick):
    reader = FakeReader(tmp_path / "states", slow=True)
    ahead = warmer(reader, ingested)
    bayes = ids(ingested)[0]
    ahead.start()
    assert reader.reading.wait(5)
    (course_dir / "bayes.md").write_text("# Tides\n\nThe Moon raises tides in the sea.\n", encoding="utf-8")
    ingest(ingested, [course_dir])
    reader.go_on.set()
    wait_until(lambda: ahead.count() == (3, 3))
    wait_until(lambda: f"{SECTION_KEY}{bayes}" not in {state.label for state in reader.saved_states.saved()})
    assert sorted(reader.read) == sorted([bayes, *ids(ingested)])


# The thread


def test_it_reads_in_a_thread_until_it_is_stopped(tmp_path, warmer):
    reader = FakeReader(tmp_path, slow=True)
    ahead = warmer(reader, toy_index())
    ahead.start()
    ahead.start()
    assert [thread.name for thread in threading.enumerate()].count("warming") == 1
    assert reader.reading.wait(5)
    assert ahead.stop()
    assert "warming" not in [thread.name for thread in threading.enumerate()]
    assert reader.read == []


def test_one_that_was_never_started_has_nothing_to_stop(reader, warmer):
    assert not warmer(reader, toy_index()).stop()


def test_a_question_while_it_reads_changes_only_what_comes_next(tmp_path, warmer):
    reader = FakeReader(tmp_path, slow=True)
    index = toy_index()
    ahead = warmer(reader, index)
    ahead.start()
    assert reader.reading.wait(5)
    ahead.want(ids(index)[2])
    reader.go_on.set()
    wait_until(lambda: len(reader.read) == 3)
    assert reader.read == [ids(index)[n] for n in (0, 2, 1)]


def test_it_rests_until_somebody_wants_something(tmp_path, warmer):
    reader = FakeReader(tmp_path, disk_mb=1, state_bytes=400_000)
    index = toy_index()
    ahead = warmer(reader, index)
    ahead.start()
    wait_until(lambda: len(reader.read) == 2)
    ahead.want(ids(index)[2])
    wait_until(lambda: reader.read == ids(index), 3)


def test_it_goes_on_after_a_failure(reader, warmer, caplog):
    index = toy_index()
    compute, failures = reader.compute_ahead, [OSError("the disk is gone")]

    def failing(messages, stop_event):
        if failures:
            raise failures.pop()
        compute(messages, stop_event)

    object.__setattr__(reader, "compute_ahead", failing)
    ahead = warmer(reader, index)
    ahead.start()
    wait_until(lambda: not failures and "Reading ahead failed" in caplog.text)
    ahead.want(ids(index)[0])
    wait_until(lambda: ahead.count() == (3, 3))


def test_it_notices_what_another_process_has_ingested(reader, warmer, ingested, course_dir, quick):
    ahead = warmer(reader, ingested)
    ahead.start()
    wait_until(lambda: len(reader.read) == 3)
    (course_dir / "tides.md").write_text("# Tides\n\nThe Moon raises tides in the sea.\n", encoding="utf-8")
    ingest(ingested, [course_dir])
    wait_until(lambda: len(reader.read) == 4)


# Joining


def found(index, question="How does the period of a planet grow, and what does the Calvin cycle spend?"):
    retrieved = CourseRetriever(index=index, k=20).retrieve(question)
    return EvidencePlanner(index).plan(question, retrieved), retrieved


def test_sections_are_joined_only_where_that_is_switched_on(tmp_path, warmer):
    index = toy_index()
    plan, retrieved = found(index)
    for joins in (False, True):
        ahead = warmer(FakeReader(tmp_path / str(joins), joins=joins), index)
        assert not ahead.further(plan, retrieved)
        read_all(ahead)
        further = ahead.further(plan, retrieved)
        assert len(further) == (2 if joins else 0)
    order = list(dict.fromkeys(item.passage.section_id for item in retrieved.passages))
    assert [id_ for id_, _ in further] == [id_ for id_ in order if id_ != plan.section_id]
    assert all(passages == index.section_passages(id_) for id_, passages in further)


# With weights


@pytest.mark.model
def test_a_question_interrupts_the_reading_which_then_goes_on(tmp_path, warmer, small_model):
    model = ChatLlama(path=small_model, context=2048, threads=2, states=tmp_path, engine=EngineSettings(memory_mb=128))
    index = toy_index()
    ahead = warmer(model, index)
    ahead.start()
    assert model.invoke(answer_prompt(None, True, (), "What is a matrix?"), max_tokens=5).content
    wanted = {RULES_KEY, *(f"{SECTION_KEY}{id_}" for id_ in ids(index))}
    wait_until(lambda: {state.label for state in ahead.store.saved()} == wanted, 60)
    assert ahead.count() == (3, 3)
    plan, _ = found(index)
    last = list(model.stream(answer_prompt(plan, False, (), "Why?"), max_tokens=3))[-1].usage_metadata
    assert last["input_token_details"]["cache_read"] > 0.6 * last["input_tokens"]
