import json
import re
from collections import Counter
from itertools import pairwise
from typing import get_args

import pytest

from evals.cases import CONVERSATIONS, Kind, read_cases, read_conversations
from knowledge.errors import CourseError
from knowledge.ingest import STARTER_COURSE


@pytest.fixture(scope="module")
def conversations():
    return read_conversations()


@pytest.fixture(scope="module")
def turns(conversations):
    return [turn for conversation in conversations for turn in conversation]


@pytest.fixture
def write(tmp_path):
    lines = [json.loads(line) for line in CONVERSATIONS.read_text(encoding="utf-8").splitlines()]

    def write(change):
        change(lines)
        path = tmp_path / "changed.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        return path

    return write


def test_every_fact_stands_in_its_lesson_and_in_no_question(turns):
    for turn in turns:
        if turn.answerable:
            lesson = (STARTER_COURSE / turn.lesson.removeprefix("course/")).read_text(encoding="utf-8")
            assert turn.evidence in lesson, turn.id
            assert "\n" not in turn.evidence, turn.id
            assert turn.is_right(turn.evidence), turn.id
            assert not turn.is_right(turn.question), turn.id
            assert not turn.is_right(turn.standalone), turn.id
            assert not turn.near, turn.id


def test_forty_conversations_of_three_to_five_turns_over_all_lessons(conversations, turns):
    assert [conversation[0].conversation for conversation in conversations] == [f"c{n:02d}" for n in range(1, 41)]
    assert {len(conversation) for conversation in conversations} == {3, 4, 5}
    assert {turn.lesson for turn in turns if turn.answerable} == {f"course/{path.name}" for path in STARTER_COURSE.glob("*.md")}
    assert len({turn.id for turn in turns}) == len(turns)
    assert 0.12 <= sum(not turn.answerable for turn in turns) / len(turns) <= 0.18


def test_both_halves_hold_every_kind_and_questions_that_are_not_covered(conversations, turns):
    halves = Counter(conversation[0].split for conversation in conversations)
    assert min(halves["dev"], halves["test"]) >= 18
    for split in halves:
        half = [turn for turn in turns if turn.split == split]
        assert {turn.kind for turn in half} == set(get_args(Kind))
        assert sum(not turn.answerable for turn in half) >= 10


def test_switch_leaves_the_lessons_so_far_and_back_returns_to_one(conversations):
    for conversation in conversations:
        visited = set()
        for turn in conversation:
            if turn.answerable and turn.kind in ("switch", "back"):
                assert (turn.lesson in visited) == (turn.kind == "back"), turn.id
            visited.add(turn.lesson)


def test_the_readme_counts_what_the_file_holds(conversations, turns):
    readme = CONVERSATIONS.with_name("README.md").read_text(encoding="utf-8")
    told = {kind: int(count) for kind, count in re.findall(r"^\| (\w+) \|.*\| (\d+) \|$", readme, re.MULTILINE)}
    assert told == Counter(turn.kind for turn in turns)
    uncovered = sum(not turn.answerable for turn in turns)
    assert f"{len(conversations)} conversations of 3 to 5 turns ({len(turns)} turns, {uncovered} of them not covered)" in readme
    halves = Counter(conversation[0].split for conversation in conversations)
    assert f"dev ({halves['dev']} conversations) or test ({halves['test']})" in readme
    pairs = [pair for conversation in conversations for pair in pairwise(conversation)]
    assert sum(bool(turn.evidence) and turn.evidence == before.evidence for before, turn in pairs) == 8
    assert "Eight follow-ups" in readme


def test_no_question_is_asked_twice(turns):
    questions = Counter(turn.standalone.lower() for turn in turns)
    questions.update(case.question.lower() for name in ("starter", "starter_dev") for case in read_cases(name))
    assert [question for question, count in questions.items() if count > 1] == []
    cases = {case.evidence for name in ("starter", "starter_dev") for case in read_cases(name) if case.answerable}
    assert not cases & {turn.evidence for turn in turns}


# A fault is named with its file and line
@pytest.mark.parametrize(
    ("line", "change", "problem"),
    [
        (1, {"standalone": "Another question?"}, "stands alone"),
        (2, {"standalone": "and what does it mean if it comes out as zero?"}, "standalone must say it"),
        (2, {"kind": "first"}, "turn 1 is of kind first"),
        (1, {"kind": "same"}, "turn 1 is of kind first"),
        (2, {"kind": "other"}, "kind"),
        (2, {"split": "test"}, "the split of c01 is dev"),
        (2, {"gold": []}, "needs gold"),
        (2, {"id": "c1-2"}, "id"),
        (2, {"answer": "no such key"}, "answer"),
        (3, {"id": "c01-2"}, "out of order"),
        (5, {"id": "c01-1", "split": "dev"}, "out of order"),
        (6, {"id": "c03-2"}, "out of order"),
    ],
)
def test_a_faulty_turn_is_refused_with_its_line(write, line, change, problem):
    path = write(lambda lines: lines[line - 1].update(change))
    with pytest.raises(CourseError, match=rf"^changed\.jsonl, line {line}: (?s:.*){problem}"):
        read_conversations(path)


def test_a_missing_first_turn_is_refused(write):
    path = write(lambda lines: lines.pop(0))
    with pytest.raises(CourseError, match="line 1: c01-2 is out of order"):
        read_conversations(path)


def test_a_line_that_is_not_json_is_refused(tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"id": "c01-1"', encoding="utf-8")
    with pytest.raises(CourseError, match=r"broken\.jsonl, line 1"):
        read_conversations(path)
