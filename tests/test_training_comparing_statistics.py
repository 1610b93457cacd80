"""Intervals of a comparison: over images and seeds, and over several levels at once."""

from __future__ import annotations

import numpy as np
import pytest

from training.comparing.bands import simultaneous
from training.comparing.seeds import Averaged, SeedDraws
from training.evaluation.resampling import interval


def test_a_simultaneous_band_holds_at_all_levels_at_once_where_single_intervals_do_not() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([0.0, 0.1, 0.2, 0.1, 0.0])
    # Levels of one curve move together, but not entirely.
    mix = np.linalg.cholesky(0.6 * np.ones((5, 5)) + 0.4 * np.eye(5)) * np.array([1, 2, 3, 2, 1])[:, None]
    together = alone = 0
    for _ in range(600):
        seen = truth + mix @ rng.normal(size=5)
        draws = seen + rng.normal(size=(400, 5)) @ mix.T
        band = simultaneous(seen, draws)
        together += all(e.low <= t <= e.high for e, t in zip(band, truth, strict=True))
        ends = [interval(draws[:, q]) for q in range(5)]
        alone += all(low <= t <= high for (low, high), t in zip(ends, truth, strict=True))
    assert together / 600 == pytest.approx(0.95, abs=0.025)
    assert alone / 600 < 0.9


def test_the_band_of_one_level_is_its_interval_and_of_a_constant_the_constant() -> None:
    draws = np.random.default_rng(1).normal(size=(4000, 1))
    (one,) = simultaneous(np.array([0.0]), draws)
    assert one.high == pytest.approx(1.96, abs=0.1)
    assert one.low == -one.high
    same, moving = simultaneous(np.array([0.3, 0.0]), np.hstack([np.full((4000, 1), 0.3), draws]))
    assert (same.low, same.value, same.high) == (0.3, 0.3, 0.3)
    assert moving.high == pytest.approx(1.96, abs=0.1)
    (still,) = simultaneous(np.array([0.3]), np.full((10, 1), 0.3))
    assert still.sign == 1


def test_the_mean_over_seeds_varies_with_the_images_and_with_the_seeds() -> None:
    rng = np.random.default_rng(2)
    images = 0.01 * rng.normal(size=20_000)
    seeds = np.array([0.4, 0.5, 0.45, 0.55, 0.6])
    draws = seeds[:, None] + images[None]
    got = SeedDraws.of("a", 5, 20_000, 0).average(seeds, draws)
    assert float(got.value) == pytest.approx(0.5)
    assert float(got.spread) == pytest.approx(seeds.std(ddof=1))
    assert got.draws.var() == pytest.approx(0.01**2 + seeds.var(ddof=1) / 5, rel=0.05)


def test_one_seed_leaves_the_images_alone() -> None:
    draws = np.random.default_rng(3).normal(size=(1, 50, 2))
    got = SeedDraws.of("a", 1, 50, 0).average(np.zeros((1, 2)), draws)
    np.testing.assert_array_equal(got.draws, draws[0])
    assert np.isnan(got.spread).all()


def test_a_difference_is_paired_by_image() -> None:
    images = np.random.default_rng(4).normal(size=(1, 100))
    a, b = (
        SeedDraws.of(name, 1, 100, 0).average(np.array([x]), images + x)
        for name, x in (("a", 2.0), ("b", 1.0))
    )
    difference = (a - b).estimate()
    assert (difference.low, difference.value, difference.high) == pytest.approx((1.0, 1.0, 1.0))


def test_the_interval_of_a_difference_covers_the_truth_of_all_images_and_all_seeds() -> None:
    rng = np.random.default_rng(5)
    covered, n, draws = 0, 5, 300
    counts = rng.multinomial(200, np.full(200, 1 / 200), size=draws) / 200  # resamples of 200 images
    for _ in range(300):
        found: list[Averaged] = []
        images = rng.normal(size=200)  # what is hard is hard for both
        for name in ("a", "b"):
            per_image = (
                images + rng.normal(size=200) + 0.1 * rng.normal(size=(n, 1)) + rng.normal(size=(n, 200))
            )
            found.append(
                SeedDraws.of(name, n, draws, 0).average(per_image.mean(axis=1), per_image @ counts.T)
            )
        e = (found[0] - found[1]).estimate()
        covered += e.low <= 0 <= e.high
    assert 0.90 <= covered / 300 <= 0.99


def test_who_else_is_compared_does_not_change_a_candidates_draws() -> None:
    one, two = SeedDraws.of("a", 5, 40, 0), SeedDraws.of("a", 5, 40, 0)
    np.testing.assert_array_equal(one.drawn, two.drawn)
    assert not np.array_equal(one.drawn, SeedDraws.of("b", 5, 40, 0).drawn)
