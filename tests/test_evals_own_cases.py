"""Cases of somebody's own course: read with clear errors, asked instead of the starter course's, held against the index."""

import json

import pytest
from test_evals_solvers import CALVIN, SPENDS, Kit

from evals.cases import own_cases
from evals.running import start
from evals.running.request import Drawing, Request
from evals.tasks import course, grounded, uncovered
from evals.tasks.course import check_course
from knowledge.errors import CourseError

OWN = {
    "id": "own-1", "question": CALVIN, "answerable": True, "gold": ["3 ATP"],
    "lesson": "photosynthesis.md", "evidence": "It spends 3 ATP and 2 NADPH\nper molecule of carbon dioxide.",
}  # fmt: skip
FAR = {"id": "far-1", "question": "How long should I boil an egg?", "answerable": False}


@pytest.fixture
def file(tmp_path):
    def write(*cases):
        path = tmp_path / "mine.jsonl"
        path.write_text("".join(f"{json.dumps(case)}\n" for case in cases), encoding="utf-8")
        return path

    return write


@pytest.fixture
def environment(tmp_path, monkeypatch):
    return Kit(tmp_path, monkeypatch).environment(SPENDS)


def source_of(environment):
    index = environment.runtime.index
    return next(info.source for info in index.sources() if "3 ATP" in index.document(info.document_id).text)


def test_every_task_that_asks_single_questions_takes_them(file):
    own = own_cases(file(OWN, FAR))
    takers = {
        task.name: list(task.asking(own).samples(None))
        for task in (*course.TASKS, *grounded.TASKS, *uncovered.TASKS)
        if task.own
    }
    ids = {name: [sample.id for sample in samples] for name, samples in takers.items()}
    assert ids == {
        "course/answers": ["own-1", "far-1"],
        "course/retrieval": ["own-1", "far-1"],
        "course/grounded": ["own-1", "far-1"],
        "course/uncovered": ["far-1"],
        "course/noise": ["own-1"],
        "course/counterfactual": [],
        "course/injected": ["own-1"],
    }
    assert takers["course/answers"][0].target["lesson"] == OWN["lesson"]


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ([], "holds no case"),
        ([{**OWN, "gold": []}], "mine.jsonl, line 1"),
        ([OWN, {**FAR, "answer": "4 minutes"}], "mine.jsonl, line 2"),
    ],
)
def test_what_is_no_case_is_named(file, cases, said):
    with pytest.raises(CourseError, match=said) as caught:
        own_cases(file(*cases))
    assert "README.md" in caught.value.remedy


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "mine.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CourseError, match=r"mine\.jsonl cannot be read"):
        own_cases(tmp_path / "mine.jsonl")


def test_tasks_that_take_none_are_left_out_with_the_reason(file):
    path = file(OWN)
    chosen, fixed = start._chosen(Request(["course/*"], Drawing(), cases=path), own_cases(path))
    assert "course/answers" in {task.name for task in chosen}
    assert fixed["course/conversations"] == "takes no cases of one's own"
    assert start._chosen(Request(["course/answers"], Drawing()), None)[1] == {}


def test_the_index_must_hold_their_lessons_and_their_evidence(file, environment):
    lesson = source_of(environment)
    for change, said in (
        ({"lesson": "nowhere.md"}, "1 sources that these cases are about, such as nowhere.md"),
        ({"lesson": lesson, "evidence": "It spends 4 ATP."}, f"the first is own-1, in {lesson}"),
    ):
        environment.cases = own_cases(file({**OWN, **change}))
        with pytest.raises(CourseError, match=said):
            check_course(environment)
    environment.cases = own_cases(file({**OWN, "lesson": lesson}, FAR))
    check_course(environment)


def test_without_them_the_starter_course_is_wanted_and_the_way_out_is_said(environment):
    with pytest.raises(CourseError, match="lessons of the starter course") as caught:
        check_course(environment)
    assert "--cases FILE" in caught.value.remedy
