from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.routing import outcomes, small_fit
from training.candidates.base import Examples, FittedLogits, predictions
from training.candidates.lightgbm_joint import LightGBMJoint, lightgbm_monotone, with_scales
from training.edge_rows import edge_rows
from training.export import check_parity, export
from training.fit import build_spec, fit

QUICK: dict[str, Any] = {
    "grid": ({"num_leaves": 15, "min_data_in_leaf": 40, "feature_fraction": 0.8},),
    "folds": 2,
    "rounds": 60,
}


@cache
def examples(split: str = "router-train", n: int = 200) -> Examples:
    return Examples.of(outcomes(n, split=split), build_spec(outcomes(200), LightGBMJoint().groups))


@cache
def fitted(monotone: bool) -> FittedLogits:
    candidate = lightgbm_monotone() if monotone else LightGBMJoint()
    return replace(candidate, **QUICK).fit(examples(), seed=0, threads=2)


def test_rows_are_every_sample_at_every_scale() -> None:
    rows = with_scales(np.array([[1, 2], [3, 4]], np.float32), 3)
    assert rows.tolist() == [[1, 2, 0], [3, 4, 0], [1, 2, 1], [3, 4, 1], [1, 2, 2], [3, 4, 2]]
    assert rows.dtype == np.float32


@pytest.mark.parametrize("monotone", [False, True])
def test_one_booster_answers_for_all_scales_and_knows_as_much_as_one_per_scale(monotone: bool) -> None:
    candidate = replace(LightGBMJoint(monotone=monotone), **QUICK)
    result = fit(outcomes(300), outcomes(120, split="tune"), candidate, threads=2)
    for row, other in zip(result.scales, small_fit().scales, strict=True):
        assert row.log_loss < other.log_loss + 0.03
    assert result.worst_parity <= 1e-5
    assert len(set(result.bundle.provenance["trees"])) == 1
    assert result.bundle.provenance["monotone"] is monotone


def test_with_the_option_no_prediction_falls_as_the_scale_grows_and_without_it_some_do() -> None:
    dev = examples("dev", 100)
    edges = edge_rows(dev.features, export(fitted(True).logits, None, dev.spec.width), 2000)
    for features in (dev.features, edges):
        steps = np.diff(fitted(True).logits.raw(features), axis=1)
        assert (steps >= 0).all()
        assert (steps > 0.1).any()
    assert (np.diff(fitted(False).logits.raw(edges), axis=1) < 0).any()


def test_the_graph_equals_lightgbm_on_single_rows_batches_and_edge_values() -> None:
    dev = examples("dev", 100)
    content = export(fitted(False).logits, None, dev.spec.width)
    for features in (dev.features, dev.features[:1], edge_rows(dev.features, content)):
        check_parity(content, predictions(fitted(False).logits, features), features)


def test_held_out_logits_belong_to_their_sample_and_scale() -> None:
    said, scores = fitted(False).held_out, examples().scores
    assert said.shape == scores.shape
    for s in range(4):
        right, wrong = said[scores[:, s] == 1, s], said[scores[:, s] == 0, s]
        assert right.mean() > wrong.mean() + 0.5


def test_soft_scores_and_a_tolerance_get_a_booster_each() -> None:
    train, tune = outcomes(150, soft=True), outcomes(80, split="tune", soft=True)
    result = fit(train, tune, replace(LightGBMJoint(), **QUICK), threads=2, tolerance=0.1)
    assert result.bundle.provenance["heads_shared"] is False
    assert len(result.bundle.provenance["trees"]) == 10
    assert len(set(result.bundle.provenance["trees"])) <= 2
