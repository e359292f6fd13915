"""The gate on made-up runs: planted falls, reruns, too few cases; how often it errs, by simulation."""

import json
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from evals.figures.pairs import pair
from evals.figures.stats import difference, estimate
from evals.figures.summary import metrics_of
from evals.gate.accept import write_baseline
from evals.gate.check import check, decide, limit
from evals.gate.file import CONFIG, Gated, read_gate
from evals.gate.text import print_gate
from evals.running.runs import Run
from evals.task import Row, Sample, Task, mean, pooled, rate
from knowledge.errors import CourseError

RIGHT = rate("right", "holds the fact")
LOUD = rate("loud", "shouts", higher_is_better=False)
SHARE = mean("share", "share supported")
EITHER = rate("either", "neither is better", higher_is_better=None)
TOO_FEW_GROUPS = "not enough cases to decide: 8 groups of samples, of which 10 are needed"
MS = pooled(
    "ms_p50", lambda rows: float(np.median([row["ms"] for row in rows])) if rows else None, "median", False, "ms", ("ms",)
)
TASK = Task("toy/answers", "", lambda _: (), lambda _: None, lambda _: (), (RIGHT, LOUD, SHARE, EITHER, MS))

GATE = """
[[figure]]
task = "toy/answers"
metric = "right"
margin = 0.05
least_n = 120

[[figure]]
task = "toy/answers"
metric = "share"
margin = 0.05
least_n = 120
"""


def row(number, right=1.0, share=0.9, error="", question=None, **more):
    sample = Sample(f"q{number:03}", {"question": question or f"What is {number}?"}, {"gold": ["a fact"]}, f"g{number}", "test")
    scores = {} if error else {"right": right, "loud": 0.0, "share": share, "either": right, "ms": 40.0, **more}
    return Row(sample, {} if error else {"answer": f"It is {number}, a secret."}, scores, 1.0, False, error)


def make(folder, rows, **manifest):
    folder.mkdir(parents=True)
    run = Run(folder)
    tasks = {"toy/answers": {"samples": len(rows), "content": "x", "judged": True}}
    judge = {"name": "overlap", "identity": "overlap:1"}
    run.write_manifest({"name": folder.name, "finished": "now", "tasks": tasks, "judge": judge, "seed": 0, **manifest})
    for one in rows:
        run.append("toy/answers", one)
    return folder


def good(n=200):
    rng = np.random.default_rng(0)
    return [row(number, float(rng.random() < 0.85), float(rng.choice([1, 1, 0.5]))) for number in range(n)]


@pytest.fixture
def toy(tmp_path):
    """A gate of two figures and an accepted baseline of 200 samples."""
    config = tmp_path / "gate.toml"
    config.write_text(GATE, encoding="utf-8")
    accepted = make(tmp_path / "first", good())
    write_baseline(accepted, tmp_path / "baseline", [TASK], config)

    def gate(rows, name="run", **manifest):
        return check(make(tmp_path / name, rows, **manifest), [TASK], config, tmp_path / "baseline")

    gate.config, gate.folder, gate.accepted = config, tmp_path / "baseline", accepted
    return gate


def printed(result):
    out = StringIO()
    print_gate(result, Console(file=out, width=160))
    return out.getvalue()


def statuses(result):
    return [outcome.status for outcome in result.outcomes]


def test_a_rerun_passes(toy):
    result = toy(good())
    assert (result.exit_code, statuses(result)) == (0, ["passed", "passed"])
    assert printed(result).rstrip().endswith("Passed: none of 2 figures fell.")


def test_a_planted_fall_is_caught_and_named(toy):
    rows = good()
    for number in range(0, 200, 6):
        rows[number] = row(number, 0.0, rows[number].scores["share"])
    result = toy(rows, settings={"threshold": 0})
    assert (result.exit_code, statuses(result)) == (1, ["fell", "passed"])
    text = printed(result)
    assert "toy/answers right fell: worse by 0.11, more than the 0.05 tolerated and more than chance." in text
    assert "settings" in text  # what differs from the baseline
    assert text.rstrip().endswith("Not passed, of 2 figures: 1 fell.")
    assert result.as_json()["figures"][0]["change"]["high"] < 0


