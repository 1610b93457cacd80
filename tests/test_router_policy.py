from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from m3_backbone.scales import Ladder
from router.errors import ConstraintError
from router.policy import Constraints, Prices, choose, decide, fixed, token_budget, utility
from router.predictor import Predictions

LADDER = Ladder((1, 9, 36, 144, 576))
TOKENS = np.array(LADDER.scales)
PRICES = Prices(default=0.001, prices=(0.0, 0.001, 0.01, 1.0), mean_tokens=(400.0, 100.0, 20.0, 1.0))


def predictions(*scores: float) -> Predictions:
    row = np.array([scores], np.float32)
    return Predictions(sufficient=row * np.float32(0.5), score=row, novelty=np.zeros(1, np.float32))


RISING = predictions(0.3, 0.5, 0.8, 0.9, 0.92)


def decided(constraints: Constraints, p: Predictions | None = RISING, **more: Any) -> tuple[int, str]:
    decision = decide(p, tuple(LADDER), LADDER, constraints, PRICES, **more)
    return decision.scale, decision.policy


def test_the_price_decides_how_much_a_better_score_may_cost() -> None:
    assert decided(Constraints(price=0.0)) == (576, "utility")
    assert decided(Constraints(price=0.0005)) == (144, "utility")
    assert decided(Constraints(price=0.002)) == (36, "utility")
    assert decided(Constraints(price=1.0)) == (1, "utility")


def test_without_a_target_the_default_price_of_the_bundle_is_used() -> None:
    assert decided(Constraints()) == decided(Constraints(price=PRICES.default))


def test_ties_go_to_the_smaller_scale() -> None:
    assert decided(Constraints(price=0.0), predictions(0.5, 0.5, 0.5, 0.5, 0.5))[0] == 1
    assert decided(Constraints(price=0.0), predictions(0.2, 0.7, 0.7, 0.7, 0.6))[0] == 9


def test_a_token_budget_uses_the_lowest_price_that_kept_to_it() -> None:
    assert decided(Constraints(token_budget=500)) == (576, "token_budget")
    assert decided(Constraints(token_budget=100)) == (*decided(Constraints(price=0.001))[:1], "token_budget")
    assert decided(Constraints(token_budget=99.9))[0] == decided(Constraints(price=0.01))[0]
    assert PRICES.for_budget(1) == 1.0


def test_a_budget_under_the_smallest_mean_is_refused_with_that_mean() -> None:
    with pytest.raises(ConstraintError, match="smallest mean is 1 tokens") as caught:
        decided(Constraints(token_budget=0.5))
    assert caught.value.param == "token_budget"


def test_a_forced_scale_wins_over_everything() -> None:
    forced = Constraints(scale=36, min_scale=144, max_visual_tokens=9, token_budget=1)
    assert decided(forced) == (36, "fixed")
    decision = decide(None, tuple(LADDER), LADDER, forced, PRICES, fallback="the predictor failed")
    assert (decision.scale, decision.fallback, decision.probabilities) == (36, None, {})
    assert decision.reason == "scale 36 was asked for"


def test_floor_and_ceiling_bound_every_policy_and_the_fallback() -> None:
    assert decided(Constraints(price=1.0, min_scale=36))[0] == 36
    assert decided(Constraints(price=0.0, max_visual_tokens=144))[0] == 144
    assert decided(Constraints(price=0.0, max_visual_tokens=143))[0] == 36
    assert decided(Constraints(max_visual_tokens=100), None, fallback="why")[0] == 36
    assert decided(Constraints(), None, fallback="why")[0] == 576


def test_the_ceiling_is_on_the_tokens_of_the_request_not_on_the_scale() -> None:
    views = (4, 16, 88, 344, 1360)
    decision = decide(RISING, views, LADDER, Constraints(price=0.0, max_visual_tokens=100), PRICES)
    assert decision.scale == 36


def test_limits_that_nothing_meets_are_refused_by_name() -> None:
    with pytest.raises(ConstraintError, match=r"max_visual_tokens 3 .* costs 4 visual tokens") as caught:
        decide(RISING, (4, 16, 88, 344, 1360), LADDER, Constraints(max_visual_tokens=3), PRICES)
    assert caught.value.param == "max_visual_tokens"
    with pytest.raises(ConstraintError, match="min_scale 144 and max_visual_tokens 36 exclude each other"):
        decided(Constraints(min_scale=144, max_visual_tokens=36))


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"scale": 0}, "scale"),
        ({"scale": True}, "scale"),
        ({"min_scale": 9.0}, "min_scale"),
        ({"max_visual_tokens": -1}, "max_visual_tokens"),
        ({"token_budget": 0.0}, "token_budget"),
        ({"token_budget": float("nan")}, "token_budget"),
        ({"price": -0.1}, "price"),
        ({"price": float("inf")}, "price"),
        ({"price": 0.1, "token_budget": 10.0}, "token_budget"),
    ],
)
def test_constraints_that_mean_nothing_are_refused(values: dict[str, Any], param: str) -> None:
    with pytest.raises(ConstraintError) as caught:
        Constraints(**values)
    assert (caught.value.param, caught.value.status) == (param, 400)


