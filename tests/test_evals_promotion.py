"""What promotion needs of evals: samples of given lessons, figures that must rise, and what counts as grounded."""

import io

import pytest
from rich.console import Console

from assistant.commands.show import show
from assistant.events import Notice
from evals.figures.stats import Difference
from evals.gate.check import decide
from evals.gate.file import Gated
from evals.running.request import Drawing, read_lessons
from evals.running.runner import plan
from evals.scorers.groundedness import GROUNDED, Grounded
from evals.task import Sample, Task, rate
from evals.tasks.course import TASKS
from evals.tasks.grounded import TASKS as GROUNDED_TASKS
from knowledge.errors import CourseError

ANSWERS = next(task for task in TASKS if task.name == "course/answers")


def samples(lessons, limit=None, tasks=(ANSWERS, *GROUNDED_TASKS)):
    planned, skipped = plan(tasks, None, Drawing("all", limit, lessons=lessons))
    return {each.task.name: each.samples for each in planned}, skipped


def test_a_run_may_be_restricted_to_lessons_and_keeps_what_is_about_none():
    lessons = frozenset({"course/05-what-is-machine-learning.md", "course/21-attention.md"})
    found, skipped = samples(lessons)
    assert skipped == {}
    for taken in found.values():
        about = [sample.target["lesson"] for sample in taken]
        assert set(about) == {*lessons, ""}
        assert sum(map(bool, about)) >= 8
        assert about.count("") == 85
    everything, _ = samples(None)
    assert len(everything["course/answers"]) > 250


def test_a_lesson_that_no_case_is_about_is_a_mistake_to_mend():
    with pytest.raises(CourseError, match="No sample is about course/05"):
        samples(frozenset({"course/05"}))


def test_a_small_limit_may_miss_the_lessons():
    found, _ = samples(frozenset({"course/21-attention.md"}), limit=1)
    assert len(found["course/answers"]) == 1


def test_tasks_that_know_no_lessons_are_skipped_with_a_line():
    other = Task("x", "", lambda _: [Sample("1", {}, {}, "1", "test")], None, None, ())
    found, skipped = samples(frozenset({"course/21-attention.md"}), tasks=(ANSWERS, other))
    assert (list(found), skipped) == (["course/answers"], {"x": "has samples that name no lesson"})


def test_lessons_are_read_from_a_file(tmp_path):
    file = tmp_path / "lessons.txt"
    file.write_text("\ufeffcourse/a.md\n\n  course/b.md \n", encoding="utf-8")
    assert read_lessons(file) == {"course/a.md", "course/b.md"}
    assert read_lessons(None) is None
    file.write_text("\n")
    with pytest.raises(CourseError, match="names no lesson"):
        read_lessons(file)
    with pytest.raises(CourseError, match="cannot be read"):
        read_lessons(tmp_path / "missing")


def changed(value, low, high, p, n=100, groups=50):
    return Difference(0.4, 0.4 + value, low, high, n, groups, "", p, "")


RISES = Gated(task="t", metric="m", rises=True, least_n=60)
UP, DOWN = rate("m", ""), rate("m", "", higher_is_better=False)


@pytest.mark.parametrize(
    ("metric", "change", "status", "why"),
    [
        (UP, changed(0.2, 0.1, 0.3, 0.001), "passed", ""),
        (DOWN, changed(-0.2, -0.3, -0.1, 0.001), "passed", ""),
        (UP, changed(0.2, -0.01, 0.4, 0.06), "undecided", "no more than chance"),
        (UP, changed(0.2, 0.01, 0.4, 0.06), "undecided", "p = 0.06"),  # the interval alone is not enough
        (UP, changed(0.0, -0.1, 0.1, 1.0), "undecided", "no more than chance"),
        (UP, changed(-0.2, -0.3, -0.1, 0.001), "fell", "it must rise, but is worse by 0.2"),
        (DOWN, changed(0.2, 0.1, 0.3, 0.001), "fell", "it must rise"),
        (UP, changed(0.2, 0.1, 0.3, 0.001, n=59), "undecided", "59 paired samples, of which 60"),
        (UP, changed(0.2, 0.1, 0.3, 0.001, groups=9), "undecided", "9 groups"),
        (UP, None, "undecided", "can be paired"),
    ],
)
def test_a_figure_that_must_rise_passes_by_interval_and_test_only(metric, change, status, why):
    found, said = decide(RISES, metric, change)
    assert (found, why in said) == (status, True)


@pytest.mark.parametrize("more", [{"margin": 0.1, "rises": True}, {}])
def test_a_figure_rises_or_has_a_margin(more):
    with pytest.raises(ValueError, match="must rise|rises = true"):
        Gated(task="t", metric="m", least_n=1, **more)


class Judge:
    """Supports what does not say "invented"."""

    identity, threshold = "toy", 0.5

    def support(self, sentences, passages, question=""):
        return [float("invented" not in sentence) for sentence in sentences]


def scored(covered, shown=(), left_out=(), rule=None):
    texts = [{"text": text} for text in shown]
    output = {"sentences": texts, "dropped": [{"text": text} for text in left_out], "evidence": [], "standalone": "?"}
    output |= {"rule": rule, "refused": rule is not None, "answer": " ".join(shown)}
    scores = Grounded(Judge())(Sample("1", {}, {"answerable": int(covered)}, "1", "test"), output)
    return scores["grounded"], scores["declined_covered"], scores["declined_uncovered"]


def test_grounded_is_what_keeps_to_its_passages_or_declines_where_they_have_no_answer():
    assert scored(True, ["It is so."]) == (1.0, 0.0, None)
    assert scored(True, ["It is so."], ["It was invented in 1850."]) == (0.0, 0.0, None)
    assert scored(True, rule="not_covered") == (None, 1.0, None), "a false refusal is counted as such, and says nothing"
    assert scored(False, rule="not_covered") == (1.0, None, 1.0)
    assert scored(False, ["It is so."]) == (0.0, None, 0.0), "supported, but no answer to what was asked"
    assert scored(False, [], ["It was invented."], "unsupported") == (0.0, None, 0.0)
    assert GROUNDED.key == "grounded"
    assert GROUNDED.binary


def test_a_notice_is_shown_in_the_terminal():
    console = Console(file=io.StringIO(), width=80)
    show([Notice("Adapter sft-2 is damaged.")], console)
    assert "Adapter sft-2 is damaged." in console.file.getvalue()
