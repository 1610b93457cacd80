from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from router.calibration import Isotonic, Platt
from router.policy import utility
from router.predictor import Predictions
from training.calibrate import GIVE, default_price, fit_calibration, fit_isotonic, fit_platt, fit_prices
from training.candidates.base import image_folds, log_loss

TOKENS = np.array([1, 9, 36, 144, 576])


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def drawn(slope: float, offset: float, n: int = 20_000) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """(p, y): y happens with sigmoid(slope logit(p) + offset)."""
    rng = np.random.default_rng(3)
    logit = rng.normal(0, 1.5, n)
    y = (rng.random(n) < sigmoid(slope * logit + offset)).astype(np.float64)
    return sigmoid(logit).astype(np.float32), y


@pytest.mark.parametrize("spread", [1e-12, 1e-4, 0.01, 0.3, 1.5, 5.0])
@pytest.mark.parametrize("middle", [-3.0, 0.0, 4.0])
@pytest.mark.parametrize("slope", [-0.5, 0.01, 1.2])
def test_platt_keeps_the_mean_whatever_the_predictor_said(spread: float, middle: float, slope: float) -> None:
    rng = np.random.default_rng(3)
    logit = rng.normal(middle, spread, 1500)
    y = (rng.random(1500) < 1 / (1 + np.exp(-(slope * logit + 0.5)))).astype(np.float64)
    found = fit_platt(1 / (1 + np.exp(-logit)), y)
    assert found(1 / (1 + np.exp(-logit))).mean() == pytest.approx(y.mean(), abs=1e-3)


def test_platt_finds_the_map_that_made_the_data() -> None:
    found = fit_platt(*drawn(0.5, -0.7))
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.offset == pytest.approx(-0.7, abs=0.04)


def test_platt_survives_labels_that_are_all_the_same_and_predictions_that_are() -> None:
    p = np.full(500, 0.5, np.float32)
    for y in (np.zeros(500), np.ones(500)):
        assert fit_platt(p, y)(p)[0] == pytest.approx(float(y[0]), abs=0.01)
    mixed = np.tile([0.0, 1.0, 1.0, 1.0], 125)
    assert fit_platt(p, mixed)(p)[0] == pytest.approx(0.75, abs=0.01)
    certain = np.tile(np.array([0.0, 1.0], np.float32), 250)
    assert np.isfinite(fit_platt(certain, np.tile([0.0, 1.0], 250))(certain)).all()


