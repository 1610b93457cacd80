"""The parts of an evaluation: hull, path, oracle, resampling, calibration, sweep."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.calibration import Reliability
from training.evaluation.comparison import token_levels
from training.evaluation.frontier import (
    hull_accuracy,
    hull_cost,
    log_spaced_mean,
    path_accuracy,
    path_cost,
    upper_hull,
)
from training.evaluation.oracle import Oracle
from training.evaluation.resampling import interval, measure, measure_weighted
from training.evaluation.settings import Settings, at_prices, by_expected_score, fixed_settings, sweep


def test_the_hull_drops_points_under_a_chord_and_past_the_best() -> None:
    assert upper_hull([1, 9, 36, 144, 576], [0.2, 0.5, 0.55, 0.8, 0.79]) == (0, 1, 3)
    assert upper_hull([1, 9], [0.5, 0.4]) == (0,)
    assert upper_hull([3, 3, 1], [0.5, 0.6, 0.1]) == (2, 1)


def test_the_hull_refuses_vectors_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="two equal non-empty vectors"):
        upper_hull([1, 2], [0.5])


def test_mixing_reads_the_chord_and_holds_the_best_beyond_the_last_point() -> None:
    cost, accuracy = np.array([1.0, 9.0, 36.0]), np.array([0.2, 0.6, 0.5])
    got = hull_accuracy(cost, accuracy, np.array([0.5, 1.0, 5.0, 9.0, 20.0, 100.0]))
    np.testing.assert_allclose(got, [0.2, 0.2, 0.4, 0.6, 0.6, 0.6])
    np.testing.assert_allclose(hull_cost(cost, accuracy, np.array([0.1, 0.4, 0.6, 0.7])), [1, 5, 9, np.inf])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.floats(0.01, 0.99),
)
def test_the_pairwise_hull_equals_interpolation_between_the_vertices(
    values: list[float], part: float
) -> None:
    cost, accuracy = np.array([4.0**i for i in range(len(values))]), np.array(values)
    vertices = list(upper_hull(cost, accuracy))
    at = np.array([cost[0] + part * (cost[-1] - cost[0])])
    expected = np.interp(at, cost[vertices], accuracy[vertices])
    np.testing.assert_allclose(hull_accuracy(cost, accuracy, at), expected, atol=1e-12)


def test_a_path_mixes_neighbours_only_and_never_skips_a_dip() -> None:
    cost, accuracy = np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.3, 0.7])
    np.testing.assert_allclose(path_accuracy(cost, accuracy, np.array([1.5, 3.0, 9.0])), [0.4, 0.5, 0.7])
    np.testing.assert_allclose(path_cost(cost, accuracy, np.array([0.4, 0.6, 0.9])), [1.0, 3.5, np.inf])


def test_paths_and_hulls_work_on_resamples_at_once() -> None:
    cost = np.array([[1.0, 3.0], [1.0, 5.0]])
    accuracy = np.array([[0.0, 1.0], [0.0, 1.0]])
    at = np.array([2.0])
    np.testing.assert_allclose(hull_accuracy(cost, accuracy, at), [[0.5], [0.25]])
    np.testing.assert_allclose(path_accuracy(cost, accuracy, at), [[0.5], [0.25]])
    np.testing.assert_allclose(path_cost(cost, accuracy, np.array([0.5])), [[2.0], [3.0]])


def test_a_mean_over_log_cost_weighs_every_doubling_alike() -> None:
    at = np.array([1.0, 2.0, 4.0])
    assert log_spaced_mean(np.array([0.0, 1.0, 0.0]), at) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="two costs"):
        log_spaced_mean(np.array([1.0]), np.array([1.0]))


def test_zones_count_all_some_and_no_scale() -> None:
    scores = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    oracle = Oracle.of(scores, scores > 0)
    assert oracle.choice.tolist() == [0, 1, -1]
    assert oracle.zones.tolist() == [0, 1, 2]
    assert math.isnan(
        Oracle.of(np.zeros((1, 2)), np.zeros((1, 2), bool)).mean_cost(np.ones((1, 2)))["excluded"]
    )


def test_resamples_draw_whole_images() -> None:
    # Two images, scores 1 and 0: a mean by image over four questions can only be 0, 1/2, 1 -> or a mixture
    # of whole images; by question 1/4 would come up.
    scores = np.array([[1.0], [1.0], [0.0], [0.0]])
    m = measure(
        [fixed_settings((1,), 4)], scores, {"visual_tokens": np.ones((4, 1))}, np.array([0, 0, 7, 7])
    )[0]
    assert set(np.unique(m.accuracy_draws.round(6)).tolist()) == {0.0, 0.5, 1.0}
    assert m.accuracy[0] == 0.5


def test_images_with_more_questions_weigh_more() -> None:
    scores = np.array([[1.0], [0.0], [0.0], [0.0]])
    m = measure(
        [fixed_settings((1,), 4)], scores, {"visual_tokens": np.ones((4, 1))}, np.array([1, 0, 0, 0])
    )[0]
    assert set(np.unique(m.accuracy_draws.round(6)).tolist()) == {0.0, 0.25, 1.0}


def test_the_bootstraps_spread_is_that_of_theory_and_its_seed_repeats() -> None:
    rng = np.random.default_rng(5)
    scores = (rng.random((2000, 1)) < 0.3).astype(float)
    costs = {"visual_tokens": np.ones((2000, 1))}
    runs = [
        measure([fixed_settings((1,), 2000)], scores, costs, np.arange(2000), seed=s)[0] for s in (1, 1, 2)
    ]
    assert runs[0].accuracy_draws.std() == pytest.approx(math.sqrt(0.3 * 0.7 / 2000), rel=0.1)
    np.testing.assert_array_equal(runs[0].accuracy_draws, runs[1].accuracy_draws)
    assert not np.array_equal(runs[0].accuracy_draws, runs[2].accuracy_draws)


def test_settings_on_the_same_draws_are_paired() -> None:
    rng = np.random.default_rng(0)
    scores = (rng.random((300, 2)) < 0.5).astype(float)
    scores[:, 1] = scores[:, 0]
    m = measure([fixed_settings((1, 9), 300)], scores, {"visual_tokens": np.ones((300, 2))}, np.arange(300))[
        0
    ]
    np.testing.assert_allclose(m.accuracy_draws[:, 0], m.accuracy_draws[:, 1])


def test_intervals_of_infinite_draws_stay_numbers() -> None:
    assert interval(np.array([-np.inf] * 5 + [0.5] * 95)) == (-np.inf, 0.5)


def test_reliability_by_hand() -> None:
    r = Reliability.of(np.array([0.05, 0.05, 0.95, 0.95]), np.array([False, True, True, True]))
    assert r.sizes == (2, 2)
    assert r.predicted == pytest.approx((0.05, 0.95))
    assert r.observed == (0.5, 1.0)
    assert r.ece == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)
    assert r.brier == pytest.approx((2 * 0.05**2 + 0.95**2 + 0.05**2) / 4)
    assert r.base_rate == 0.75


def test_reliability_counts_a_prediction_of_one_in_the_last_bin() -> None:
    assert Reliability.of(np.array([1.0]), np.array([True])).sizes == (1,)
    with pytest.raises(ValueError, match="non-empty"):
        Reliability.of(np.array([]), np.array([], bool))


def test_a_sweep_runs_from_the_cheapest_scale_to_the_best_whatever_it_costs() -> None:
    rng = np.random.default_rng(3)
    expected, tokens = rng.random((200, 3)), np.tile([1, 9, 36], (200, 1))
    swept = sweep("router", by_expected_score(expected, tokens), tokens)
    assert (swept.choices[0] == 0).all()
    assert (swept.choices[-1] == expected.argmax(axis=1)).all()
    spent = [tokens[np.arange(200), c].mean() for c in swept.choices]
    assert spent == sorted(spent)
    assert list(swept.targets) == sorted(swept.targets, reverse=True)
    again = at_prices("router", by_expected_score(expected, tokens), swept.targets)
    np.testing.assert_array_equal(again.choices, swept.choices)


def test_ties_go_to_the_cheaper_scale() -> None:
    replay = by_expected_score(np.array([[0.5, 0.5]]), np.array([[1, 9]]))
    assert replay(0.0).tolist() == [0]


def test_levels_lie_between_the_ends_of_the_ladder() -> None:
    assert token_levels(np.array([1.0, 9, 36, 144, 576])).tolist() == [9, 36, 72, 144, 288]
    assert token_levels(np.array([4.0, 16])).tolist() == [8]


def test_settings_hold_what_each_request_pays_besides_its_scale() -> None:
    s = Settings("router", "price", (0.0,), np.zeros((1, 2), np.int8), {"flops": 7.0})
    m = measure([s], np.ones((2, 1)), {"flops": np.ones((2, 1))}, np.arange(2), draws=3)[0]
    assert m.cost["flops"][0] == 8.0
    np.testing.assert_allclose(m.cost_draws["flops"], 8.0)


def test_weighted_means_are_those_of_repeated_questions() -> None:
    rng = np.random.default_rng(4)
    scores, weights = rng.random((60, 2)), rng.integers(0, 4, 60)
    images = np.arange(60) // 2
    costs = {"visual_tokens": rng.random((60, 2))}
    both = measure_weighted(
        [fixed_settings((1, 9), 60)], scores, costs, images, [np.ones(60), weights.astype(float)], draws=50
    )
    (plain,), (weighted,) = both
    (same,) = measure([fixed_settings((1, 9), 60)], scores, costs, images, draws=50)
    np.testing.assert_allclose(plain.accuracy_draws, same.accuracy_draws, rtol=1e-5)
    again = np.repeat(np.arange(60), weights)
    (repeated,) = measure(
        [fixed_settings((1, 9), len(again))],
        scores[again],
        {"visual_tokens": costs["visual_tokens"][again]},
        images[again],
        draws=50,
    )
    np.testing.assert_allclose(weighted.accuracy, repeated.accuracy)
    np.testing.assert_allclose(weighted.cost["visual_tokens"], repeated.cost["visual_tokens"])
    assert len(np.unique(images[again])) == 30  # the same images, so the same draws
    np.testing.assert_allclose(weighted.accuracy_draws, repeated.accuracy_draws, rtol=1e-5)


def test_a_resample_without_weight_has_no_mean() -> None:
    (m,) = measure_weighted(
        [fixed_settings((1,), 3)], np.ones((3, 1)), {}, np.arange(3), [np.array([1.0, 0.0, 0.0])], draws=100
    )[0]
    assert m.accuracy.tolist() == [1.0]
    assert 10 < np.isnan(m.accuracy_draws).sum() < 60
