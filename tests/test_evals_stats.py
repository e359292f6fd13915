"""Intervals and tests against published examples, exact counts and simulated truths."""

import numpy as np
import pytest

from evals.figures.resampling import LEAST_RESAMPLES, drawn_rows
from evals.figures.stats import difference, estimate, holm, mcnemar, paired_rates, wilson
from evals.task import mean, pooled, rate

RIGHT = rate("right", "")
SHARE = mean("share", "")
MS = mean("ms", "", unit="ms", higher_is_better=False)


def column(key, values):
    return [{key: value} for value in values]


def alone(rows):
    """Every sample its own group."""
    return [f"g{number}" for number in range(len(rows))]


def f1(rows):
    hits = sum(row["truth"] and row["said"] for row in rows)
    wrong = sum(row["truth"] != row["said"] for row in rows)
    return 2 * hits / (2 * hits + wrong) if hits + wrong else None


F1 = pooled("f1", f1, "", needs=("truth", "said"))


def test_wilson_gives_the_figures_that_are_in_print():
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, Table I
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)


def test_a_rate_of_independent_samples_has_wilsons_interval_and_leaves_out_what_does_not_apply():
    rows = column("right", [1.0] * 15 + [0.0] * 133 + [None] * 7)
    found = estimate(RIGHT, rows, alone(rows))
    assert (found.n, found.groups, found.method) == (148, 148, "Wilson")
    assert (found.value, found.low, found.high) == pytest.approx((15 / 148, 0.0624, 0.1605), abs=1e-4)


def test_paired_rates_gives_the_figures_that_are_in_print():
    # Airway hyper-responsiveness of 21 children before and after transplantation: 1 against 7 changed (Fagerland et al., 2014).
    assert paired_rates(7, 1, 21) == pytest.approx((-0.508, -0.013), abs=1e-3)
    assert mcnemar(7, 1) == pytest.approx(0.0703, abs=1e-4)
    assert mcnemar(0, 0) == 1.0
    assert paired_rates(20, 0, 20)[0] == -1.0


def test_the_interval_of_paired_rates_and_the_exact_test_agree_about_few_changes():
    for changed, sure in ((4, False), (5, False), (6, True), (9, True)):
        assert (paired_rates(changed, 0, 60)[1] < 0) is sure
        assert (mcnemar(changed, 0) <= 0.05) is sure


def test_holm_adjusts_as_r_does():
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([None]) == [None]


def test_groups_are_drawn_whole():
    """Ten groups of twelve samples that agree are ten observations: the interval is that of ten."""
    values = np.repeat([1.0] * 6 + [0.0] * 4, 12)
    clustered = estimate(RIGHT, column("right", values), [f"g{number // 12}" for number in range(120)])
    single = wilson(72, 120)
    assert clustered.groups == 10 and clustered.n == 120
    assert clustered.high - clustered.low > 2.5 * (single[1] - single[0])


def test_the_interval_holds_the_truth_in_about_95_of_100_experiments():
    rng = np.random.default_rng(5)
    groups = [f"g{number // 4}" for number in range(160)]
    held = 0
    for _ in range(200):
        values = np.clip(np.repeat(rng.beta(4, 2, 40), 4) + rng.normal(0, 0.05, 160), 0, 1)
        found = estimate(SHARE, column("share", values), groups)
        held += found.low <= 2 / 3 <= found.high
    assert 180 <= held <= 198


def test_where_all_groups_agree_there_still_is_doubt():
    groups = [f"g{number // 3}" for number in range(60)]
    found = estimate(SHARE, column("share", [1.0] * 60), groups)
    assert (found.low, found.high) == pytest.approx(wilson(20, 20))
    assert found.low < 0.9
    slow = estimate(MS, column("ms", [1.0] * 60), groups)  # a time is no share
    assert (slow.low, slow.high) == (1.0, 1.0)


def test_a_single_group_has_a_figure_and_no_interval():
    found = estimate(SHARE, column("share", [0.2, 0.4, 0.9]), ["one"] * 3)
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high, found.groups) == (None, None, 1)


def test_nothing_to_measure_is_no_figure():
    rows = column("right", [None, None])
    assert estimate(RIGHT, rows, alone(rows)) is None
    assert estimate(RIGHT, [], []) is None
    assert difference(RIGHT, rows, column("right", [1.0, 0.0]), alone(rows)) is None
    assert estimate(F1, [], []) is None


def test_the_same_rows_give_the_same_interval_and_another_seed_another():
    rows = column("share", np.random.default_rng(0).random(40))
    assert estimate(SHARE, rows, alone(rows)) == estimate(SHARE, rows, alone(rows))
    assert estimate(SHARE, rows, alone(rows)) != estimate(SHARE, rows, alone(rows), seed=1)


