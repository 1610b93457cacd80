"""Weights that give the fixed scales other accuracies: met where they can be, nearest to equal, else near."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.profiles import RIDGE, SMALLEST_CELL, fit_weights


def cells(*means: tuple[float, ...], size: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """One cell per row of means, ``size`` questions each; every question scores its cell's mean."""
    return np.repeat(np.array(means), size, axis=0), np.repeat(np.arange(len(means)), size)


def test_a_target_between_two_cells_is_met_by_their_one_mixture() -> None:
    scores, which = cells((0.0, 0.2), (1.0, 0.6))
    got = fit_weights(scores, which, np.array([0.3, 0.32]))
    np.testing.assert_allclose(got.accuracy, [0.3, 0.32], atol=1e-3)
    np.testing.assert_allclose(got.each[[0, -1]], [1.4, 0.6], atol=5e-3)
    assert got.each.mean() == pytest.approx(1)
    assert got.effective_n == pytest.approx(200**2 / (100 * 1.4**2 + 100 * 0.6**2), rel=0.01)


def test_the_datas_own_profile_leaves_the_weights_equal() -> None:
    scores, which = cells((0.1, 0.5), (0.4, 0.6), (0.9, 0.8))
    got = fit_weights(scores, which, scores.mean(axis=0))
    np.testing.assert_allclose(got.each, 1, atol=1e-6)
    assert got.effective_n == pytest.approx(300)
    np.testing.assert_allclose(got.residual, 0, atol=1e-9)


def test_what_cannot_be_met_is_come_near_to_and_the_residual_says_by_how_much() -> None:
    scores, which = cells((0.2, 0.4), (0.6, 0.7))
    got = fit_weights(scores, which, np.array([0.9, 0.9]))
    np.testing.assert_allclose(got.accuracy, [0.6, 0.7], atol=1e-3)
    np.testing.assert_allclose(got.residual, [-0.3, -0.2], atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_no_other_weights_are_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    means = rng.random((4, 3))
    scores, which = cells(*map(tuple, means), size=30)
    target = rng.random(3)
    got = fit_weights(scores, which, target)
    w = got.each[::30] / 4

    def price(w: np.ndarray) -> float:
        some = w > 0
        kl = float((w[some] * np.log(w[some] * 4)).sum())
        return kl + float(((w @ means - target) ** 2).sum()) / (2 * RIDGE)

    best = price(w)
    for _ in range(20):
        other = rng.dirichlet(np.ones(4))
        for step in (1.0, 0.1, 0.001):
            assert best <= price((1 - step) * w + step * other) + 1e-6


def test_handfuls_of_questions_share_one_weight() -> None:
    few = SMALLEST_CELL - 1
    scores = np.concatenate([np.zeros((100, 1)), np.ones((few, 1)), np.full((few, 1), 0.5)])
    which = np.repeat([7, 3, 5], [100, few, few])
    got = fit_weights(scores, which, np.array([0.5]))
    assert got.cells == 2
    assert len(set(got.each[100:].round(9).tolist())) == 1


def test_a_single_handful_joins_the_next_larger_cell() -> None:
    scores = np.concatenate([np.zeros((100, 1)), np.ones((60, 1)), np.full((3, 1), 0.5)])
    got = fit_weights(scores, np.repeat([0, 1, 2], [100, 60, 3]), np.array([0.5]))
    assert got.cells == 2
    assert len(set(got.each[100:].round(9).tolist())) == 1
    assert fit_weights(scores[-3:], np.array([0, 1, 2]), np.array([0.5])).cells == 1


def test_a_target_of_another_ladder_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\); the scores have 2 scales"):
        fit_weights(np.zeros((4, 2)), np.zeros(4, np.int64), np.zeros(3))
