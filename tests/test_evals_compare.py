"""Summaries and comparisons of runs of a few lines."""

import json
from io import StringIO

import pytest
from rich.console import Console

from evals.figures.compare import compare_runs
from evals.figures.compare_text import print_comparison
from evals.figures.pairs import answer_of, most_changed, pair, question_of, without_texts
from evals.figures.summary import SUMMARY, summarise
from evals.running.runs import Run
from evals.task import Metric, Row, Sample, Task, mean, rate
from knowledge.errors import CourseError

RIGHT = rate("right", "holds the fact")
SHARE = mean("share", "share supported")
LENGTH = mean("words", "words of the answer", higher_is_better=None, unit="words")
METRICS = (RIGHT, SHARE, LENGTH)


def task(name="toy/answers", metrics: tuple[Metric, ...] = METRICS):
    return Task(name, "", lambda _: (), lambda _: None, lambda _: (), metrics)


def row(number, right=1.0, share=0.5, words=10.0, split="test", error="", answer="", **given):
    sample = Sample(f"q{number:02}", {"question": f"What is {number}?", **given}, {"gold": ["x"]}, f"g{number}", split)
    output = {} if error else {"answer": answer or f"It is {number}."}
    return Row(sample, output, {} if error else {"right": right, "share": share, "words": words}, 1.0, False, error)


def make(folder, rows, name="toy/answers", **manifest):
    folder.mkdir(exist_ok=True)
    run = Run(folder)
    known = run.manifest()["tasks"] if (folder / "manifest.json").is_file() else {}
    tasks = known | {name: {"samples": len(rows), "content": "x", "judged": True}}
    run.write_manifest(
        {"name": folder.name, "started": folder.name, "finished": "now", "tasks": tasks, "judge": None, **manifest}
    )
    for one in rows:
        run.append(name, one)
    return folder


def printed(found):
    out = StringIO()
    print_comparison(found, Console(file=out, width=200))
    return out.getvalue()


def test_a_summary_has_every_figure_with_its_interval_of_all_and_of_each_half(tmp_path):
    rows = [row(number, number % 2, split="dev" if number < 12 else "test") for number in range(40)]
    run = make(tmp_path / "run", rows)
    summary = summarise(run, [task()])
    assert summary == json.loads((run / SUMMARY).read_text(encoding="utf-8"))
    right = summary["toy/answers"]["right"]
    assert list(summary["toy/answers"]) == ["right", "share", "words"]
    assert (right["value"], right["n"], right["groups"], right["method"]) == (0.5, 40, 40, "Wilson")
    assert right["low"] == pytest.approx(0.352, abs=1e-3)
    assert (right["unit"], right["higher_is_better"], right["about"]) == ("", True, "holds the fact")
    assert {split: part["n"] for split, part in right["splits"].items()} == {"dev": 12, "test": 28}
    assert summary["toy/answers"]["words"]["unit"] == "words"


def test_a_run_of_one_half_has_no_splits_and_failures_are_a_figure(tmp_path):
    run = make(tmp_path / "run", [*(row(number) for number in range(9)), row(9, error="RuntimeError: no")])
    found = summarise(run, [task()])["toy/answers"]
    assert found["right"]["splits"] == {}
    assert found["right"]["n"] == 9
    assert (found["failed"]["value"], found["failed"]["n"], found["failed"]["higher_is_better"]) == (0.1, 10, False)


def test_the_quality_of_the_judge_stands_apart(tmp_path):
    run = make(tmp_path / "run", [row(number) for number in range(9)])
    make(run, [row(number) for number in range(9)], "judge/toy")
    summary = summarise(run, [task(), task("judge/toy")])
    assert summary["judge_quality"] == {"judge/toy": summary["judge/toy"]}


def test_a_task_that_is_no_longer_there_is_named(tmp_path):
    with pytest.raises(CourseError, match="ran toy/answers, which is no longer there"):
        summarise(make(tmp_path / "run", [row(1)]), [])


def test_a_comparison_pairs_by_id_and_says_what_it_could_not_pair(tmp_path):
    before = [*(row(number) for number in range(30)), row(30, error="no"), row(31), row(32), row(33)]
    after = [*(row(number, 0.0 if number < 9 else 1.0) for number in reversed(range(30))), row(30), row(31, error="no")]
    after += [row(32, hint="new"), row(40)]
    found = compare_runs(make(tmp_path / "a", before), make(tmp_path / "b", after), [task()])
    pairs = found.tasks[0].pairs
    assert len(pairs.both) == 30
    assert pairs.unpaired == {
        "only in the run before": ("q33",),
        "only in the run after": ("q40",),
        "edited between the runs": ("q32",),
        "failed before": ("q30",),
        "failed after, not before": ("q31",),
    }
    right, share, words = found.tasks[0].changes
    assert right.difference.value == pytest.approx(-0.3)
    assert (right.verdict, share.verdict, words.verdict) == ("worse", "no clear change", "no clear change")
    assert right.p_holm == pytest.approx(3 * 2 / 2**9)
    assert "1 not paired, edited between the runs: q32" in printed(found)


