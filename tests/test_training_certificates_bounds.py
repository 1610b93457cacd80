"""Bounds against values worked out by hand, against another library, and as they must move."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.certificates.bounds import (
    BOUNDS,
    LARGEST_BET,
    LEVEL,
    Bound,
    Sets,
    bet_against,
    betting,
    hoeffding_bentkus,
)
from training.certificates.testing import passed

HB, BETS = BOUNDS["regret"], BOUNDS["net"]
EPSILONS = st.floats(0.005, 0.5)


def one_p(bound: Bound, losses: NDArray[np.float64], epsilon: float) -> float:
    return float(bound.p_values(losses[:, None], epsilon, Sets.whole(len(losses)))[0, 0])


def zeros_and_ones(ones: int, n: int) -> NDArray[np.float64]:
    return np.concatenate([np.ones(ones), np.zeros(n - ones)])


def test_without_any_loss_hoeffding_bentkus_is_the_chance_of_none_in_n() -> None:
    assert one_p(HB, np.zeros(100), 0.03) == pytest.approx(0.97**100)


def test_bentkus_bound_is_e_times_a_binomial_tail_and_the_smaller_of_the_two_counts() -> None:
    # 3 losses of 1 among 100 images against 0.1: P(Bin(100, 0.1) <= 3) = 0.0078364871...
    binomial = sum(math.comb(100, k) * 0.1**k * 0.9 ** (100 - k) for k in range(4))
    kl = 0.03 * math.log(0.3) + 0.97 * math.log(0.97 / 0.9)
    assert binomial == pytest.approx(0.0078364871)
    assert one_p(HB, zeros_and_ones(3, 100), 0.1) == pytest.approx(
        min(math.exp(-100 * kl), math.e * binomial)
    )
    # Part of a loss counts as a whole one in Bentkus' tail, and thirds that add up to one as that one.
    thirds = np.concatenate([np.full(3, 1 / 3), np.zeros(997)])
    tail = 0.99**1000 + 1000 * 0.01 * 0.99**999
    assert one_p(HB, thirds, 0.01) == pytest.approx(min(math.e * tail, _hoeffding(0.001, 0.01, 1000)))


def _hoeffding(mean: float, epsilon: float, n: int) -> float:
    kl = mean * math.log(mean / epsilon) + (1 - mean) * math.log((1 - mean) / (1 - epsilon))
    return math.exp(-n * kl)


def test_a_mean_above_epsilon_is_never_refused() -> None:
    assert one_p(HB, zeros_and_ones(20, 100), 0.1) == 1.0
    assert one_p(BETS, zeros_and_ones(20, 100), 0.05) > 0.5


def test_the_first_bets_are_those_of_the_paper() -> None:
    x, m = np.array([[0.4], [0.6], [0.5]]), 0.51
    order = Sets(np.array([[0, 1, 2]]), 3)
    wealth, best, means, squares = 1.0, 1.0, 0.5, 0.25
    for i, value in enumerate(x[:, 0].tolist()):
        variance = squares / (i + 1)
        bet = min(math.sqrt(2 * math.log(1 / LEVEL) / (3 * variance)), LARGEST_BET / (1 - m))
        wealth *= 1 + bet * (m - value)
        best = max(best, wealth)
        means += value
        squares += (value - means / (i + 2)) ** 2
    assert bet_against(x, m, order)[0, 0] == pytest.approx(1 / best)
    assert best > 1


def test_betting_on_net_losses_is_betting_on_their_place_between_minus_one_and_one() -> None:
    losses = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    sets = Sets.whole(50)
    np.testing.assert_allclose(betting(losses, 0.2, sets), bet_against((losses + 1) / 2, 0.6, sets))


@pytest.mark.parametrize(("epsilon", "delta", "n"), [(0.01, 0.05, 299), (0.05, 0.1, 45), (0.02, 0.01, 228)])
def test_the_smallest_n_is_the_one_at_which_no_loss_at_all_is_enough(
    epsilon: float, delta: float, n: int
) -> None:
    assert HB.smallest_n(epsilon, delta) == n == math.ceil(math.log(delta) / math.log(1 - epsilon))
    for bound in (HB, BETS):
        least = bound.smallest_n(epsilon, delta)
        assert one_p(bound, np.zeros(least), epsilon) <= delta < one_p(bound, np.zeros(least - 1), epsilon)


def test_the_upper_bound_is_the_least_epsilon_that_is_refused() -> None:
    rng = np.random.default_rng(1)
    regret = rng.binomial(4, 0.02, 600) / 4
    net = regret - rng.binomial(4, 0.02, 600) / 4
    for bound, losses in ((HB, regret), (BETS, net), (BETS, regret)):
        upper = bound.upper(losses, 0.05)
        assert one_p(bound, losses, upper) <= 0.05 < one_p(bound, losses, upper - 2e-6)
        assert losses.mean() < upper < losses.mean() + 0.04
    # Betting sees that the loss of an image is nearly always small; Hoeffding-Bentkus does not.
    assert BETS.upper(net - 0.0, 0.05) < net.mean() + 0.02


@pytest.mark.parametrize("bound", [HB, BETS], ids=["hoeffding-bentkus", "betting"])
@settings(max_examples=30, deadline=None)
@given(ones=st.integers(0, 30), n=st.integers(31, 300), one=EPSILONS, other=EPSILONS)
def test_a_larger_epsilon_is_never_harder(bound: Bound, ones: int, n: int, one: float, other: float) -> None:
    losses = zeros_and_ones(ones, n)
    low, high = sorted((one, other))
    assert one_p(bound, losses, high) <= one_p(bound, losses, low) * (1 + 1e-9)


@pytest.mark.parametrize("bound", [HB, BETS], ids=["hoeffding-bentkus", "betting"])
@settings(max_examples=20, deadline=None)
@given(epsilon=st.floats(0.01, 0.3), one=st.floats(0.001, 0.5), other=st.floats(0.001, 0.5))
def test_a_larger_delta_or_epsilon_never_needs_more_images(
    bound: Bound, epsilon: float, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert bound.smallest_n(epsilon, high) <= bound.smallest_n(epsilon, low)
    assert bound.smallest_n(min(0.9, epsilon + 0.05), low) <= bound.smallest_n(epsilon, low)


@settings(max_examples=30, deadline=None)
@given(ones=st.integers(0, 5), n=st.integers(40, 120), delta=st.floats(0.001, 0.3))
def test_more_images_with_the_same_losses_give_a_lower_bound(ones: int, n: int, delta: float) -> None:
    assert HB.upper(zeros_and_ones(4 * ones, 4 * n), delta) <= HB.upper(zeros_and_ones(ones, n), delta)


def test_the_order_of_a_table_changes_nothing_but_the_bets() -> None:
    losses = zeros_and_ones(5, 400)
    assert one_p(HB, losses, 0.05) == one_p(HB, losses[::-1], 0.05)
    # Sorted by family, the last images would be bet on with what the first ones showed: they are shuffled.
    assert not np.array_equal(Sets.whole(400).order[0], np.arange(400))
    assert np.array_equal(np.sort(Sets.whole(400).order[0]), np.arange(400))


@pytest.mark.parametrize(
    ("losses", "epsilon"),
    [(zeros_and_ones(10, 200), 0.05), (np.tile([0.75, -0.5, 0.0, 0.0, -0.25], 40), 0.0)],
    ids=["regret", "net"],
)
def test_a_hypothesis_that_is_true_is_refused_no_more_often_than_delta(
    losses: NDArray[np.float64], epsilon: float
) -> None:
    sets = Sets.drawn(len(losses), 150, 2000, seed=5)
    epsilon = float(losses.mean()) - 1e-9 if epsilon else epsilon
    bounds = (HB, BETS) if losses.min() >= 0 else (BETS,)
    for bound in bounds:
        p = bound.p_values(losses[:, None], epsilon, sets)[:, 0]
        for delta in (0.05, 0.2):
            assert (p <= delta).mean() <= delta + 3 * math.sqrt(delta * (1 - delta) / 2000)


def test_losses_out_of_range_are_refused_with_their_range() -> None:
    with pytest.raises(ValueError, match=r"lie in \[0, 1\], got -0.5"):
        hoeffding_bentkus(np.array([[-0.5]]), 0.1, Sets.whole(1))
    with pytest.raises(ValueError, match=r"lie in \[-1, 1\]"):
        betting(np.array([[1.5]]), 0.1, Sets.whole(1))
    with pytest.raises(ValueError, match="at least one image"):
        hoeffding_bentkus(np.zeros((0, 1)), 0.1, Sets.whole(0))


def mapie(module: str) -> Any:
    """A module of MAPIE, if that is installed: one that has moved is an error, and skips nothing."""
    pytest.importorskip("mapie")
    return importlib.import_module(f"mapie.risk_control.{module}")


def test_mapies_hoeffding_bentkus_is_ours() -> None:
    means = np.array([0.0, 0.01, 0.02, 0.05, 0.2])
    alphas = np.array([0.02, 0.05, 0.1])
    theirs = mapie("methods").compute_hoeffding_bentkus_p_value(means, 400, alphas)
    for column, alpha in enumerate(alphas.tolist()):
        ours = [one_p(HB, zeros_and_ones(round(400 * mean), 400), alpha) for mean in means.tolist()]
        np.testing.assert_allclose(np.minimum(theirs[:, column], 1.0), ours, rtol=1e-6)


def test_mapies_fixed_sequence_stops_where_ours_does() -> None:
    rng = np.random.default_rng(2)
    p = np.sort(rng.random((40, 12)) ** 3, axis=1)
    rng.permuted(p[::2], axis=1, out=p[::2])  # of these some are not in order
    for delta in (0.01, 0.1, 0.3):
        theirs = [len(mapie("fwer_control").control_fwer(row, delta, "fixed_sequence")) for row in p]
        assert passed(p, delta).tolist() == theirs


def test_what_ends_the_test_along_a_path_needs_no_more_bets() -> None:
    sets = Sets.drawn(60, 40, 25, seed=1)
    rng = np.random.default_rng(1)
    losses = np.minimum(1.0, np.abs(rng.normal(0, 0.2, (60, 9))) + np.arange(9) * 0.05)
    losses[:, 4], losses[:, 8] = losses[:, 3], losses[:, 0]  # alike; and the last loses little again
    whole, short = (betting(losses, 0.3, sets, largest=largest) for largest in (1.0, 0.2))
    for delta in (0.05, 0.2):
        np.testing.assert_array_equal(passed(short, delta), passed(whole, delta))
    np.testing.assert_array_equal(whole[:, 4], whole[:, 3])
    assert (short[:, -1] == 1).all()
    np.testing.assert_array_equal(whole[:, -1], whole[:, 0])
    assert (whole[:, 0] < 0.2).any()


@pytest.mark.parametrize("bound", [HB, BETS], ids=["hoeffding-bentkus", "betting"])
def test_several_tests_at_once_are_the_same_as_one_by_one(bound: Bound) -> None:
    losses = (np.random.default_rng(4).random((60, 6)) < np.linspace(0, 0.4, 6)).astype(float)
    losses[:, 4] = losses[:, 3]
    sets = Sets.drawn(60, 50, 700, 1)  # more than are bet on at once
    tests = [(0.05, range(6)), (0.1, [2, 0, 1, 5]), (0.3, range(5)), (1.0, [3])]
    for p, (epsilon, places) in zip(bound.along(losses, tests, sets, largest=0.2), tests, strict=True):
        alone = bound.p_values(losses[:, list(places)], epsilon, sets, largest=0.2)
        np.testing.assert_allclose(p, alone, rtol=1e-12)
