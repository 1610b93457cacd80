"""Evaluation on tables small enough to do by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from training.evaluate import Contender, evaluate
from training.evaluation.pricing import price
from training.evaluation.results import FLOPS, FLOPS_7B, TOKENS
from training.evaluation.settings import by_expected_score


@dataclass(frozen=True)
class Table:
    """The part of an outcome table that `evaluate` reads."""

    scores: NDArray[np.float64]
    image_index: NDArray[np.int64]
    scales: tuple[int, ...] = (1, 9, 36)

    @property
    def visual_tokens(self) -> NDArray[np.int64]:
        return np.tile(np.array(self.scales, np.int64), (len(self.scores), 1))

    @property
    def flops(self) -> NDArray[np.int64]:
        return 1000 + 10 * self.visual_tokens

    def sufficient(self, tolerance: float = 0.0) -> NDArray[np.bool_]:
        best = self.scores.max(axis=1, keepdims=True)
        enough: NDArray[np.bool_] = (self.scores >= best - tolerance) & (best > 0)
        return enough


def by_hand() -> Table:
    """Eight questions on four images; means 0.25, 0.625, 0.75; best scores 7 of 8."""
    scores = np.array(
        [
            [1, 1, 1],  # every scale
            [1, 1, 1],
            [0, 1, 1],  # from 9
            [0, 1, 1],
            [0, 0, 1],  # only 36
            [0, 0, 1],
            [0, 1, 0],  # only 9
            [0, 0, 0],  # none
        ],
        np.float64,
    )
    return Table(scores, np.array([0, 0, 1, 1, 2, 2, 3, 3]))


def perfect(table: Table) -> Contender:
    return Contender("router", by_expected_score(table.scores, table.visual_tokens))


def test_fixed_scales_best_hull_and_oracle_are_those_done_by_hand() -> None:
    table = by_hand()
    result = evaluate(table, [perfect(table)], draws=50)
    assert (result.n, result.n_images) == (8, 4)
    np.testing.assert_allclose(result.fixed.accuracy, [0.25, 0.625, 0.75])
    assert result.best_scale == 36
    assert result.hull == (0, 1, 2)
    assert result.oracle.accuracy == 7 / 8
    # Choices 1, 1, 9, 9, 36, 36, 9 and one sample without a sufficient scale.
    assert result.oracle_costs[TOKENS] == {
        "smallest": pytest.approx((2 + 27 + 72 + 1) / 8),
        "largest": pytest.approx((2 + 27 + 72 + 36) / 8),
        "excluded": pytest.approx((2 + 27 + 72) / 7),
    }
    assert result.oracle_costs[FLOPS]["smallest"] == pytest.approx(1000 + 10 * 102 / 8)
    assert np.bincount(result.oracle.zones).tolist() == [2, 5, 1]


def test_a_router_that_knows_everything_captures_all_headroom() -> None:
    table = by_hand()
    result = evaluate(table, [perfect(table)], draws=50)
    accurate = result.result("router", "accurate")
    assert accurate is not None
    assert accurate.accuracy.value == 7 / 8
    assert accurate.cost[TOKENS].value == pytest.approx(102 / 8)
    assert accurate.accuracy_headroom_captured.value == pytest.approx(1.0)
    assert accurate.token_headroom_captured.value == pytest.approx(1.0)
    # The hull at 12.75 tokens: from (9, 0.625) to (36, 0.75).
    assert accurate.gain_over["fixed hull"].value == pytest.approx(7 / 8 - (0.625 + 0.125 * 3.75 / 27))


def test_headroom_is_not_claimed_where_its_condition_fails() -> None:
    table = by_hand()
    result = evaluate(table, [perfect(table)], draws=50)
    cheapest = next(p for p in result.policies if p.role == "frontier")
    assert cheapest.cost[TOKENS].value == 1
    assert cheapest.accuracy_headroom_captured.value == pytest.approx((0.25 - 0.75) / 0.125)
    assert math.isnan(cheapest.token_headroom_captured.value)


def test_a_router_of_constants_is_a_fixed_scale_and_gains_nothing_over_the_hull() -> None:
    table = by_hand()
    flat = np.tile(table.scores.mean(axis=0), (8, 1))
    result = evaluate(table, [Contender("router", by_expected_score(flat, table.visual_tokens))], draws=50)
    for policy in result.policies:
        assert policy.gain_over["fixed hull"].value == pytest.approx(0, abs=1e-6)
    assert result.mean_gain["fixed hull"].value == pytest.approx(0, abs=1e-6)
    assert result.mean_gain["fixed hull"].sign == 0


def test_settings_are_chosen_on_tune_and_measured_on_the_split() -> None:
    table = by_hand()
    replay = by_expected_score(table.scores, table.visual_tokens)
    silly = Table(np.tile([1.0, 0.0, 0.0], (8, 1)), table.image_index)
    contender = Contender("router", replay, by_expected_score(table.scores, table.visual_tokens))
    result = evaluate(table, [contender], tune=silly, draws=20)
    accurate = result.result("router", "accurate")
    # On that tune split scale 1 is always right, so the cheapest setting is the most accurate.
    assert accurate is not None
    assert accurate.chosen_on == "tune"
    assert accurate.cost[TOKENS].value == 1
    alone = evaluate(table, [perfect(table)], draws=20).result("router", "accurate")
    assert alone is not None
    assert alone.chosen_on == "this split"


def test_tokens_at_equal_accuracy_come_from_each_curves_first_crossing() -> None:
    table = by_hand()
    result = evaluate(table, [perfect(table)], draws=50)
    exact = result.equal_accuracy[TOKENS][0]
    assert exact.accuracy == 0.75
    assert exact.cost["fixed hull"] == pytest.approx(36)
    # Perfect scores: cheapest scale for all is 0.25 at 1 token; then the two settings 9 and 36 enter.
    assert exact.cost["router"] < 12.75
    assert exact.saved["fixed 36"].value == pytest.approx(1 - exact.cost["router"] / 36)


def test_an_accuracy_that_no_curve_reaches_costs_infinity_and_saves_nothing() -> None:
    table = by_hand()
    worst = Contender("router", by_expected_score(-table.scores, table.visual_tokens))
    row = evaluate(table, [worst], draws=30).equal_accuracy[TOKENS][0]
    assert math.isinf(row.cost["router"])
    assert row.saved["fixed hull"].value == -math.inf


def test_the_routers_own_flops_are_charged() -> None:
    table = by_hand()
    replay = by_expected_score(table.scores, table.visual_tokens)
    free = evaluate(table, [Contender("router", replay)], draws=10)
    charged = evaluate(table, [Contender("router", replay, charge={FLOPS: 500.0})], draws=10)
    for a, b in zip(free.policies, charged.policies, strict=True):
        assert b.cost[FLOPS].value == pytest.approx(a.cost[FLOPS].value + 500)


def test_the_best_fixed_scale_need_not_be_the_largest() -> None:
    table = Table(np.array([[0, 1, 1], [0, 1, 0], [1, 1, 0]], np.float64), np.arange(3))
    result = evaluate(table, [perfect(table)], draws=20)
    assert result.best_scale == 9
    assert result.hull == (0, 1)


def test_a_table_of_equal_scores_has_no_headroom_and_says_nan() -> None:
    table = Table(np.ones((4, 3)), np.arange(4))
    result = evaluate(table, [perfect(table)], draws=20)
    assert result.best_scale == 1
    assert all(math.isnan(p.accuracy_headroom_captured.value) for p in result.policies)
    assert all(math.isnan(p.token_headroom_captured.value) for p in result.policies)


def test_an_empty_table_is_refused() -> None:
    table = Table(np.zeros((0, 3)), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="no samples"):
        evaluate(table, [])


def test_a_table_without_contenders_still_has_fixed_scales_and_oracle() -> None:
    result = evaluate(by_hand(), [], draws=20)
    assert result.policies == ()
    assert result.oracle.accuracy == 7 / 8
    assert result.levels == ()


@dataclass(frozen=True)
class Sizes:
    image_views: NDArray[np.int64]
    image_index: NDArray[np.int64]
    visual_tokens: NDArray[np.int64]
    text_tokens: NDArray[np.int64]
    answer_tokens: NDArray[np.int64]


class Digits:
    """Prices a request so that every size can be read off the digits."""

    def request_flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        return views * 10**9 + visual_tokens * 10**6 + text_tokens * 10**3 + new_tokens


def test_pricing_runs_the_formula_on_every_requests_own_sizes() -> None:
    table = Sizes(
        image_views=np.array([1, 5]),
        image_index=np.array([1, 0]),
        visual_tokens=np.array([[4, 16], [1, 9]]),
        text_tokens=np.array([20, 30]),
        answer_tokens=np.array([[2, 3], [0, 1]]),
    )
    assert price(table, Digits()).tolist() == [[5004020002, 5016020003], [1001030001, 1009030001]]


def test_costs_at_7b_are_there_only_when_given() -> None:
    table = by_hand()
    assert set(evaluate(table, [], draws=5).oracle_costs) == {TOKENS, FLOPS}
    priced = evaluate(table, [], flops_7b=table.flops * 100, draws=5)
    np.testing.assert_allclose(priced.fixed.cost[FLOPS_7B], priced.fixed.cost[FLOPS] * 100)