@pytest.mark.parametrize("seed", range(4))
def test_rounding_of_predictions_that_are_all_the_same_gets_no_slope(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = np.float32(0.7) + np.float32(6e-8) * rng.integers(-1, 2, 1000).astype(np.float32)
    y = (rng.random(1000) < 0.6).astype(np.float64)
    elsewhere = fit_platt(p, y)(np.array([0.69, 0.71], np.float32))
    assert elsewhere == pytest.approx(y.mean(), abs=0.01)


def test_a_predictor_worse_than_none_is_flattened_not_turned_round() -> None:
    p, y = drawn(-1.0, 0.0)
    found = fit_platt(p, y)
    assert found.slope == 0.0
    assert found(p)[0] == pytest.approx(y.mean(), abs=1e-3)


def test_soft_labels_are_calibrated_to_their_mean() -> None:
    p, y = drawn(1.0, 0.5)
    soft = y * 0.6
    assert fit_platt(p, soft)(p).mean() == pytest.approx(soft.mean(), abs=1e-3)


def test_isotonic_ascends_and_keeps_the_mean() -> None:
    p, y = drawn(2.0, 1.0)
    found = fit_isotonic(p, y)
    assert isinstance(found, Isotonic)
    assert found(p).mean() == pytest.approx(y.mean(), abs=1e-3)


def test_the_kind_of_map_is_chosen_on_held_out_images() -> None:
    rng = np.random.default_rng(0)
    n = 6000
    p = rng.random((n, 2)).astype(np.float32)
    steps = np.where(p[:, 1] < 0.3, 0.5, np.where(p[:, 1] < 0.7, 0.1, 0.95))  # no sigmoid fits that
    y = (rng.random((n, 2)) < np.stack([p[:, 0].astype(np.float64), steps], axis=1)).astype(np.float64)
    raw = Predictions(p, p, np.zeros(n, np.float32))
    found = fit_calibration(raw, y.astype(bool), y, np.arange(n) // 3)
    assert [type(m) for m in found.score] == [Platt, Isotonic]
    assert found.sufficient == found.score


def test_calibration_lowers_the_log_loss_of_an_overconfident_predictor() -> None:
    p, y = drawn(0.4, 0.0)
    assert log_loss(y, fit_platt(p, y)(p)) < log_loss(y, p) - 0.05


def learned(n: int = 2000) -> tuple[Predictions, NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(1)
    need = rng.integers(0, 5, n)
    expected = np.where(np.arange(5) >= need[:, None], 0.9, 0.2) + rng.normal(0, 0.05, (n, 5))
    scores = (rng.random((n, 5)) < np.clip(expected, 0, 1)).astype(np.float64)
    p = np.clip(expected, 0, 1).astype(np.float32)
    return Predictions(p, p, np.zeros(n, np.float32)), np.tile(TOKENS, (n, 1)), scores


def test_the_table_of_prices_reaches_from_the_cheapest_to_the_dearest_and_keeps_its_word() -> None:
    predictions, tokens, scores = learned()
    prices = fit_prices(predictions, tokens, scores)
    assert len(prices.prices) > 50
    assert prices.prices[0] == 0.0
    assert prices.mean_tokens[-1] == 1.0
    for budget in (1, 5, 40, 100, prices.mean_tokens[0]):
        price = prices.for_budget(budget)
        index = utility(predictions.score, tokens.astype(np.float64), price)
        mean = float(np.take_along_axis(tokens, index[:, None], axis=1).mean())
        assert mean <= budget
        assert mean > 0.75 * budget  # the table is fine enough to spend most of what is given


def test_fallbacks_are_charged_in_the_table() -> None:
    predictions, tokens, scores = learned()
    fallback = np.arange(len(scores)) % 10 == 0
    prices = fit_prices(predictions, tokens, scores, fallback)
    assert prices.mean_tokens[-1] == pytest.approx(0.9 * 1 + 0.1 * 576)


def test_the_default_price_gives_up_no_more_than_it_may_on_tune() -> None:
    predictions, tokens, scores = learned()
    price = fit_prices(predictions, tokens, scores).default
    index = utility(predictions.score, tokens.astype(np.float64), price)[:, None]
    assert np.take_along_axis(scores, index, axis=1).mean() >= scores.mean(axis=0).max() - GIVE
    assert np.take_along_axis(tokens, index, axis=1).mean() < 0.7 * 576


def test_the_default_price_is_the_highest_that_is_accurate_enough() -> None:
    prices = (0.0, 0.1, 0.2, 0.3)
    assert default_price(prices, (0.80, 0.798, 0.796, 0.70), best_fixed=0.80) == 0.2
    # None is within half a point of the best fixed scale: nearly the most accurate, of those the highest.
    assert default_price(prices, (0.78, 0.77, 0.78, 0.70), best_fixed=0.80) == 0.2
    assert default_price(prices, (0.78, 0.7795, 0.7785, 0.70), best_fixed=0.80) == 0.1
    # One is, if only just: the others are not.
    assert default_price(prices, (0.7955, 0.7948, 0.7946, 0.70), best_fixed=0.80) == 0.0


def test_predictions_that_know_nothing_still_make_a_table() -> None:
    _, tokens, scores = learned(300)
    flat = np.full((300, 5), 0.5, np.float32)
    prices = fit_prices(Predictions(flat, flat, np.zeros(300, np.float32)), tokens, scores)
    assert prices.mean_tokens[-1] == 1.0
    assert prices.for_budget(1) == prices.prices[int(np.argmax(np.array(prices.mean_tokens) <= 1))]


def test_folds_never_split_an_image_and_are_of_like_size() -> None:
    groups = np.repeat(np.arange(100), 3)
    fold = image_folds(groups, 4, seed=0)
    assert all(len(set(fold[groups == g])) == 1 for g in range(100))
    assert np.bincount(fold).tolist() == [75] * 4
    with pytest.raises(ValueError, match="3 images cannot be put into 4 folds"):
        image_folds(np.arange(3), 4, seed=0)
