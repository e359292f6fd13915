"""How good a judge is: figures, what is kept of them, published verdicts beside ours, and the tasks that ask."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evals.judges import quality
from evals.judges.trivial import CoverageJudge
from evals.running.runs import Run
from evals.scorers.detection import AT_THRESHOLD, DetectionScorer, auroc, average_precision, counts, fitted, metrics
from evals.scorers.published import PublishedVerdict, answer_rate, kappa, ranks_published
from evals.sets.claims import claims_sample
from evals.solvers.judge import JudgeSolver
from evals.solvers.published import PublishedSolver
from evals.task import Row, Sample, Scores
from knowledge.errors import CourseError

PASSAGES = ("Bees dance to show where food is.", "A hive holds about 40000 bees in summer.")


def environment(judge: Any = None) -> Any:
    return SimpleNamespace(judge=judge)


class TestDetection:
    def test_figures_are_those_of_scikit_learn(self) -> None:
        from sklearn import metrics as sk

        rng = np.random.default_rng(1)
        for _ in range(20):
            truth = (rng.random(60) < 0.3).astype(float)
            suspicion = np.round(rng.random(60) * 0.6 + 0.3 * truth, 1)  # with ties
            flagged = suspicion > 0.5
            found = counts(truth, suspicion, 0.5)
            assert auroc(truth, suspicion) == pytest.approx(sk.roc_auc_score(truth, suspicion))
            assert average_precision(truth, suspicion) == pytest.approx(sk.average_precision_score(truth, suspicion))
            theirs = {
                "precision": sk.precision_score(truth, flagged),
                "recall": sk.recall_score(truth, flagged),
                "f1": sk.f1_score(truth, flagged),
                "balanced_accuracy": sk.balanced_accuracy_score(truth, flagged),
            }
            assert {name: compute(found) for name, (compute, _) in AT_THRESHOLD.items()} == pytest.approx(theirs)

    def test_nothing_to_find_gives_no_figure(self) -> None:
        none, all_of_it = np.zeros(3), np.ones(3)
        assert auroc(none, np.arange(3.0)) is None
        assert auroc(all_of_it, np.arange(3.0)) is None
        assert average_precision(none, np.arange(3.0)) is None
        figures = {name: compute(counts(none, np.zeros(3), 0.5)) for name, (compute, _) in AT_THRESHOLD.items()}
        assert figures == dict.fromkeys(AT_THRESHOLD)

    def test_the_fitted_threshold_is_the_best(self) -> None:
        f1 = AT_THRESHOLD["f1"][0]
        rng = np.random.default_rng(2)
        for _ in range(20):
            truth = (rng.random(40) < 0.3).astype(float)
            truth[0] = 1
            suspicion = np.round(rng.random(40) * 0.7 + 0.3 * truth, 1)
            best = max(f1(counts(truth, suspicion, most)) for most in (-1.0, *np.arange(0.05, 1, 0.1)))
            assert f1(counts(truth, suspicion, fitted(truth, suspicion))) == pytest.approx(best)
        assert fitted(np.zeros(3), np.arange(3.0)) == float("inf")
        assert fitted(np.ones(3), np.arange(3.0)) == float("-inf")

    def test_scores_of_a_response(self) -> None:
        sample = claims_sample("1", PASSAGES, ["Bees dance.", "Whales sing loudly."], [False, True], "g", part="m")
        scores = DetectionScorer(sentences=True)(sample, {"support": [0.6, 0.5], "threshold": 0.6})
        assert scores["unsupported"] == scores["uncovered"] == scores["part m"] == 1.0
        assert (scores["suspicion"], scores["words"]) == (0.5, 5.0)
        assert [scores[f"sentence {name}"] for name in ("hits", "false_alarms", "misses", "passed")] == [1.0, 0.0, 0.0, 1.0]
        assert [scores[f"response {name}"] for name in ("hits", "false_alarms", "misses", "passed")] == [1.0, 0.0, 0.0, 0.0]
        assert [scores["label 0"], scores["label 1"], scores["suspicion 1"]] == [0.0, 1.0, 0.5]

    def test_metrics_pool_rows(self) -> None:
        rows = [
            self.row([0.9, 0.2], [False, True], "a"),
            self.row([0.8], [False], "a"),
            self.row([0.1, 0.7], [False, True], "b"),
        ]
        found = {metric.name: metric.compute(rows) for metric in metrics(("a", "b"), sentences=True)}
        assert found["auroc"] == 1.0
        assert (found["precision"], found["recall"], found["unsupported"]) == (1.0, 1.0, pytest.approx(2 / 3))
        # Sentences: suspicions of the marked ones .8 and .3, of the others .1, .2 and .9; at .5 one of each is flagged.
        assert found["sentence_auroc"] == pytest.approx(4 / 6)
        assert (found["sentence_precision"], found["sentence_recall"]) == (0.5, 0.5)
        assert (found["auroc_a"], found["auroc_b"]) == (1.0, None)
        assert found["f1_always"] == pytest.approx(2 * (2 / 3) / (5 / 3))
        assert len(found) == len(metrics(("a", "b"), sentences=True))

    def row(self, support: list[float], unsupported: list[bool], part: str) -> Scores:
        sample = claims_sample("1", PASSAGES, ["Bees."] * len(support), unsupported, "g", part=part)
        return DetectionScorer(sentences=True)(sample, {"support": support, "threshold": 0.5})

    def test_the_solver_shows_the_judge_no_labels(self) -> None:
        class Nosy:
            identity, threshold = "nosy", 0.7

            def support(self, *args: Any) -> list[float]:
                self.seen = args
                return [0.3]

        judge = Nosy()
        sample = claims_sample("1", PASSAGES, ["Bees."], [True], "g", part="m", question="q")
        solver = JudgeSolver(environment(judge))
        assert solver.solve(sample) == {"support": [0.3], "threshold": 0.7}
        assert judge.seen == (["Bees."], list(PASSAGES), "q")
        assert solver.identity == {"solver": "judge", "judge": "nosy", "threshold": 0.7}


def labelled(count: int = 40, noise: float = 0.0) -> list[Row]:
    """Rows of two sentences by two writers, half of them with an unsupported second one, over count / 2 sources."""
    rng = np.random.default_rng(3)
    rows = []
    for n in range(count):
        wrong = n % 4 < 2
        split = "dev" if n < count / 2 else "test"
        sentences = ["Bees dance.", "Bees sing."]
        sample = claims_sample(str(n), PASSAGES, sentences, [False, wrong], str(n // 2), part="ab"[n % 2], split=split)
        support = [0.9, (0.2 if wrong else 0.8) + noise * float(rng.normal())]
        rows.append(Row(sample, {"support": support, "threshold": 0.5}, {}, 0.1))
    return rows


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.figures.resampling.RESAMPLES", 60)


@pytest.mark.usefixtures("few_resamples")
class TestQuality:
    def test_a_perfect_judge_beside_trivial_ones(self) -> None:
        found = quality.measure(labelled())
        for level, n in (("response", 20), ("sentence", 40)):
            seen = found[level]
            assert (seen["n"], seen["sources"], seen["base_rate"]) == (n, 10, 10 / n)
            assert seen["detectors"]["judge"]["auroc"] == [1.0, 1.0, 1.0]
            assert seen["detectors"]["judge, fitted on dev"]["f1"] == [1.0, 1.0, 1.0]
            assert seen["detectors"]["always yes"]["recall"][0] == 1.0
            assert seen["detectors"]["always yes"]["precision"][0] == 10 / n
            assert seen["detectors"]["always yes"]["auroc"][0] == 0.5
        assert found["response"]["detectors"]["coverage, fitted on dev"]["auroc"][0] == 0.5  # the same words in each
        assert found["by_part"]["a"]["n"] == 10

    def test_intervals_hold_the_figure(self) -> None:
        value, low, high = quality.measure(labelled(80, noise=0.3))["response"]["detectors"]["judge"]["auroc"]
        assert 0.5 < low < value < high < 1.0

    def test_both_halves_are_needed(self) -> None:
        with pytest.raises(CourseError, match="--split all"):
            quality.measure(labelled()[:20])

    def test_a_run_is_measured_kept_and_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(quality, "FILE", tmp_path / "quality.json")
        quality._known.cache_clear()
        run = Run(tmp_path)
        run.write_manifest({"judge": {"name": "x", "identity": "overlap:abc"}, "tasks": {quality.TASK: {}}})
        for row in labelled():
            run.append(quality.TASK, row)
        assert quality.quality_line("overlap:abc") == "judge overlap: quality not measured"
        quality.record(run, tmp_path / "quality.json")
        line = quality.quality_line("overlap:abc")
        assert line.startswith("judge overlap, RAGTruth-QA test half")
        assert "response AUROC 1.000 (1.000 to 1.000)" in line
        assert "n 20" in line
        assert "not measured" in quality.quality_line("overlap:abd")
        quality._known.cache_clear()
        text = "\n".join(quality.table(quality.judge_quality("overlap:abc") or {}))
        assert "| always yes | 0.500" in text

    def test_a_run_without_the_task_is_refused(self, tmp_path: Path) -> None:
        run = Run(tmp_path)
        run.write_manifest({"judge": None, "tasks": {}})
        with pytest.raises(CourseError, match="has no rows of judge/ragtruth-qa"):
            quality.measured(run)

    def test_what_is_committed_can_be_told(self) -> None:
        quality._known.cache_clear()
        for identity in json.loads(quality.FILE.read_text(encoding="utf-8")):
            assert "AUROC 0." in quality.quality_line(identity)


class TestPublished:
    def sample(self, answer: str, inconsistent: int = 1) -> Sample:
        seen = {"question": "What do bees do?", "passages": list(PASSAGES), "answer": answer}
        return Sample("1", seen, {"inconsistent": inconsistent}, "1", "test")

    def test_an_answer_takes_the_form_of_ours(self) -> None:
        output = PublishedSolver(environment()).solve(self.sample("Bees dance [1]. Whales sing:\n\n- loudly"))
        assert [sentence["text"] for sentence in output["sentences"]] == ["Bees dance.", "Whales sing:", "loudly"]
        assert [passage["text"] for passage in output["evidence"]] == list(PASSAGES)
        assert (output["dropped"], output["refused"], output["standalone"]) == ([], False, "What do bees do?")

    @pytest.mark.parametrize(("answer", "ours"), [("Bees dance.", 0.0), ("Bees dance. Whales sing.", 1.0)])
    def test_our_verdict_beside_the_published_one(self, answer: str, ours: float) -> None:
        sample = self.sample(answer)
        scores = PublishedVerdict(CoverageJudge())(sample, PublishedSolver(environment()).solve(sample))
        assert scores["written_unsupported_answer"] == scores["unsupported_answer"] == scores["agrees"] == ours
        assert scores["inconsistent"] == 1.0

    def test_saying_that_there_is_no_answer_is_none(self) -> None:
        solver = PublishedSolver(environment())
        for answer, rate in (("Bees dance.", 1.0), ("The passages do not cover this.", 0.0)):
            sample = self.sample(answer)
            assert answer_rate(sample, solver.solve(sample)) == {"answered": rate}

    def test_agreement_is_that_of_scikit_learn(self) -> None:
        from sklearn.metrics import cohen_kappa_score, roc_auc_score

        rng = np.random.default_rng(4)
        theirs, least = rng.random(50) < 0.4, rng.random(50)
        rows: list[Scores] = [
            {"inconsistent": float(t), "written_least_support": float(s), "written_unsupported_answer": float(s < 0.5)}
            for t, s in zip(theirs, least, strict=True)
        ]
        rows.append({"inconsistent": 1.0, "written_least_support": None, "written_unsupported_answer": None})
        assert kappa(rows) == pytest.approx(cohen_kappa_score(theirs, least < 0.5))
        assert ranks_published(rows) == pytest.approx(roc_auc_score(theirs, -least))
        assert kappa(rows[-1:]) is None
        assert ranks_published(rows[-1:]) is None


def test_the_tasks_are_there_and_their_figures_have_names_of_their_own() -> None:
    from evals.tasks import hallucination, judge

    tasks = {task.name: task for task in (*judge.TASKS, *hallucination.TASKS)}
    names = ("ragtruth-qa", "attributionbench", "wice", "qags", "halueval", "nli")
    assert {*(f"judge/{name}" for name in names), "ragtruth/answers", "ragtruth/published"} <= set(tasks)
    for task in tasks.values():
        figures = [metric.name for metric in task.metrics]
        assert len(figures) == len(set(figures))
        assert task.judged
        assert task.data or task.name == "judge/claims"  # ours