def test_a_better_run_passes_however_wide_its_interval(toy):
    rows = [row(number, 1.0, 1.0) for number in range(200)]
    assert toy(rows).exit_code == 0


def test_too_few_cases_never_pass(toy):
    result = toy(good()[:60])
    assert (result.exit_code, statuses(result)) == (1, ["undecided", "undecided"])
    assert "right is undecided: not enough cases to decide: 60 paired samples, of which 120 are needed." in printed(result)
    assert "140 samples not paired, only in the run before: q060, q061, q062, q063, q064, ..." in printed(result)


def test_too_much_noise_is_undecided_and_says_how_many_would_tell(toy):
    rows = good()[:130]
    right = [number for number, one in enumerate(rows) if one.scores["right"]][:20]
    wrong = [number for number, one in enumerate(rows) if not one.scores["right"]][:18]
    for number in (*right, *wrong):
        rows[number] = row(number, 1 - rows[number].scores["right"], rows[number].scores["share"])
    result = toy(rows)
    assert statuses(result) == ["undecided", "passed"]
    assert "and 0.05 is tolerated; there are 130 samples, about 160 would tell" in result.outcomes[0].why
    assert result.exit_code == 1


def test_a_sample_that_fails_now_is_a_fall_of_its_own(toy):
    rows = good()
    rows[3] = row(3, error="RuntimeError: no")
    result = toy(rows)
    assert statuses(result) == ["passed", "passed"]
    assert result.exit_code == 1
    assert "failed after, not before: q003" in printed(result)
    assert printed(result).rstrip().endswith("Not passed, of 2 figures: 1 samples failed that worked before.")


def test_an_edited_case_is_not_paired(toy):
    rows = good()
    rows[5] = row(5, 1.0, 0.9, question="What else?")
    result = toy(rows)
    assert result.unpaired == {"toy/answers": {"edited between the runs": ("q005",)}}
    assert result.outcomes[0].change.n == 199


def test_another_judge_decides_nothing(toy):
    result = toy(good(), judge={"name": "always", "identity": "always:1"})
    assert statuses(result) == ["undecided", "undecided"]
    assert "another judge" in result.outcomes[0].why


def test_a_task_that_did_not_run_is_undecided(toy, tmp_path):
    run = make(tmp_path / "empty", [], skipped={"toy/answers": "needs the folder squad2 of public data"})
    result = check(run, [TASK], toy.config, toy.folder)
    assert statuses(result) == ["undecided", "undecided"]
    assert "the run has no samples of toy/answers: it needs the folder squad2" in result.outcomes[0].why


def test_a_run_that_has_not_finished_is_refused(toy):
    with pytest.raises(CourseError, match="has not finished.*--resume"):
        toy(good(), finished=None)


def test_without_a_baseline_it_says_how_to_make_one(toy, tmp_path):
    with pytest.raises(CourseError, match="no baseline.*--accept first"):
        check(toy.accepted, [TASK], toy.config, tmp_path / "nothing")


def test_the_baseline_holds_scores_and_no_text(toy):
    files = {path.relative_to(toy.folder).as_posix(): path.read_text(encoding="utf-8") for path in toy.folder.rglob("*.*")}
    assert set(files) == {"manifest.json", "samples/toy_answers.jsonl"}
    assert not any(word in text for text in files.values() for word in ("secret", "What is", "a fact"))
    line = json.loads(files["samples/toy_answers.jsonl"].splitlines()[0])
    assert line["scores"] == good()[0].scores
    assert len(pair(Run(toy.folder).rows("toy/answers"), good()).both) == 200