def test_what_was_changed_is_listed_and_what_always_differs_is_not(tmp_path):
    rows = [row(number) for number in range(12)]
    settings = {"retrieval": {"threshold": 0.5, "k": 5}}
    first = make(tmp_path / "a", rows, settings=settings, model={"name": "large"})
    second = make(tmp_path / "b", rows, settings={"retrieval": {"threshold": 0, "k": 5}}, model={"name": "small"}, index=None)
    found = compare_runs(first, second, [task()])
    assert found.differing == (("settings.retrieval.threshold", 0.5, 0), ("model.name", "large", "small"))
    assert "settings.retrieval.threshold" in printed(found)
    assert "No score of any sample changed." in printed(found)
    assert "Nothing that a run records was changed" in printed(compare_runs(first, first, [task()]))


def test_the_ten_samples_that_changed_most_come_with_their_texts(tmp_path):
    before = [row(number) for number in range(30)]
    after = [
        row(number, 0.0 if number < 3 else 1.0, 0.5 + number / 100, 500.0, answer="[bold]No.[/bold]") for number in range(30)
    ]
    after[29] = row(29, None, 0.5)
    found = compare_runs(make(tmp_path / "a", before), make(tmp_path / "b", after), [task()])
    assert [one.id for one in found.changed] == ["q02", "q01", "q00", "q29", *(f"q{n}" for n in range(28, 22, -1))]
    first = found.changed[0]
    assert first.scores == {"right": (1.0, 0.0), "share": (0.5, 0.52)}  # words have a unit and do not count
    assert first.change == pytest.approx((1 + 0.02) / 2)
    assert (first.question, first.before, first.after) == ("What is 2?", "It is 2.", "[bold]No.[/bold]")
    assert "[bold]No.[/bold]" in printed(found)
    assert json.loads(json.dumps(found.as_json()))["tasks"][0]["changed"][0]["scores"]["right"] == [1.0, 0.0]


def test_runs_that_share_nothing_are_refused(tmp_path):
    first = make(tmp_path / "a", [row(1), row(2)])
    with pytest.raises(
        CourseError, match="nothing in common .toy/answers: not one sample could be paired: 2 only in the run before"
    ):
        compare_runs(first, make(tmp_path / "b", [row(3)]), [task()])
    with pytest.raises(CourseError, match="toy/answers: only a has it; toy/other: only c has it"):
        compare_runs(first, make(tmp_path / "c", [row(1)], "toy/other"), [task(), task("toy/other")])


def test_tasks_that_one_run_lacks_are_left_out_by_name(tmp_path):
    first = make(tmp_path / "a", [row(number) for number in range(12)])
    second = make(tmp_path / "b", [row(number) for number in range(12)])
    make(second, [row(1)], "toy/other")
    found = compare_runs(first, second, [task()])
    assert found.left_out == {"toy/other": "only b has it"}
    assert "toy/other is not compared: only b has it." in printed(found)


def test_another_judge_is_pointed_out(tmp_path):
    rows = [row(number) for number in range(12)]
    found = compare_runs(make(tmp_path / "a", rows), make(tmp_path / "b", rows, judge={"identity": "nli"}), [task()])
    assert found.tasks[0].other_judge
    assert "Another judge" in printed(found)


def test_judges_are_compared_where_they_are_what_is_measured(tmp_path):
    rows, name = [row(number) for number in range(12)], "judge/toy"
    first = make(tmp_path / "a", rows, name)
    found = compare_runs(first, make(tmp_path / "b", rows, name, judge={"identity": "nli"}), [task(name)])
    assert not found.tasks[0].other_judge


def test_refusals_and_other_outputs_are_shown_as_text():
    refused = Row(row(1).sample, {"refused": True, "reason": "Not in the course.", "answer": ""}, {}, 1.0)
    assert answer_of(refused) == "(refused: Not in the course.)"
    other = Row(Sample("x", {"claim": "Water is wet."}, {}, "g", "dev"), {"support": [0.5]}, {}, 1.0)
    assert (question_of(other), answer_of(other)) == ("Water is wet.", '{"support": [0.5]}')
    bare = without_texts(other)
    assert (question_of(bare), answer_of(bare)) == ("", "")


def test_scores_beyond_shares_do_not_decide_what_changed_most():
    pairs = pair([row(1), row(2)], [row(1, share=7.0), row(2, right=0.0)])
    assert [one.id for one in most_changed("t", pairs, ())] == ["q02"]
