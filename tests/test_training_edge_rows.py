from __future__ import annotations

from functools import cache

import numpy as np

from router.features import Float32
from router.predictor import OnnxPredictor
from tests.test_training_export import WIDTH, ensemble, features
from training.candidates.base import predictions
from training.edge_rows import HALF_MAX, LARGEST, ROWS, edge_rows, thresholds
from training.export import check_parity, export
from training.novelty import fit_novelty
from training.tree_graph import round_down


@cache
def content() -> bytes:
    return export(ensemble(), None, WIDTH)


@cache
def rows() -> Float32:
    return edge_rows(features(), content())


def test_the_thresholds_of_a_graph_are_those_of_its_trees() -> None:
    found = thresholds(content(), WIDTH)
    assert len(found) == WIDTH
    wanted: list[float] = []
    for trees in ensemble().trees:
        parts = [line.partition("=") for line in trees.booster.model_to_string().split("\n")]
        columns = [c for key, _, value in parts if key == "split_feature" for c in value.split()]
        values = [float(v) for key, _, value in parts if key == "threshold" for v in value.split()]
        wanted += [v for c, v in zip(columns, values, strict=True) if c == "0"]
    assert len(found[0]) > 10
    np.testing.assert_array_equal(found[0], np.unique(round_down(wanted)))
    assert [len(columns) for columns in thresholds(content(), 1)] == [len(found[0])]


def test_ten_thousand_rows_hold_thresholds_their_neighbours_and_what_features_can_be_at_most() -> None:
    found = rows()
    assert found.shape == (ROWS, WIDTH)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    for column, values in enumerate(thresholds(content(), WIDTH)):
        seen = np.isin(found[:, column], values)
        above = np.isin(found[:, column], np.nextafter(values, np.float32(np.inf)))
        assert seen.sum() > 100
        assert above.sum() > 100
        assert {0.0, HALF_MAX, -HALF_MAX, LARGEST, -LARGEST} <= set(found[:, column].tolist())
    untouched = np.isin(found, features()).sum(axis=1)
    assert (untouched == WIDTH - 1).any()  # one column alone at its edge
    assert (found == HALF_MAX).all(axis=1).any()  # and all at once


def test_the_same_seed_gives_the_same_rows() -> None:
    np.testing.assert_array_equal(edge_rows(features(), content(), 50), edge_rows(features(), content(), 50))
    assert len(edge_rows(features()[:1], content(), 3)) == 3
    assert not np.array_equal(rows()[:50], edge_rows(features(), content(), 50, seed=1))


def test_trees_and_their_graph_agree_on_edge_values_and_novelty_stays_a_number() -> None:
    assert check_parity(content(), predictions(ensemble(), rows()), rows()) < 2e-6
    novelty = fit_novelty(features(), np.array([3, 4, 5]), axes=2)
    graph = OnnxPredictor(export(ensemble(), novelty, WIDTH), n_features=WIDTH, n_scales=2)
    np.testing.assert_allclose(graph.predict(rows()).novelty, novelty(rows()), rtol=1e-3)


def test_thresholds_rounded_to_the_nearest_float_would_be_found_out() -> None:
    """What the check is for: the neighbours of a threshold show on which side it fell."""
    off = rows().copy()
    for column, values in enumerate(thresholds(content(), WIDTH)):
        on = np.isin(off[:, column], values)
        off[on, column] = np.nextafter(off[on, column], np.float32(np.inf))
    gap = np.abs(predictions(ensemble(), off).score - predictions(ensemble(), rows()).score)
    assert gap.max() > 1e-3
