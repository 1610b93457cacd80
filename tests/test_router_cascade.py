"""The second look: evidence, the two forms of revising, and the model at rest."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from m3_backbone.types import Generation
from router.calibration import Platt
from router.cascade import (
    CONFIDENCE,
    confidence_of,
    evidence,
    evidence_width,
    mean_probability,
    next_when_unsure,
    worth_it,
)
from router.errors import BundleCorrupt
from router.escalation import Escalation, SecondLook
from router.predictor import Float32, Predictions
from router.prices import Prices
from tests.cascading import small_escalation

COSTS = np.array([[1.0, 9.0, 36.0]])
NOTHING = np.zeros((1, len(CONFIDENCE)), np.float32)
PRICES = Prices(0.001, (0.0, 0.001, 1.0), (36.0, 9.0, 1.0))


def predictions(*rows: tuple[float, ...]) -> Predictions:
    score = np.array(rows, np.float32)
    return Predictions(score * np.float32(0.5), score, np.zeros(len(rows), np.float32))


def answer(*logprobs: float) -> Generation:
    return Generation("a", (5,) * len(logprobs), logprobs, 0.25, "stop", 30, 9)


def revised(expected: tuple[float, ...], tried: int, price: float = 0.0, **more: object) -> int:
    def given(tried: np.ndarray, confidence: Float32) -> Float32:
        return np.array([expected], np.float32)

    revise = worth_it(given, COSTS, price, **more)  # type: ignore[arg-type]
    return int(revise(np.array([tried]), NOTHING)[0])


def test_the_confidence_of_an_answer_is_in_the_order_of_the_tables_columns() -> None:
    assert CONFIDENCE == ("mean_logprob", "min_logprob", "first_margin", "answer_tokens")
    assert confidence_of(answer(-0.5, -1.5)).tolist() == [[-1.0, -1.5, 0.25, 2.0]]
    assert confidence_of(answer()).tolist() == [[0.0, 0.0, 0.25, 0.0]]


def test_evidence_holds_what_was_expected_and_what_the_answer_says() -> None:
    found = evidence(
        predictions((0.5, 0.75, 0.25), (0.5, 0.75, 0.25)), np.array([0, 2]), np.tile(NOTHING, (2, 1))
    )
    assert found.shape == (2, evidence_width(3))
    assert found.dtype == np.float32
    assert found[0, 6:9].tolist() == [0, 0.5, 0.25]
    assert found[1, 6:9].tolist() == [2, 0.25, 0.0]  # nothing is above the largest


def test_another_pass_is_made_only_where_its_gain_pays_for_its_tokens() -> None:
    assert revised((0.5, 0.6, 0.9), 0) == 2
    assert revised((0.5, 0.6, 0.9), 0, price=0.02) == 0  # 0.4 for 36 tokens, 0.1 for 9
    assert revised((0.5, 0.72, 0.9), 0, price=0.02) == 1
    assert revised((0.5, 0.72, 0.9), 0, price=0.02, threshold=0.05) == 0


def test_an_answer_is_never_given_up_for_a_smaller_scale_or_one_that_is_not_allowed() -> None:
    assert revised((0.99, 0.5, 0.4), 1) == 1
    assert revised((0.1, 0.2, 0.9), 2) == 2
    allowed = np.array([[True, True, False]])
    assert revised((0.1, 0.2, 0.9), 0, allowed=allowed) == 1
    assert revised((0.1, 0.2, 0.9), 1, allowed=allowed) == 1


def test_equal_gains_go_to_the_smaller_scale_and_no_gain_stays() -> None:
    assert revised((0.1, 0.5, 0.5), 0) == 1
    assert revised((0.5, 0.5, 0.5), 0) == 0


def test_the_plain_form_climbs_its_own_sequence_while_answers_are_unsure() -> None:
    revise = next_when_unsure((0, 2), (0.8,), mean_probability)
    unsure = np.tile(NOTHING, (3, 1))
    unsure[:, 0] = np.log([0.7, 0.9, 0.1])
    assert revise(np.array([0, 0, 2]), unsure).tolist() == [2, 0, 2]
    assert revise(np.array([1, 1, 1]), unsure).tolist() == [1, 1, 1]  # not on the sequence
    with pytest.raises(ValueError, match="must ascend"):
        next_when_unsure((2, 0), (0.8,), mean_probability)
    with pytest.raises(ValueError, match="2 thresholds"):
        next_when_unsure((0, 2), (0.8, 0.1), mean_probability)


@cache
def escalation() -> Escalation:
    return small_escalation().escalation


def test_an_escalation_at_rest_comes_back_from_its_manifest() -> None:
    known = escalation()
    value = json.loads(json.dumps(known.to_json()))
    assert Escalation.from_json(value, known.onnx, 5) == known


@pytest.mark.parametrize(
    "change",
    [
        {"optimism": 0.5},
        {"optimism": "nan"},
        {"threshold": -0.1},
        {"calibration": []},
        {"prices": {"default": 0.1, "price": [0.1], "mean_visual_tokens": []}},
        {"prices": None},
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BundleCorrupt, match="fit the bundle again"):
        Escalation.from_json({**escalation().to_json(), **change}, escalation().onnx, 5)


def test_a_graph_of_another_ladder_is_refused_by_name() -> None:
    with pytest.raises(BundleCorrupt, match=r"escalation\.onnx takes .* width 13"):
        SecondLook(escalation(), 3)
    with pytest.raises(BundleCorrupt, match=r"escalation\.onnx is not a graph"):
        SecondLook(replace(escalation(), onnx=b"no graph"), 5)


def test_one_request_and_many_are_looked_at_alike() -> None:
    look = SecondLook(escalation(), 5)
    rng = np.random.default_rng(0)
    score = rng.random((50, 5)).astype(np.float32)
    many = Predictions(score, score, np.zeros(50, np.float32))
    tried, confidence = rng.integers(0, 4, 50), rng.normal(size=(50, 4)).astype(np.float32)
    found = look.expected(many, tried, confidence)
    for i in (0, 17, 49):
        one = Predictions(score[[i]], score[[i]], np.zeros(1, np.float32))
        np.testing.assert_array_equal(look.expected(one, tried[[i]], confidence[[i]])[0], found[i])
    tokens = np.tile([1.0, 9, 36, 144, 576], (50, 1))
    then = look.revise(many, tokens, 1e-5, threshold=0.0)(tried, confidence)
    assert (then >= tried).all()
    assert (then > tried).any()


def test_the_first_look_pays_more_than_the_second() -> None:
    known = Escalation(b"", (Platt(1.0, 0.0),), 4.0, 0.01, PRICES)
    assert known.first_price(0.01) == 0.04