def test_accepting_again_replaces_the_baseline(toy, tmp_path):
    rows = [row(number, 0.0) for number in range(150)]
    write_baseline(make(tmp_path / "second", rows), toy.folder, [TASK], toy.config)
    assert [one.scores["right"] for one in Run(toy.folder).rows("toy/answers")] == [0.0] * 150
    assert sorted(path.name for path in tmp_path.iterdir()) == ["baseline", "first", "gate.toml", "second"]


@pytest.mark.parametrize(
    ("rows", "manifest", "why"),
    [
        (good(100), {}, "right of toy/answers has 100 samples, of which 120 are needed"),
        ([*good(199), row(199, error="no")], {}, "1 samples of toy/answers failed .q199."),
        (good(), {"finished": None}, "it has not finished"),
    ],
)
def test_what_cannot_be_a_baseline_is_refused_and_the_old_one_stays(toy, tmp_path, rows, manifest, why):
    before = Run(toy.folder).rows("toy/answers")
    with pytest.raises(CourseError, match=why):
        write_baseline(make(tmp_path / "bad", rows, **manifest), toy.folder, [TASK], toy.config)
    assert Run(toy.folder).rows("toy/answers") == before


def test_a_folder_that_is_no_baseline_is_left_alone(toy, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(CourseError, match="holds something that is no baseline"):
        write_baseline(toy.accepted, tmp_path / "thesis", [TASK], toy.config)
    assert (tmp_path / "thesis" / "chapter.txt").is_file()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "[[figure]]\ntask = 'toy/answers'\nmetric = 'right'\nleast_n = 9\n",
            "figure 1: .*needs a margin, a floor or a ceiling",
        ),
        ("[[figure]]\ntask = 'toy/answers'\nmetric = 'right'\nmargin = 0\nleast_n = 9\n", "figure 1, margin: .*greater than 0"),
        ("[[figure]]\ntask = 'toy/answers'\nmetric = 'rihgt'\nmargin = 1\nleast_n = 9\n", "rihgt.*has right, loud, share"),
        ("[[figure]]\ntask = 'toy/other'\nmetric = 'right'\nmargin = 1\nleast_n = 9\n", "toy/other.*lectern eval list"),
        ("[[figure]]\ntask = 'toy/answers'\nmetric = 'either'\nmargin = 1\nleast_n = 9\n", "neither direction of either"),
        ("[[figure]]\ntask = 'toy/answers'\nmetric = 'right'\nmarign = 1\nleast_n = 9\n", "figure 1, marign"),
        ("figure = 3", "figure"),
        ("", "figure"),
        ("[[figure", "cannot be read"),
    ],
)
def test_a_wrong_gate_file_is_refused_with_the_place_of_the_fault(tmp_path, text, why):
    (tmp_path / "gate.toml").write_text(text, encoding="utf-8")
    with pytest.raises(CourseError, match=why):
        read_gate(tmp_path / "gate.toml", metrics_of([TASK]))


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([1.0] * 60, "passed"),
        ([1.0] * 54 + [0.0] * 6, "undecided"),
        ([1.0] * 40 + [0.0] * 20, "fell"),
        ([1.0] * 20, "undecided"),
    ],
)
def test_a_floor_is_held_against_the_interval_of_the_run_alone(values, status):
    gated = Gated(task="toy/answers", metric="right", floor=0.92, least_n=30)
    found = estimate(RIGHT, [{"right": value} for value in values], [str(n) for n in range(len(values))])
    assert limit(gated, found)[0] == status


def test_a_ceiling_likewise():
    def of(*times):
        return estimate(MS, [{"ms": time} for time in times], [str(time) for time in times])

    gated = Gated(task="toy/answers", metric="ms_p50", ceiling=300, least_n=10)
    assert limit(gated, of(*range(20, 60)))[0] == "passed"
    assert limit(gated, of(*range(400, 440)))[0] == "fell"
    assert limit(gated, None)[0] == "undecided"


