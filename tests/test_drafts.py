"""Guesses from the text against a search of all of it, and a policy that must know when they do not pay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.llm.drafts import LENGTHS, DraftPolicy, Lookup


def by_brute_force(tokens, count):
    """What followed the last earlier place of the longest run of 4 to 2 tokens that the text ends with."""
    for length in (4, 3, 2):
        run = tokens[-length:]
        for end in range(len(tokens) - 1, length - 1, -1):
            if len(tokens) > length and tokens[end - length : end] == run:
                return tokens[end : end + count], length
    return [], 0


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 7), st.integers(0, 40))
def test_a_guess_is_what_followed_last_time(tokens, count, known):
    lookup = Lookup(tokens[:known])
    for token in tokens[known:]:
        lookup.append(token)
        lookup.propose(count)  # changes nothing
    assert lookup.propose(count) == by_brute_force(tokens, count)


def test_a_run_may_overlap_itself():
    assert Lookup([5, 5, 5]).propose(3) == ([5], 2)
    assert Lookup([1, 2, 1, 2, 1, 2]).propose(7) == ([1, 2], 4)


def test_without_a_run_there_is_no_guess():
    for tokens in ([], [1], [1, 2], [1, 2, 3, 4, 2]):
        assert Lookup(tokens).propose(3) == ([], 0)


# What pays

FLAT = {1: 0.100, 4: 0.110, 8: 0.125}  # a batch costs the weights, whatever its rows
DEAR = {1: 0.100, 4: 0.400, 8: 0.800}  # each row costs as much again


def write(policy, cost, hit_rate, steps=400, answers=1, matches=(3,)):
    """Lengths that the policy chose while the first so many of each guess were right; costs in seconds of so many rows."""
    chosen = []
    for step in range(steps):
        length = policy.choose([*matches, *[0] * (answers - len(matches))], 64)
        chosen.append(length)
        rows = answers + length * len(matches)
        policy.learn_cost(rows, cost(rows) if callable(cost) else cost[rows])
        for match in matches if length else ():
            policy.learn_hits(match, length, round(hit_rate(step) if callable(hit_rate) else hit_rate * length))
    return chosen


def tried(chosen):
    return sum(length > 0 for length in chosen) / len(chosen)


def test_what_a_step_costs_without_is_learned_first():
    first, second, *_ = write(DraftPolicy(), FLAT, 1.0)
    assert first == 0 < second


def test_lengths_are_those_that_fill_fast_batches():
    assert [1 + length for length in LENGTHS] == [1, 4, 8]


def test_nothing_is_chosen_where_nothing_is_found():
    policy = DraftPolicy()
    policy.learn_cost(2, 0.1)
    assert policy.choose([], 64) == policy.choose([0, 0], 64) == 0


def test_long_guesses_are_made_while_they_are_right_and_rows_are_cheap():
    assert set(write(DraftPolicy(), FLAT, 1.0)[50:]) == {7}


def test_wrong_guesses_end_them_and_they_are_tried_again_now_and_then():
    policy = DraftPolicy()
    chosen = write(policy, FLAT, 0.0)
    assert 0 < tried(chosen[50:]) < 0.3
    seconds = sum(FLAT[1 + length] for length in chosen)
    assert seconds < len(chosen) * FLAT[1] / 0.97  # never below 0.97 of the speed without


def test_dear_rows_end_them():
    chosen = write(DraftPolicy(), DEAR, 0.6)
    assert tried(chosen[20:]) < 0.03


def test_they_come_back_when_the_text_begins_to_repeat_itself():
    policy = DraftPolicy()
    write(policy, FLAT, 0.0)
    assert tried(write(policy, FLAT, 1.0)[100:]) > 0.95


@pytest.mark.parametrize("slow", [2.0, 20.0])
def test_they_come_back_after_another_process_held_the_processor(slow):
    policy = DraftPolicy()
    write(policy, {1: 0.1, 4: slow, 8: slow}, 1.0, steps=3)
    chosen = write(policy, FLAT, 1.0, steps=3000)
    assert tried(chosen[-300:]) > 0.95


def test_each_match_length_is_judged_by_itself():
    policy = DraftPolicy()
    for _ in range(200):
        policy.learn_cost(1, 0.1)
        policy.learn_cost(8, 0.2)
        policy.learn_hits(2, 3, 0)
        policy.learn_hits(4, 3, 3)
    assert policy.choose([2], 64) == 0
    assert policy.choose([4], 64) > 0


def test_a_full_batch_ends_them():
    """With many answers the fast rows are taken already, and each guess costs a row of full price."""
    policy = DraftPolicy()
    chosen = write(policy, lambda rows: 0.1 + 0.02 * max(0, rows - 4), 0.4, answers=8, matches=(2,) * 8)
    assert tried(chosen[100:]) < 0.1


def test_what_was_guessed_and_accepted_is_counted():
    policy = DraftPolicy()
    policy.learn_hits(2, 7, 5)
    policy.learn_hits(4, 3, 0)
    assert (policy.guessed, policy.accepted) == (10, 5)


def test_guesses_keep_within_the_rows_that_there_are():
    policy = DraftPolicy()
    for rows, seconds in ((4, 0.1), (16, 0.11), (32, 0.12)):
        policy.learn_cost(rows, seconds)
    for _ in range(100):
        policy.learn_hits(3, 7, 7)
    assert policy.choose([3] * 4, 64) == 7
    assert policy.choose([3] * 4, 16) == 3
    assert policy.choose([3] * 4, 15) == 0
