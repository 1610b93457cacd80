"""The reachable oracle, by hand and against the truth of a simulated model that guesses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.test_training_evaluate import Table, by_hand, perfect
from training.evaluate import evaluate
from training.evaluation.reachable import Reachable
from training.evaluation.results import TOKENS


def reach(*replicates: list[list[int]], best: int, draws: int = 20) -> Reachable:
    scores = [np.array(one, np.float64) for one in replicates]
    tokens = np.tile(np.array([1.0, 9.0, 36.0]), (len(scores[0]), 1))
    return Reachable.of(scores, {TOKENS: tokens}, np.arange(len(tokens)), best, draws=draws)


def test_the_scale_is_chosen_on_one_replicate_and_scored_on_the_other_both_ways() -> None:
    first = [[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]]
    second = [[1, 1, 1], [0, 0, 1], [0, 0, 1], [0, 1, 1]]
    got = reach(first, second, best=2)
    # Chosen on the first: 1, 1, 36, none; scored on the second: 1, 0, 1, and 0 at scale 1 or 1 at 36.
    # Chosen on the second: 1, 36, 36, 9; scored on the first: 1, 1, 1, 0.
    assert got.accuracy["smallest"].value == pytest.approx((2 / 4 + 3 / 4) / 2)
    assert got.accuracy["largest"].value == pytest.approx((3 / 4 + 3 / 4) / 2)
    assert got.accuracy["excluded"].value == pytest.approx(5 / 7)
    assert got.rule == "largest"
    assert got.cost[TOKENS]["smallest"] == pytest.approx(((1 + 1 + 36 + 1) / 4 + (1 + 36 + 36 + 9) / 4) / 2)
    assert got.cost[TOKENS]["largest"] == pytest.approx(((1 + 1 + 36 + 36) / 4 + (1 + 36 + 36 + 9) / 4) / 2)
    assert got.cost[TOKENS]["excluded"] == pytest.approx((1 + 1 + 36 + 1 + 36 + 36 + 9) / 7)
    assert got.plain.value == pytest.approx((3 / 4 + 1) / 2)
    assert got.best_fixed.value == pytest.approx((3 / 4 + 1) / 2)
    assert got.luck.value == pytest.approx(7 / 8 - 6 / 8)
    assert got.above_best.value == pytest.approx(6 / 8 - 7 / 8)


def test_of_three_replicates_two_choose_and_the_third_is_scored_in_turn() -> None:
    first, second, third = [[1, 0, 1], [0, 0, 0]], [[0, 1, 1], [0, 0, 0]], [[0, 0, 1], [0, 1, 0]]
    got = reach(first, second, third, best=1)
    # Without the first: 36 (right twice), 9; without the second: 36, 9; without the third: 36, none.
    # Scored on the one left out: 1, 0; 1, 0; 1, and 0 at scale 1 or at 36.
    assert got.accuracy[got.rule].value == pytest.approx(1 / 2)
    assert got.cost[TOKENS]["smallest"] == pytest.approx(((36 + 9) + (36 + 9) + (36 + 1)) / 6)
    assert got.cost[TOKENS]["excluded"] == pytest.approx((36 + 9 + 36 + 9 + 36) / 5)
    assert got.best_fixed.value == pytest.approx((0 + 1 + 0 + 1) / 6)
    assert got.above_best.value == pytest.approx(1 / 2 - 1 / 3)
    # Alone the first chooses 1 (wrong in both others), the second 9 (wrong in both), the third 36 (right in
    # both); for the second question the third 9 (wrong in both), the others none (the largest: wrong).
    assert got.chosen_on_one.value == pytest.approx(2 / 12 - 1 / 3)
    assert got.replicates == 3


def test_more_replicates_tell_more_of_what_is_there_and_never_too_much() -> None:
    rng = np.random.default_rng(2)
    n = 6000
    right = np.array([0.4, 0.6, 0.7])[rng.permuted(np.tile(np.arange(3), (n, 1)), axis=1)]
    drawn = [(rng.random((n, 3)) < right).astype(int).tolist() for _ in range(6)]
    two, three, six = (reach(*drawn[:k], best=0, draws=100) for k in (2, 3, 6))
    assert two.accuracy[two.rule].value < three.accuracy[three.rule].value < six.accuracy[six.rule].value
    assert six.accuracy[six.rule].value < 0.7 < two.plain.value
    assert two.above_best == two.chosen_on_one
    assert abs(six.chosen_on_one.value - two.above_best.value) < 0.02


def test_equal_replicates_have_no_luck() -> None:
    scores = by_hand().scores.astype(int).tolist()
    got = reach(scores, scores, best=2)
    assert got.luck.value == 0
    assert got.accuracy["smallest"].value == got.plain.value == 7 / 8


def test_a_question_counts_as_smaller_in_both_when_the_full_scale_misses_it_twice() -> None:
    first = [[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 1, 1]]
    second = [[0, 1, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0], [0, 1, 1]]
    # The first two; the third is answered at the full scale once, the fourth by no scale once.
    assert reach(first, second, best=1).smaller_in_both.value == pytest.approx(2 / 5)


def test_guessing_gives_the_plain_oracle_a_headroom_and_the_reachable_one_none() -> None:
    rng = np.random.default_rng(0)
    n = 4000
    first, second = ((rng.random((n, 3)) < 0.5).astype(int).tolist() for _ in range(2))
    got = reach(first, second, best=2, draws=200)
    assert got.plain.value == pytest.approx(7 / 8, abs=0.02)
    assert got.accuracy[got.rule].value == pytest.approx(0.5, abs=0.02)
    assert got.luck.sign == 1
    assert got.above_best.low < 0 < got.above_best.high or abs(got.above_best.value) < 0.02


def test_needs_that_are_real_stay_in_the_reachable_oracle() -> None:
    rng = np.random.default_rng(1)
    n = 4000
    need = rng.integers(3, size=n)
    dip = rng.random(n) < 0.3  # missed at the full scale for good
    able = (np.arange(3) >= need[:, None]) & ~((np.arange(3) == 2) & dip[:, None])
    first, second = ((able ^ (rng.random((n, 3)) < 0.02)).astype(int).tolist() for _ in range(2))
    got = reach(first, second, best=2, draws=200)
    assert got.above_best.low > 0.1
    assert got.smaller_in_both.value == pytest.approx(0.3 * 2 / 3, abs=0.03)


def test_an_evaluation_with_a_replicate_measures_headroom_against_the_reachable_oracle() -> None:
    table = by_hand()
    second = Table(table.scores.copy(), table.image_index)
    second.scores[6, 1] = 0.0  # the sample that only scale 9 answered was luck
    plain = evaluate(table, [perfect(table)], draws=50)
    result = evaluate(table, [perfect(table)], replicates=[second], draws=50)
    r = result.reachable
    assert plain.reachable is None
    assert r is not None
    # First chooses, second scores: 6 of 8 (that sample fails); second chooses: 6 of 8 at the smallest.
    assert r.accuracy["smallest"].value == 6 / 8
    assert r.above_best.value == pytest.approx(6 / 8 - 6 / 8)
    accurate = result.result("router", "accurate")
    assert accurate is not None
    assert math.isnan(accurate.accuracy_headroom_captured.value)
    assert accurate.plain_accuracy_headroom_captured.value == pytest.approx(1.0)
    before = plain.result("router", "accurate")
    assert before is not None
    assert before.accuracy_headroom_captured == before.plain_accuracy_headroom_captured
    tokens = r.cost[TOKENS]["smallest"]
    assert accurate.token_headroom_captured.value == pytest.approx((36 - 102 / 8) / (36 - tokens))


def test_replicates_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of one shape are needed, not \(1, 3\), \(2, 3\)"):
        reach([[1, 1, 1]], [[1, 1, 1], [0, 0, 0]], best=0)
    with pytest.raises(ValueError, match="Two replicates or more"):
        reach([[1, 1, 1]], best=0)
    with pytest.raises(ValueError, match="take fewer"):
        reach(*([[1, 1, 1]] for _ in range(43)), best=0)


def test_where_nothing_is_ever_right_there_is_nothing_to_exclude() -> None:
    got = reach([[0, 0, 0]], [[0, 0, 0]], best=0)
    assert math.isnan(got.accuracy["excluded"].value)
    assert math.isnan(got.cost[TOKENS]["excluded"])
    assert got.luck.value == 0