@pytest.mark.parametrize("name", ["scale", "min_scale"])
def test_a_scale_off_the_ladder_is_refused_with_the_valid_ones(name: str) -> None:
    off: dict[str, Any] = {name: 37}
    with pytest.raises(ConstraintError, match=r"37 is not on the ladder\. Valid scales: 1, 9, 36") as caught:
        decided(Constraints(**off))
    assert (caught.value.code, caught.value.param) == ("invalid_scale", name)


def test_a_decision_tells_the_scores_per_scale_and_the_reason_in_words() -> None:
    decision = decide(
        RISING,
        tuple(LADDER),
        LADDER,
        Constraints(token_budget=100, min_scale=9, max_visual_tokens=200),
        PRICES,
    )
    assert decision.expected_scores == pytest.approx({1: 0.3, 9: 0.5, 36: 0.8, 144: 0.9, 576: 0.92})
    assert decision.probabilities[36] == pytest.approx(0.4)
    assert decision.certified is False
    assert decision.reason == (
        "token budget 100: expected score 0.800 for 36 visual tokens is the best trade at 0.001 per token, "
        "at least scale 9 and at most 200 visual tokens"
    )
    fallen = decide(RISING, tuple(LADDER), LADDER, Constraints(), PRICES, fallback="too new")
    assert (fallen.fallback, fallen.reason) == ("too new", "fallback to the largest scale allowed: too new")


def test_without_a_price_the_reason_is_the_highest_expected_score() -> None:
    decision = decide(RISING, tuple(LADDER), LADDER, Constraints(price=0.0, max_visual_tokens=144), PRICES)
    assert decision.reason == (
        "no price: expected score 0.900 for 144 visual tokens is the highest expected score, at most 144 "
        "visual tokens"
    )


def test_any_cost_can_take_the_place_of_visual_tokens() -> None:
    flat = (100.0, 101.0, 102.0, 103.0, 104.0)
    assert decided(Constraints(price=0.05), RISING)[0] == 1
    assert decided(Constraints(price=0.05), RISING, costs=flat)[0] == 144


def test_prices_that_are_no_table_are_refused() -> None:
    for prices, means in [((), ()), ((0.0, 1.0), (1.0,)), ((1.0, 0.0), (2.0, 1.0)), ((0.0, 1.0), (1.0, 2.0))]:
        with pytest.raises(ValueError, match=r"[Pp]rices"):
            Prices(0.0, prices, means)


scores_of_many = st.lists(
    st.lists(st.floats(0, 1, width=32), min_size=5, max_size=5), min_size=1, max_size=6
).map(lambda rows: np.array(rows, np.float32))


@given(
    scores_of_many,
    st.floats(0, 0.1),
    st.sampled_from([None, 1, 9, 36]),
    st.sampled_from([None, 36, 100, 1000]),
)
def test_a_replay_over_many_decides_as_one_at_a_time(
    expected: NDArray[np.float32], price: float, floor: int | None, ceiling: int | None
) -> None:
    constraints = Constraints(price=price, min_scale=floor, max_visual_tokens=ceiling)
    tokens = np.tile(TOKENS, (len(expected), 1))
    fallback = np.arange(len(expected)) % 3 == 2
    many = choose(expected, tokens, LADDER, constraints, PRICES, fallback=fallback)
    for i, row in enumerate(expected):
        one = decide(
            predictions(*row.tolist()),
            tuple(LADDER),
            LADDER,
            constraints,
            PRICES,
            fallback="unlike" if fallback[i] else None,
        )
        assert one.scale == LADDER.scales[many[i]]


@given(scores_of_many, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_price_never_buys_a_larger_scale(
    expected: NDArray[np.float32], one: float, other: float
) -> None:
    costs = np.tile(TOKENS.astype(np.float64), (len(expected), 1))
    low, high = sorted((one, other))
    assert (utility(expected, costs, high) <= utility(expected, costs, low)).all()


def test_the_policies_are_the_same_functions_over_tables() -> None:
    costs = np.tile(TOKENS.astype(np.float64), (3, 1))
    expected = np.tile(RISING.score, (3, 1))
    assert fixed(3, LADDER, 144).tolist() == [3, 3, 3]
    assert token_budget(expected, costs, 100, PRICES).tolist() == utility(expected, costs, 0.001).tolist()
    forced = choose(expected, np.tile(TOKENS, (3, 1)), LADDER, Constraints(scale=9), PRICES)
    assert forced.tolist() == [1, 1, 1]
