from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from router.errors import M3Error
from router.features import Float32
from router.predictor import OnnxPredictor, Predictions
from training import export as module
from training.candidates.base import no_novelty
from training.candidates.trees import Ensemble, Trees
from training.export import ExportError, check_parity, export
from training.novelty import fit_novelty, threshold
from training.tree_graph import ZERO, around_zero, round_down, single_precision

WIDTH = 6


@cache
def features(n: int = 3000) -> Float32:
    """Values that crowd together, so that many thresholds fall between neighbouring float32."""
    rng = np.random.default_rng(0)
    x = (1 + rng.integers(0, 300, (n, WIDTH)) * 2.0**-23).astype(np.float32)
    x[:, 3:] = rng.normal(size=(n, WIDTH - 3)).astype(np.float32)
    return x


@cache
def booster(seed: int = 0) -> Any:
    x = features()
    noise = np.random.default_rng(seed).random(len(x))
    y = (noise < np.where((x[:, 0] - 1) * 2.0**23 > 150, 0.8, 0.3) * (x[:, 3] > 0)).astype(np.float64)
    params = {"objective": "cross_entropy", "num_leaves": 15, "verbose": -1, "num_threads": 1, "seed": seed}
    return lgb.train({**params, "max_bin": 1000, "min_data_in_bin": 1}, lgb.Dataset(x, y), num_boost_round=30)


def ensemble() -> Ensemble:
    """Two scales; the third booster is added to both."""
    trees = (Trees(booster(0), (0,)), Trees(booster(1), (1,)), Trees(booster(2), (0, 1)))
    return Ensemble(trees, sufficient=(0, 1), score=(1, 0))


def test_the_graph_equals_lightgbm_where_thresholds_lie_between_neighbours() -> None:
    content = export(ensemble(), None, WIDTH)
    assert check_parity(content, ensemble().predict(features()), features()) < 2e-6


def test_one_booster_may_count_for_several_columns_and_heads_may_share_them() -> None:
    found = ensemble().predict(features())
    np.testing.assert_array_equal(found.sufficient, found.score[:, ::-1])
    raw = booster(0).predict(features(), raw_score=True) + booster(2).predict(features(), raw_score=True)
    np.testing.assert_allclose(found.sufficient[:, 0], 1 / (1 + np.exp(-raw)), rtol=1e-6)


@given(arrays.arrays(np.float64, 20, elements=st.floats(-1e30, 1e30)))
def test_rounding_a_threshold_down_changes_no_comparison(thresholds: Any) -> None:
    down = round_down(thresholds)
    assert down.dtype == np.float32
    assert (down.astype(np.float64) <= thresholds).all()
    up = np.nextafter(down, np.float32(np.inf)).astype(np.float64)
    assert (up > thresholds).all()


def test_thresholds_at_zero_are_moved_past_the_numbers_that_lightgbm_takes_for_zero() -> None:
    thresholds = np.array([-1.0, -ZERO, 0.0, ZERO, 2.0], np.float32)
    moved = around_zero(thresholds)
    for x in np.array([-2 * ZERO, -ZERO, -1e-38, -0.0, 0.0, 1e-45, ZERO, 2 * ZERO], np.float32):
        as_lightgbm = np.float32(0.0) if abs(x) <= ZERO else x
        np.testing.assert_array_equal(x <= moved, as_lightgbm <= thresholds)


def test_single_precision_changes_no_prediction() -> None:
    x = features()
    np.testing.assert_array_equal(
        single_precision(booster()).predict(x), booster().predict(x, raw_score=True)
    )


def test_the_graph_is_one_tree_ensemble_of_pinned_operators() -> None:
    model = onnx.load_from_string(export(ensemble(), None, WIDTH))
    assert [n.op_type for n in model.graph.node].count("TreeEnsembleRegressor") == 1
    assert {o.domain: o.version for o in model.opset_import} == {"": 17, "ai.onnx.ml": 3}


def test_the_same_trees_give_the_same_bytes() -> None:
    assert export(ensemble(), None, WIDTH) == export(ensemble(), None, WIDTH)


def test_a_graph_that_differs_from_the_trees_is_never_let_through() -> None:
    content = export(ensemble(), None, WIDTH)
    wanted = ensemble().predict(features())
    off = wanted.score.copy()
    off[17, 1] += 2e-5
    with pytest.raises(ExportError, match=r"Row 17: .* at most 1e-05") as caught:
        check_parity(content, replace(wanted, score=off), features())
    off[17, 1] = np.nan
    with pytest.raises(ExportError, match=r"Row 17: .* by nan"):
        check_parity(content, replace(wanted, score=off), features())
    assert isinstance(caught.value, M3Error)
    with pytest.raises(ExportError, match="novelty differs"):
        check_parity(content, replace(wanted, novelty=wanted.novelty + 1), features())


def test_a_graph_too_large_to_ship_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    with pytest.raises(ExportError, match="fit fewer or smaller trees \\(90 now\\)"):
        export(ensemble(), None, WIDTH)


def test_novelty_in_the_graph_equals_novelty_in_numpy() -> None:
    x = features()
    novelty = fit_novelty(x, np.array([3, 4, 5]), axes=2)
    found = OnnxPredictor(export(ensemble(), novelty, WIDTH), n_features=WIDTH, n_scales=2).predict(x)
    np.testing.assert_allclose(found.novelty, novelty(x), rtol=1e-4)
    assert found.novelty.mean() == pytest.approx(1.0, abs=0.05)
    wanted = ensemble().predict(x)
    check_parity(
        export(ensemble(), novelty, WIDTH), Predictions(wanted.sufficient, wanted.score, novelty(x)), x
    )


def test_novelty_is_the_mahalanobis_distance_when_every_axis_is_kept() -> None:
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(4000, 4)) @ rng.normal(size=(4, 4)) + 3).astype(np.float32)
    novelty = fit_novelty(x, np.arange(4), axes=3)
    centred = x.astype(np.float64) - x.mean(axis=0)
    exact = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(np.cov(x.T)), centred) / 4
    np.testing.assert_allclose(novelty(x), exact, rtol=0.02, atol=0.02)


def test_an_image_far_away_in_any_direction_is_novel_and_constant_columns_say_nothing() -> None:
    rng = np.random.default_rng(6)
    x = np.concatenate([rng.normal(size=(1000, 20)), np.ones((1000, 1))], axis=1).astype(np.float32)
    novelty = fit_novelty(x, np.arange(21), axes=8)
    limit = threshold(novelty(x))
    assert (novelty(x) > limit).mean() <= 0.001
    for direction in range(20):
        strange = np.zeros((1, 21), np.float32)
        strange[0, direction] = 12.0
        assert novelty(strange)[0] > limit
    far = x[:1].copy()
    far[0, 20] = 1e6
    assert novelty(far)[0] == pytest.approx(novelty(x[:1])[0])
    assert no_novelty(3).tolist() == [0.0] * 3
