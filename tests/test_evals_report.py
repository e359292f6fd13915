"""The report of a run: what it says, what it says of runs that went wrong, and that texts stay texts."""

import json
import os
import re
from html.parser import HTMLParser
from random import Random

import numpy as np
import pytest
from toy_run import QUESTIONS, SCRIPT, SECTIONS, TASKS, answer_row, make_run, manifest, read_manifest

from evals.figures.pairs import without_texts
from evals.figures.summary import summarise
from evals.report import write_report
from evals.report.head import changed_settings
from evals.report.numbers import confusion, quantiles, reliability, trade_off
from evals.report.samples import Passages, view
from evals.report.tables import around_zero, bar, figures, interval, number
from evals.report.verdict import verdict
from evals.running.runs import Run
from evals.task import Row, Sample
from knowledge.errors import CourseError

ANSWERS = TASKS[0]


class Outline(HTMLParser):
    """Elements, ids, addresses and visible text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.addresses, self.events, self.text = [], [], [], [], []
        self._silent = 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._silent += tag in ("script", "style")
        self.text.append(" " if tag in ("td", "th", "dt", "dd", "p", "li") else "")
        for name, value in attrs:
            self.ids += [value] if name == "id" else []
            self.addresses += [value] if name in ("href", "src", "xlink:href", "srcset", "action", "data") else []
            self.events += [name] if name.startswith("on") else []

    def handle_endtag(self, tag):
        self._silent -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._silent:
            self.text.append(data)

    @property
    def said(self):
        return " ".join("".join(self.text).split())


def report_of(folder, against=None, tasks=TASKS):
    return write_report(folder, against, tasks).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("runs") / "20261122-090000-after")
    summarise(folder, TASKS)
    return folder


@pytest.fixture(scope="module")
def html(run):
    return report_of(run)


# The whole page


def test_head_says_what_was_run(html):
    said = Outline(html).said
    for words in (
        "20261122-090000-after",
        "qwen2.5-coder-1.5b-instruct-q4_k_m (abababababab)",
        "0123456789ab, with uncommitted changes",
        "2 cores of a toy processor, 24 GB",
        "2026-11-22 09:00 UTC",
        "42 min",
        "17% of 120 samples",
        "retrieval.threshold=0.4",
        "both halves, seed 0",
    ):
        assert words in said, words


def test_figures_stand_with_interval_and_n_test_and_dev_apart(run, html):
    summary = json.loads((run / "summary.json").read_text())
    fact = summary["course/answers"]["gold_fact"]
    said = Outline(html).said
    test_half, dev_half = said.split("Development half", 1)
    for half, part in (("test", test_half), ("dev", dev_half)):
        found = fact["splits"][half]
        row = f"{found['value']:.3f} {found['low']:.3f} to {found['high']:.3f} {found['n']} in {found['groups']}"
        assert row in part, half
    assert fact["splits"]["test"]["value"] != fact["splits"]["dev"]["value"]


def test_judge_quality_stands_beside_judged_figures(run, html):
    auroc = json.loads((run / "summary.json").read_text())["judge_quality"]["judge/claims"]["auroc"]
    said = Outline(html).said
    assert f"AUROC in this run: claims {auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})" in said
    assert "judge overlap: quality not measured" in said


def test_every_picture_has_a_caption_and_its_numbers(html):
    figures = re.findall(r"<figure>.*?</figure>", html, re.DOTALL)
    titles = [re.search(r"<h3>(.*?)</h3>", figure)[1] for figure in figures]
    assert titles == ["Answered and refused", "Refusal threshold", "Relevance", "Support", "Latency", "Reliability"]
    for figure in figures:
        assert len(re.search(r"<figcaption>(.*?)</figcaption>", figure, re.DOTALL)[1]) > 60
        assert "<table" in figure
        if "<svg" in figure:
            assert '<svg viewBox="0 0 ' in figure
            assert 'role="img" aria-label="' in figure
    assert "p50</th>" in html
    assert "p99</th>" in html


def test_pictures_take_their_colours_from_the_page(html):
    pictures = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert "currentColor" in pictures
    assert re.findall(r"#[0-9a-fA-F]{6}\b", pictures) == []
    assert "<style" not in pictures
    assert "font-family" not in pictures


def test_page_names_no_address_but_its_own_parts(html):
    page = Outline(html)
    assert {address for address in page.addresses if not address.startswith("#")} == {"data:,"}
    assert re.findall(r"https?:|url\((?!#)|@import|://", html) == []
    assert "default-src 'none'" in html
    targets = {address[1:] for address in page.addresses if address.startswith("#")}
    assert targets - {""} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_texts_are_never_markup(html):
    page = Outline(html)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert page.events == []
    assert page.said.count("<script>document.title = 'taken over'</script>") >= 2  # as question and as answer
    assert "Is a < b enough for x & y to be independent?" in page.said


def test_samples_show_answer_quote_drops_scores_and_gold(html):
    page = Outline(html).said
    assert "It was invented in 1832. No source has the number 1832." in page
    assert "Refused: The course does not seem to cover this. (rule: not_covered)" in page
    assert "switches off · randomly chosen" in page
    assert "CourseError: the model wrote nothing for <this> question." in page
    lines = [line for _, _, lines in SECTIONS.values() for line in lines]
    marked = set(re.findall(r"<mark>(.*?)</mark>", html))
    assert marked
    assert marked <= set(lines)


def test_a_passage_that_is_not_cited_stands_in_the_page_once(html):
    lines = SECTIONS["course/21-attention.md"][2]
    stored = re.findall(r'<article class="passage stored".*?</article>', html, re.DOTALL)
    assert len(stored) == len(SECTIONS) + 1  # and that of the claims
    assert html.count(" ".join(lines)) == 1


def test_four_hundred_samples_stay_small(tmp_path):
    run = make_run(tmp_path / "large", size=200)
    summarise(run, TASKS)
    path = write_report(run, None, TASKS)
    assert path.name == "report.html"
    assert Outline(path.read_text(encoding="utf-8")).tags.count("details") >= 400
    assert path.stat().st_size < 5_000_000
    assert list(run.glob("*.part")) == []


def test_the_same_run_gives_the_same_page(run, html):
    assert report_of(run) == html


# Two runs


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    settings = {"retrieval": {"threshold": 0.5}}
    return make_run(tmp_path_factory.mktemp("earlier") / "20261121-090000-before", skill=0.3, settings=settings)


def test_against_another_run(run, before):
    html = report_of(run, before)
    said = Outline(html).said
    assert "Against 20261121-090000-before" in said
    assert "settings.retrieval.threshold 0.5 0.4" in said
    row = re.search(r"gold fact (0\.\d+) (0\.\d+) \+(0\.\d+) \+(0\.\d+) to \+(0\.\d+) (< 0\.001|0\.\d+) (\d+) better", said)
    assert row
    assert float(row[2]) - float(row[1]) == pytest.approx(float(row[3]), abs=0.0011)
    assert re.search(r"course/answers · \d+ · gold fact 0\.000 → 1\.000", said)
    changed = re.findall(r'<article class="changed">.*?</article>', html, re.DOTALL)
    assert 0 < len(changed) <= 10
    assert all(article.count('<ol class="answer">') == 2 for article in changed)
    page = Outline(html)
    assert len(page.ids) == len(set(page.ids))


def test_against_a_run_that_kept_no_texts(run, before, tmp_path):
    bare = Run(tmp_path / "bare")
    bare.folder.mkdir()
    bare.write_manifest(read_manifest(before))
    for row in Run(before).rows("course/answers"):
        bare.append("course/answers", without_texts(row))
    said = Outline(report_of(run, bare.folder)).said
    assert "This run kept no texts." in said
    assert any(question in said for question in QUESTIONS)


def test_a_run_that_cannot_be_compared_is_said(run, tmp_path):
    other = make_run(tmp_path / "other", size=0)
    assert "It cannot be compared with other." in Outline(report_of(run, other)).said
    with pytest.raises(CourseError):
        write_report(run, tmp_path / "nowhere", TASKS)


# Runs that went wrong


def broken(tmp_path, size=4, **changes):
    return make_run(tmp_path / "broken", size=size, **changes)


def test_missing_and_old_summaries_are_computed_again(tmp_path):
    run = broken(tmp_path, size=12)
    said = Outline(report_of(run)).said
    assert "summary.json is missing" in said
    assert re.search(r"gold fact the gold fact stands in the answer; higher is better [01]\.\d{3}", said)
    (run / "summary.json").write_text("{")
    assert "summary.json is damaged" in Outline(report_of(run)).said
    summarise(run, TASKS)
    assert "summary.json" not in Outline(report_of(run)).said.split("Figures")[0]
    Run(run).append("judge/claims", Row(Sample("late", {"claim": "x"}, {}, "late", "test"), {}, {}, 0.1))
    os.utime(run / "summary.json", (0, 0))
    assert "summary.json is older than the samples" in Outline(report_of(run)).said


def test_task_without_samples(tmp_path):
    said = Outline(report_of(broken(tmp_path, size=0))).said
    assert "course/answers has no samples." in said
    assert "There are no figures of the test half." in said


def test_all_samples_failed(tmp_path):
    run = broken(tmp_path, size=0)
    for place in range(3):
        row = answer_row(place, Random(0), 1.0)
        Run(run).append("course/answers", Row(row.sample, {}, {}, 0.1, error="Traceback\nOSError: the disk is <full>"))
    said = Outline(report_of(run)).said
    assert "course/answers has no figures: all 3 samples failed, the first with: OSError: the disk is <full>" in said


def test_unfinished_stopped_and_skipped(tmp_path):
    run = broken(
        tmp_path,
        finished=None,
        stopped={"speech/words": "its first 5 samples failed"},
        skipped={"squad2/refusal": "needs the folder squad2 below --data"},
        tasks={"course/answers": {"samples": 90}, "gone/task": {"samples": 1}},
    )
    Run(run).append("gone/task", Row(Sample("1", {"question": "?"}, {}, "1", "test"), {"answer": "yes"}, {"right": 1.0}, 0.1))
    said = Outline(report_of(run)).said
    assert "The run is not finished" in said
    assert "course/answers has 4 of its 90 samples." in said
    assert "speech/words was given up: its first 5 samples failed" in said
    assert "squad2/refusal was skipped: it needs the folder squad2 below --data." in said
    assert "gone/task is not a task of this version of Lectern" in said


def test_damaged_samples_are_said_and_the_rest_is_shown(tmp_path):
    run = broken(tmp_path, size=12)
    Run(run).samples_file("course/answers").write_text('{"id": 1}\n')
    said = Outline(report_of(run)).said
    assert "course/answers cannot be shown." in said
    assert "line 1 is damaged" in said
    assert "judge/claims" in said


def test_a_lone_surrogate_does_not_stop_the_report(tmp_path):
    run = broken(tmp_path, size=0)
    sample = Sample("1", {"question": "What is \ud83d?"}, {}, "1", "test")
    Run(run).append("judge/claims", Row(sample, {"answer": "\ud83d", "evidence": [{"text": "\ud83d"}]}, {}, 0.1))
    assert "What is" in report_of(run)


def test_no_run(tmp_path):
    with pytest.raises(CourseError):
        write_report(tmp_path, None, TASKS)


# What the pictures show


def test_reliability_bins_hold_equal_counts():
    foretold = [(p / 100, float(p >= 50)) for p in range(100)]
    curve = reliability(foretold)
    assert [bin.n for bin in curve.bins] == [10] * 10
    assert [bin.share for bin in curve.bins] == [0.0] * 5 + [1.0] * 5
    # |mean foretold - observed| of each bin: .045, .145 ... .445, then 1 - .545 ... 1 - .945
    assert curve.error == pytest.approx(
        (sum([0.045, 0.145, 0.245, 0.345, 0.445]) + sum([0.455, 0.355, 0.255, 0.155, 0.055])) / 10
    )
    assert all(bin.low <= bin.share <= bin.high for bin in curve.bins)
    assert reliability(foretold[:9]) is None


def test_perfect_calibration_has_no_error():
    constant = [(0.2, 1.0)] * 20 + [(0.2, 0.0)] * 80
    assert reliability(constant).error == pytest.approx(0.0)
    halves = [(0.2, 1.0)] * 10 + [(0.2, 0.0)] * 40 + [(0.8, 1.0)] * 40 + [(0.8, 0.0)] * 10
    assert [bin.n for bin in reliability(halves).bins] == [50, 50]
    assert reliability(halves).error == pytest.approx(0.0)


def test_confusion_counts_each_cell():
    scores = [{"answerable": a, "answered": b} for a, b, n in ((1, 1, 4), (1, 0, 3), (0, 1, 2), (0, 0, 1)) for _ in range(n)]
    found = confusion([*scores, {"answerable": None, "answered": 1.0}])
    assert found.table == (("covered", 7, (4, 3)), ("not covered", 3, (2, 1)))
    assert confusion([{"answered": 1.0}]) is None


def test_trade_off_counts_refusals_below_the_threshold():
    scores = [{"answerable": 1.0, "relevance": r, "answered": float(r >= 0.5)} for r in (0.2, 0.5, 0.7, 0.9)]
    scores += [{"answerable": 0.0, "relevance": r, "answered": 0.0} for r in (0.1, 0.6)]
    curve = trade_off(scores, 0.5)
    assert curve.present == (0.5, 0.25)  # 0.6 is answered; 0.2 is refused, 0.5 is not
    assert curve.whole == (0.0, 0.25)
    assert (curve.wrongly_answered[0], curve.false_refusals[0]) == (1.0, 0.0)
    assert (curve.wrongly_answered[-1], curve.false_refusals[-1]) == (0.0, 1.0)
    assert np.all(np.diff(curve.false_refusals) >= 0)
    assert np.all(np.diff(curve.wrongly_answered) <= 0)
    assert (0.5, 0.25, 0.5) in curve.table
    assert trade_off(scores[:4], 0.5) is None


def test_quantiles_are_numpys():
    assert quantiles(range(101)) == [50, 90, 95, 99]


# Tables


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.8444, "", "0.844"),
        (-0.5, "", "−0.500"),
        (632.4, "ms", "632 ms"),
        (1234.5, "ms", "1,234 ms"),
        (11.04, "t/s", "11.0 t/s"),
        (None, "", "–"),
    ],
)
def test_numbers(value, unit, text):
    assert number(value, unit) == text


def test_bars_stay_on_their_scale():
    assert bar(0.5, 0.25, 0.75, (0, 1)) == bar(0.5, 0.25, 0.75, (0.0, 1.0))
    half = bar(0.5, 0.25, 0.75, (0, 1))
    assert (half.at, half.left, half.width, half.zero) == (50, 25, 50, None)
    outside = bar(3, -1, 4, around_zero([0.3]))
    assert (outside.at, outside.left, outside.width, outside.zero) == (100, 0, 100, 50)
    assert bar(1, None, None, (0, 1)).left is None
    assert interval(None, 0.2) == "not to be had"


def test_a_run_of_one_half_is_not_shown_as_the_other():
    task = {"right": {"value": 0.5, "low": 0.3, "high": 0.7, "n": 9, "groups": 9, "splits": {}}}
    assert [figure.value for figure in figures(task, "dev", "dev")] == ["0.500"]
    assert figures(task, "test", "dev") == []


def test_only_settings_that_differ_are_named():
    settings = {"retrieval": {"threshold": 0.5, "rrf_k": 10}, "model": {"threads": 0}}
    assert changed_settings(settings) == "retrieval.rrf_k=10"
    assert changed_settings({}) == "none"


# Samples


def row_of(scores, output=None, error="", **given):
    return Row(Sample("1", {"question": "?"} | given, {"gold": ["a"]}, "1", "test"), output or {}, scores, 0.1, error=error)


@pytest.mark.parametrize(
    ("scores", "outcome", "why"),
    [
        ({"gold_fact": 1.0, "unsupported_answer": 0.0}, "passed", ()),
        ({"gold_fact": 0.0, "unsupported_answer": 1.0}, "failed", ("gold fact", "unsupported answer")),
        ({"gold_fact": 0.0, "answerable": 1.0, "answered": 0.0}, "failed", ("refused, though it is covered",)),
        ({"answerable": 0.0, "answered": 1.0}, "failed", ("answered, though it is not covered",)),
        ({"answerable": 0.0, "answered": 0.0}, "passed", ()),
        ({"citation_precision": 0.1}, "", ()),
    ],
)
def test_verdict(scores, outcome, why):
    assert verdict(row_of(scores), ANSWERS) == (outcome, why)


def test_verdict_of_errors_and_of_what_is_foretold():
    judge = TASKS[1]
    assert verdict(row_of({}, error="OSError"), ANSWERS)[0] == "error"
    assert verdict(row_of({"support": 0.7, "supported": 1.0, "most": 0.6}), judge)[0] == "passed"
    assert verdict(row_of({"support": 0.7, "supported": 1.0, "most": 0.8}), judge)[0] == "failed"
    assert verdict(row_of({"gold_fact": 1.0}), None) == ("", ())


def cited(quotes, text):
    citations = [{"number": number, "quote": quote} for number, quote in quotes]
    sentences = [{"text": "So.", "support": 0.9, "citations": citations}]
    return view("t", row_of({}, {"sentences": sentences, "evidence": [{"text": text, "document": "D"}]}), None, Passages())


def test_quotes_are_marked_even_where_they_overlap():
    spans = cited([(1, "one two"), (1, "two three")], "zero one two three four").evidence[0].spans
    assert [(span.text, span.cited) for span in spans] == [("zero ", False), ("one two three", True), (" four", False)]


def test_a_quote_that_is_not_in_its_passage_is_named():
    sample = cited([(1, "nine"), (2, "one")], "zero one two")
    assert sample.claims[0].astray == ("nine", "one")
    assert sample.evidence[0].spans == ()


def test_sentences_of_a_judge_stand_with_their_labels():
    row = Row(
        Sample("1", {"question": "", "passages": ["P."], "sentences": ["A.", "B."]}, {"unsupported": [0, 1]}, "1", "test"),
        {"support": [0.9, 0.2]},
        {},
        0.1,
    )
    sample = view("judge/x", row, None, Passages())
    assert [(claim.text, claim.support, claim.marked) for claim in sample.claims] == [("A.", 0.9, False), ("B.", 0.2, True)]
    assert sample.question == "A."
    assert [shown.stored.text for shown in sample.evidence] == ["P."]


def test_long_values_are_cut():
    sample = view("t", row_of({}, {"plan": ["x" * 5000]}, question="q" * 3000), None, Passages())
    assert len(sample.question) < 600
    assert all(len(text) < 1300 for _, text in sample.more)


def test_scripts_in_every_field_stay_text(tmp_path):
    run = broken(
        tmp_path, size=0, machine=SCRIPT, command=SCRIPT, stopped={SCRIPT: SCRIPT}, settings={"model": {"name": SCRIPT}}
    )
    output = {
        "answer": SCRIPT,
        "dropped": [{"text": SCRIPT, "reason": SCRIPT}],
        "evidence": [{"text": SCRIPT, "document": SCRIPT}],
        SCRIPT: SCRIPT,
    }
    sample = Sample(SCRIPT, {"question": SCRIPT}, {SCRIPT: SCRIPT}, SCRIPT, "test")
    Run(run).append("judge/claims", Row(sample, output, {SCRIPT: 1.0}, 0.1))
    page = Outline(report_of(run))
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert page.events == []


def test_manifest_of_the_toy_has_the_keys_of_a_real_one():
    import evals.running.manifest

    told = set(re.findall(r"^\| ([a-z_, ]+) \|", evals.running.manifest.__doc__, re.MULTILINE)) - {"key"}
    assert {key.strip() for keys in told for key in keys.split(",")} == set(manifest("x", 1))


def test_a_title_is_not_said_twice():
    output = {"evidence": [{"text": "T.", "document": "Trees", "heading": "Trees > Pruning", "page": 3}]}
    assert view("t", row_of({}, output), None, Passages()).evidence[0].stored.place == "Trees > Pruning, page 3"
