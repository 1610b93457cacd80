"""Which certificate covers a request, and what a decision says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from m3_backbone.scales import Ladder
from router.certificates import FULL_PRICE, Certificates, Setting
from router.constraints import Constraints
from router.errors import ConstraintError
from router.policy import Decision, decide
from router.predictor import Predictions
from router.prices import Prices
from tests.certified import GRID, certificate

LADDER = Ladder((1, 9, 36, 144, 576))
PRICES = Prices(default=0.001, prices=(0.0, 0.001, 0.01, 1.0), mean_tokens=(400.0, 100.0, 20.0, 1.0))
SCORE = np.array([[0.3, 0.5, 0.8, 0.9, 0.92]], np.float32)
RISING = Predictions(SCORE, SCORE, np.zeros(1, np.float32))


def decided(constraints: Constraints, certificates: Certificates = GRID, **more: Any) -> Decision:
    predictions = more.pop("predictions", RISING)
    return decide(predictions, tuple(LADDER), LADDER, constraints, PRICES, certificates=certificates, **more)


def test_a_request_gets_the_certified_price_and_says_so() -> None:
    decision = decided(Constraints(accuracy_drop=0.02, delta=0.1))
    assert (decision.scale, decision.policy, decision.certified) == (36, "accuracy_drop", True)
    assert decision.reason == (
        "accuracy drop 0.02 (regret, delta 0.1): the certified setting (regret at most 0.02, from 1000 "
        "images, 40 visual tokens on average, 576 at the full scale); expected score 0.800 for 36 visual "
        "tokens is the best trade at 0.002 per token"
    )


@pytest.mark.parametrize(
    ("epsilon", "delta", "said"),
    [
        (0.02, 0.1, "accuracy drop 0.02 (regret, delta 0.1): "),
        (0.03, 0.1, "(regret, delta 0.1), snapped from 0.03 to 0.02: the certified setting"),
        (0.02, 0.3, "(regret, delta 0.3), snapped from delta 0.3 to 0.1: the certified setting"),
        (0.03, 0.3, ", snapped from 0.03 to 0.02 and from delta 0.3 to 0.1: "),
        (0.015, 0.05, ", snapped from 0.015 to 0.01: the largest scale allowed, because nothing cheaper"),
    ],
)
def test_a_request_that_snaps_is_told_to_which_certificate(epsilon: float, delta: float, said: str) -> None:
    assert said in decided(Constraints(accuracy_drop=epsilon, delta=delta)).reason


def priced(price: float, scores: list[float]) -> Decision:
    """What the certificate of that price decides about these expected scores."""
    score = np.array([scores], np.float32)
    return decided(
        Constraints(accuracy_drop=0.02),
        Certificates(accuracy=(certificate(0.02, 0.05, price),)),
        predictions=Predictions(score, score, np.zeros(1, np.float32)),
    )


def test_a_certified_setting_without_a_price_is_not_called_a_trade() -> None:
    for price in (0.0, -1e-5):
        reason = priced(price, [0.3, 0.5, 0.8, 0.9, 0.92]).reason
        assert reason.endswith(
            "; no price: expected score 0.920 for 576 visual tokens is the highest expected score"
        )
    larger = priced(-1e-3, [0.3, 0.5, 0.8, 0.95, 0.92])
    assert larger.scale == 576
    assert larger.reason.endswith(
        "; no price: expected score 0.920 for 576 visual tokens, as it prefers larger scales; a smaller one "
        "is expected to score 0.950"
    )
    assert "per token" not in larger.reason


def test_a_limit_of_the_request_takes_the_certificate_away_and_the_reason_says_so() -> None:
    decision = decided(Constraints(accuracy_drop=0.02, delta=0.1, max_visual_tokens=144))
    assert decision.certified is False
    assert "a setting that is not certified of such requests (regret at most 0.02" in decision.reason
    assert decision.reason.endswith(", at most 144 visual tokens")


def test_the_steps_of_a_bundle_are_those_of_whole_certificates_by_loss() -> None:
    assert GRID.steps() == {
        "regret": ((0.001, 0.01, 0.02, 0.05), (0.05, 0.1)),
        "net": ((0.05,), (0.05,)),
    }
    assert Certificates().steps() == {}


@pytest.mark.parametrize(
    ("epsilon", "delta", "scale"),
    [
        (0.02, 0.05, 144),
        (0.02, 0.09, 144),
        (0.02, 0.3, 36),
        (0.049, 0.05, 144),
        (0.05, 0.05, 1),
        (0.9, 0.9, 1),
        (0.9, 0.05, 1),
    ],
)
def test_a_request_snaps_to_the_safer_one_of_the_grid(epsilon: float, delta: float, scale: int) -> None:
    assert decided(Constraints(accuracy_drop=epsilon, delta=delta)).scale == scale


def test_which_certificate_covers_a_request_does_not_depend_on_what_they_cost() -> None:
    cheap = replace(GRID, accuracy=(certificate(0.01, 0.05, 1.0), certificate(0.02, 0.05, 0.0)))
    found = cheap.covering("regret", 0.03, 0.05)
    assert found is not None
    assert found.epsilon == 0.02


def test_the_delta_and_the_loss_of_a_drop_have_defaults() -> None:
    assert decided(Constraints(accuracy_drop=0.02)) == decided(
        Constraints(accuracy_drop=0.02, delta=0.05, loss="regret")
    )
    assert decided(Constraints(accuracy_drop=0.05, loss="net")).scale == 576


@pytest.mark.parametrize(
    ("constraints", "why"),
    [
        (Constraints(accuracy_drop=0.01), "nothing cheaper passed for a drop of 0.01 on 1000 images"),
        (
            Constraints(accuracy_drop=0.001),
            "1000 images cannot certify a drop of 0.001 even if they lose nothing, 2995 are needed",
        ),
        (
            Constraints(accuracy_drop=0.0005),
            "no certificate of this router covers that: it has them of regret for 0.001, 0.01, 0.02, 0.05 at "
            "delta 0.05, 0.1",
        ),
        (Constraints(accuracy_drop=0.02, delta=0.01), "no certificate of this router covers that"),
        (Constraints(accuracy_drop=0.05, loss="agreement"), "no certificate of this router covers that"),
        (Constraints(accuracy_drop=0.05, kind="conversation"), "certificates speak of one question about"),
    ],
)
def test_what_is_not_certified_is_answered_at_the_full_scale_and_says_why(
    constraints: Constraints, why: str
) -> None:
    decision = decided(constraints)
    assert (decision.scale, decision.policy, decision.certified) == (576, "accuracy_drop", False)
    assert f"the largest scale allowed, because {why}" in decision.reason
    assert decided(replace(constraints, max_visual_tokens=100)).scale == 36


def test_the_setting_of_a_cascade_is_not_taken_for_one_without() -> None:
    steep = replace(certificate(0.02, 0.05, None), setting=Setting(1.0, threshold=0.5))
    decision = decided(Constraints(accuracy_drop=0.02), Certificates(accuracy=(steep,)))
    assert (decision.scale, decision.certified) == (576, False)


@pytest.mark.parametrize(
    "more",
    [
        {"min_scale": 9},
        {"max_scale": 144},
        {"max_visual_tokens": 576},
        {"greedy": False},
        {"max_new_tokens": 15},
        {"scale": 36},
    ],
)
def test_a_floor_a_ceiling_a_forced_scale_a_sampled_or_cut_answer_is_not_certified(
    more: dict[str, Any],
) -> None:
    asked = Constraints(accuracy_drop=0.02, **more)
    plain = decided(Constraints(accuracy_drop=0.02, max_new_tokens=16))
    assert plain.certified
    assert not decided(asked).certified
    if "greedy" in more or "max_new_tokens" in more:  # routed alike
        assert decided(asked).scale == plain.scale


def test_answers_in_another_dtype_are_not_certified_and_the_reason_names_both() -> None:
    asked = Constraints(accuracy_drop=0.02, dtype="float32")
    assert decided(asked).certified
    other = decided(replace(asked, dtype="bfloat16"))
    assert (other.scale, other.certified) == (decided(asked).scale, False)
    assert "a setting that is not certified of answers in bfloat16, only in float32 (" in other.reason
    of_halves = replace(GRID, dtype="bfloat16")
    assert decided(replace(asked, dtype="bfloat16"), of_halves).certified
    assert not decided(asked, of_halves).certified
    budget = Constraints(token_budget=100, delta=0.05, dtype="float16")
    assert not decided(budget).certified
    assert "(delta 0.05), not certified of answers in float16, only in float32: " in decided(budget).reason


def test_other_policies_are_never_certified_but_a_token_budget_with_a_delta() -> None:
    for constraints in (Constraints(), Constraints(price=0.1), Constraints(token_budget=100)):
        assert not decided(constraints).certified
    # 100 tokens are the mean at 0.001, but not the bound: the next price keeps to it.
    proven = decided(Constraints(token_budget=100, delta=0.05))
    assert (proven.certified, proven.scale) == (True, decided(Constraints(price=0.01)).scale)
    assert proven.reason.startswith("token budget 100 (delta 0.05): ")
    assert decided(Constraints(token_budget=100)).scale == decided(Constraints(price=0.001)).scale


def test_a_token_budget_with_a_delta_that_nothing_bounds_is_kept_on_average_and_says_so() -> None:
    for delta, certificates in ((0.01, GRID), (0.05, Certificates())):
        decision = decided(Constraints(token_budget=100, delta=delta), certificates)
        assert not decision.certified
        assert decision.reason.startswith("token budget 100, on average for want of a certified bound: ")
    with pytest.raises(ConstraintError, match="cannot be met: the smallest mean is 1 tokens"):
        decided(Constraints(token_budget=0.5, delta=0.05))


def test_a_fallback_for_novelty_is_certified_and_one_for_want_of_predictions_is_not() -> None:
    asked = Constraints(accuracy_drop=0.02)
    novel = decided(asked, fallback="the image is unlike those the router knows")
    assert (novel.scale, novel.certified) == (576, True)
    failed = decided(asked, predictions=None, fallback="the predictor failed")
    assert (failed.scale, failed.certified) == (576, False)


def test_the_full_price_takes_the_largest_scale_whatever_is_expected() -> None:
    from router.policy import utility

    steep = np.array([[1.0, 0.0]], np.float32)
    for costs in ([[1.0, 2.0]], [[1.0, 9.0]]):
        assert utility(steep, np.array(costs), FULL_PRICE).tolist() == [1]


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"accuracy_drop": 0.0}, "accuracy_drop"),
        ({"accuracy_drop": 1.0}, "accuracy_drop"),
        ({"accuracy_drop": float("nan")}, "accuracy_drop"),
        ({"accuracy_drop": True}, "accuracy_drop"),
        ({"accuracy_drop": 0.1, "delta": 0.0}, "delta"),
        ({"accuracy_drop": 0.1, "delta": 1.0}, "delta"),
        ({"accuracy_drop": 0.1, "loss": "harm"}, "loss"),
        ({"delta": 0.1}, "delta"),
        ({"price": 0.1, "delta": 0.1}, "delta"),
        ({"token_budget": 9, "loss": "net"}, "loss"),
        ({"accuracy_drop": 0.1, "token_budget": 9}, "token_budget"),
        ({"accuracy_drop": 0.1, "price": 0.1}, "price"),
    ],
)
def test_a_drop_that_means_nothing_is_refused(values: dict[str, Any], param: str) -> None:
    with pytest.raises(ConstraintError) as caught:
        Constraints(**values)
    assert (caught.value.param, caught.value.status) == (param, 400)


def test_a_setting_must_be_finite() -> None:
    for values in ((float("inf"), None), (0.0, float("nan"))):
        with pytest.raises(ValueError, match="finite"):
            Setting(*values)