def test_fewer_than_ten_groups_decide_nothing():
    gated = Gated(task="toy/answers", metric="right", margin=0.05, least_n=20)
    rows = [{"right": 1.0}] * 80
    change = difference(RIGHT, rows, [{"right": 0.0}] * 80, [f"g{n // 10}" for n in range(80)])
    assert decide(gated, RIGHT, change) == (
        "undecided",
        "not enough cases to decide: 8 groups of samples, of which 10 are needed",
    )


# How often it errs: runs drawn from a known truth, against a baseline of 85%.


def simulated(gated, metric, n, fall, noise, rng, cluster=1):
    """The decision about n samples, of which a share `noise` got worse by chance, as many better, and `fall` worse in truth."""
    before, after = [], []
    sign = 1 if metric.higher_is_better else -1
    for _ in range(0, n, cluster):
        # All samples of a group share their fate, so a group is one observation.
        moved = rng.choice([-1, 1, 0], p=[noise + fall, noise, 1 - fall - 2 * noise]) * sign
        start = 1.0 if moved < 0 else 0.0 if moved > 0 else float(rng.random() < 0.85)
        before += [{metric.key: start}] * cluster
        after += [{metric.key: start + moved}] * cluster
    groups = [str(number // cluster) for number in range(len(before))]
    return decide(gated, metric, difference(metric, before, after, groups))[0]


def shares(gated, metric, n, fall, noise, times, seed, cluster=1):
    rng = np.random.default_rng(seed)
    found = [simulated(gated, metric, n, fall, noise, rng, cluster) for _ in range(times)]
    return {status: found.count(status) / times for status in ("fell", "undecided", "passed")}


IN_FORCE = [gated for gated in read_gate(CONFIG, metrics_of()) if gated.margin]


@pytest.mark.parametrize(("margin", "least_n"), sorted({(gated.margin, gated.least_n) for gated in IN_FORCE}))
def test_every_margin_that_is_in_force_is_found_at_its_least_n(margin, least_n):
    """A fall of two margins: 80% power, hardly ever a pass; an equal variant: at most 5% false alarms of any kind."""
    gated = Gated(task="toy/answers", metric="right", margin=margin, least_n=least_n)
    fallen = shares(gated, RIGHT, least_n, 2 * margin, 0.025, 400, seed=1)
    assert fallen["fell"] >= 0.75  # 80%, less what 400 experiments may miss by
    assert fallen["passed"] <= 0.06
    assert shares(gated, RIGHT, least_n, 0, 0.025, 400, seed=2)["passed"] >= 0.95


def test_samples_that_hang_together_are_found_as_well_for_their_number():
    gated = Gated(task="toy/answers", metric="share", margin=0.12, least_n=105)
    assert shares(gated, SHARE, 105, 0.24, 0.025, 60, seed=3, cluster=3)["fell"] >= 0.7
    assert shares(gated, SHARE, 105, 0, 0.025, 60, seed=4, cluster=3)["passed"] >= 0.92


def test_an_equal_variant_seldom_falls_even_where_many_answers_change():
    gated = Gated(task="toy/answers", metric="right", margin=0.05, least_n=120)
    for noise in (0.05, 0.15):
        assert shares(gated, RIGHT, 120, 0, noise, 400, seed=5)["fell"] <= 0.03
    assert shares(gated, LOUD, 120, 0, 0.05, 400, seed=6)["fell"] <= 0.03


def test_a_fall_of_two_margins_does_not_pass_however_many_samples_there_are():
    gated = Gated(task="toy/answers", metric="right", margin=0.05, least_n=40)
    for n in (40, 120, 300):
        assert shares(gated, RIGHT, n, 0.1, 0.05, 300, seed=7)["passed"] <= 0.05


def test_a_whole_gate_seldom_stops_a_rerun_of_the_same_variant():
    """All figures in force, one in fifty answers different, as another order of additions may make it."""
    rng = np.random.default_rng(9)
    stopped = 0
    for _ in range(200):
        outcomes = [simulated(gated, RIGHT, gated.least_n, 0, 0.01, rng) for gated in IN_FORCE]
        stopped += any(status != "passed" for status in outcomes)
    assert stopped <= 10
