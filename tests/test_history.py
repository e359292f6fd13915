from concurrent.futures import ThreadPoolExecutor

import pytest

from assistant.history import History, TurnRecord, now
from knowledge.errors import CourseError


def turn(id_, question="What is dropout?", asked_at=None, **others):
    values = {"conversation": "c", "standalone": question, "answer": "It helps.", "refused": None, "record": {"a": [1, "é"]}}
    return TurnRecord(id=id_, question=question, asked_at=asked_at or now(), **{**values, **others})


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "new" / "history.sqlite")


def test_a_turn_comes_back_as_it_was_kept(history):
    kept = turn("t1", refused="not_covered")
    history.add(kept)
    assert history.turns() == [kept]
    assert history.find("t1") == kept


def test_turns_come_newest_first(history):
    for number in (2, 3, 1):
        history.add(turn(f"t{number}", asked_at=f"2026-01-0{number}T00:00:00.000+00:00"))
    history.add(turn("t4", asked_at="2026-01-03T00:00:00.000+00:00"))
    assert [t.id for t in history.turns()] == ["t4", "t3", "t2", "t1"]
    assert [t.id for t in history.turns(2)] == ["t4", "t3"]


def test_feedback_belongs_to_its_turn_and_the_last_one_counts(history):
    for number in (1, 2):
        history.add(turn(f"t{number}"))
    history.rate("t1", 0, "wrong page")
    history.rate("t1", 1)
    judged = {t.id: (t.value, t.comment) for t in history.turns()}
    assert judged == {"t1": (1, None), "t2": (None, None)}
    history.unrate("t1")
    assert history.find("t1").value is None


def test_feedback_needs_a_turn_and_a_thumb(history):
    with pytest.raises(CourseError, match="no turn t9"):
        history.rate("t9", 1)
    history.add(turn("t1"))
    with pytest.raises(ValueError, match="1 or 0"):
        history.rate("t1", 5)


def test_find_takes_the_beginning_of_an_id(history):
    for id_ in ("abc1", "abd2"):
        history.add(turn(id_))
    assert history.find("abc").id == "abc1"
    with pytest.raises(CourseError, match="2 turns"):
        history.find("ab")
    with pytest.raises(CourseError, match="No turns"):
        history.find("_bc")


def test_deleted_turns_leave_the_disk_with_their_feedback(history, tmp_path):
    history.add(turn("t1", question="my secret illness"))
    history.add(turn("t2", question="kept question"))
    history.rate("t1", 0, "secret comment")
    assert history.delete(["t1", "t9"]) == 1
    assert [t.id for t in history.turns()] == ["t2"]
    on_disk = b"".join(path.read_bytes() for path in (tmp_path / "new").iterdir())
    assert b"secret" not in on_disk
    assert b"kept question" in on_disk
    history.add(turn("t1"))
    assert history.find("t1").value is None
    assert history.delete() == 2
    assert history.turns() == []


def test_many_threads_may_write_a_new_file(history):
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda n: history.add(turn(f"t{n}")), range(40)))
    assert len(history.turns()) == 40


@pytest.mark.parametrize("harm", ["garbage", "folder"])
def test_an_unusable_file_is_a_course_error(tmp_path, harm):
    path = tmp_path / "history.sqlite"
    path.write_text("this is no database" * 100) if harm == "garbage" else path.mkdir()
    with pytest.raises(CourseError, match="history.sqlite cannot be used"):
        History(path).turns()


def test_a_folder_that_cannot_be_made_is_a_course_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CourseError, match="cannot be used"):
        History(tmp_path / "file" / "history.sqlite").turns()