def test_a_pooled_metric_is_computed_again_from_whole_groups_and_counts_what_it_needs():
    rng = np.random.default_rng(1)
    rows = [{"truth": float(truth), "said": float(truth ^ (rng.random() < 0.2))} for truth in rng.random(80) < 0.5]
    with_gaps = [*rows, {"truth": None, "said": 1.0}, {"said": 0.0}]
    found = estimate(F1, with_gaps, alone(with_gaps))
    assert (found.n, found.groups) == (80, 80)
    assert found.value == f1(rows)
    assert found.low < found.value < found.high
    assert 0.1 < found.high - found.low < 0.3


def test_a_figure_that_most_resamples_lack_has_no_interval():
    rows = [{"truth": 1.0, "said": 1.0}, *({"truth": 0.0, "said": 0.0} for _ in range(9))]
    found = estimate(F1, rows, alone(rows))  # a third of the resamples miss the only positive
    assert found.value == 1.0
    assert (found.low, found.high) == (None, None)


def test_large_pooled_metrics_are_resampled_less_but_not_below_500():
    assert len(drawn_rows(lambda places: float(len(places)), [[n] for n in range(20_000)], 0)) == LEAST_RESAMPLES == 500


def test_a_yes_no_difference_of_independent_samples():
    before, after = column("right", [1.0] * 60), column("right", [0.0] * 9 + [1.0] * 51)
    found = difference(RIGHT, before, after, alone(before))
    assert found.value == pytest.approx(-0.15)
    assert (found.low, found.high) == paired_rates(9, 0, 60)
    assert (found.p, found.test, found.sure) == (2 / 2**9, "McNemar, exact", True)


def test_the_permutation_is_exact_for_few_groups_and_swaps_whole_groups():
    before, after = column("share", [0.5, 0.5] * 5), column("share", [0.4, 0.3] * 5)
    found = difference(SHARE, before, after, [f"g{number // 2}" for number in range(10)])
    assert found.p == pytest.approx(2 / 2**5)
    assert found.high < 0 and not found.sure  # five groups of five: the interval alone would have been too sure
    assert difference(SHARE, before, after, alone(before)).p == pytest.approx(2 / 2**10)


def test_an_unchanged_figure_is_unchanged():
    rows = column("share", np.random.default_rng(0).random(30))
    same = difference(SHARE, rows, rows, alone(rows))
    assert (same.value, same.low, same.high, same.p, same.sure) == (0, 0, 0, 1.0, False)
    yes = column("right", [1.0, 0.0] * 15)
    found = difference(RIGHT, yes, yes, alone(yes))
    assert found.value == 0 and found.low == -found.high and found.high > 0.05  # 30 samples cannot promise more
    truths = [{"truth": 1.0, "said": 1.0}, {"truth": 1.0, "said": 0.0}] * 10
    pooled_same = difference(F1, truths, truths, alone(truths))
    assert (pooled_same.low, pooled_same.high, pooled_same.p, pooled_same.sure) == (0, 0, None, False)


def test_a_score_that_applies_to_other_samples_after_is_not_reduced_to_the_shared_ones():
    """Precision of refusals: all shared refusals are as right as before, but twenty wrong ones are new."""
    before = column("right", [1.0] * 20 + [None] * 20)
    after = column("right", [1.0] * 20 + [0.0] * 20)
    found = difference(RIGHT, before, after, alone(before))
    assert found.value == pytest.approx(-0.5)
    assert found.n == 20
    assert found.sure and found.high < -0.3
    assert found.test == "permutation over groups"


def test_a_pooled_difference_is_paired():
    """Hard and easy cases differ far more than the two runs, which pairing takes out."""
    rng = np.random.default_rng(3)
    before = [{"truth": 1.0, "said": float(said)} for said in rng.random(200) < 0.5]
    after = [{"truth": 1.0, "said": 0.0 if number < 14 else row["said"]} for number, row in enumerate(before)]
    found = difference(F1, before, after, alone(before))
    whole = estimate(F1, after, alone(after))
    assert found.p is None and found.test == ""
    assert found.high < 0
    assert found.high - found.low < whole.high - whole.low


def test_the_paired_test_errs_in_five_of_a_hundred_at_most():
    rng = np.random.default_rng(8)
    groups = [f"g{number // 3}" for number in range(60)]
    wrong = 0
    for _ in range(150):
        ease = np.repeat(rng.random(20), 3)
        before, after = (column("right", (rng.random(60) < ease).astype(float)) for _ in range(2))
        wrong += difference(RIGHT, before, after, groups).sure
    assert wrong <= 12  # 7.5 are expected at 5%; more than 12 in 5% of experiments only
