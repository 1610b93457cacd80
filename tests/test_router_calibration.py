from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.calibration import Calibration, Isotonic, Platt, ScaleMap, apply
from router.errors import BundleCorrupt

P = np.linspace(0, 1, 101).astype(np.float32)


@given(st.floats(0, 5), st.floats(-5, 5))
def test_platt_maps_ascend_and_stay_probabilities(slope: float, offset: float) -> None:
    q = Platt(slope, offset)(P)
    assert q.dtype == np.float32
    assert (np.diff(q) >= 0).all()
    assert ((q >= 0) & (q <= 1)).all()


@pytest.mark.parametrize("slope", [51.0, 52.0, 1e3, 1e300])
@pytest.mark.parametrize("offset", [0.0, -1e4, 1e4])
def test_a_steep_platt_map_overflows_nowhere(slope: float, offset: float) -> None:
    q = Platt(slope, offset)(P)
    assert (np.diff(q) >= 0).all()
    assert ((q >= 0) & (q <= 1)).all()
    assert Platt(slope, 0.0)(P)[[0, -1]].tolist() == [0, 1]


def test_the_identity_leaves_probabilities_alone() -> None:
    np.testing.assert_allclose(Platt(1.0, 0.0)(P), P, atol=2e-6)
    p = np.tile(P[:, None], (1, 3))
    np.testing.assert_allclose(apply(Calibration.identity(3).score, p), p, atol=2e-6)


def test_isotonic_maps_go_through_their_knots_and_are_flat_outside() -> None:
    found = Isotonic((0.2, 0.4, 0.8), (0.1, 0.5, 0.5))(np.array([0.0, 0.2, 0.3, 0.4, 0.6, 1.0]))
    np.testing.assert_allclose(found, [0.1, 0.1, 0.3, 0.5, 0.5, 0.5], rtol=1e-6)


def test_maps_that_do_not_ascend_are_refused() -> None:
    with pytest.raises(ValueError, match="not monotone"):
        Platt(-1.0, 0.0)
    with pytest.raises(ValueError, match="not monotone"):
        Platt(float("nan"), 0.0)
    for x, y in [((0.2, 0.2), (0.0, 1.0)), ((0.1, 0.2), (1.0, 0.0)), ((0.1, float("nan")), (0.0, 1.0))]:
        with pytest.raises(ValueError, match="do not ascend"):
            Isotonic(x, y)
    with pytest.raises(ValueError, match="1 x for 2 y"):
        Isotonic((0.1,), (0.1, 0.2))


def test_each_scale_has_its_own_map() -> None:
    maps = (Platt(1.0, 0.0), Isotonic((0.0, 1.0), (0.25, 0.25)))
    found = apply(maps, np.full((4, 2), 0.5, np.float32))
    np.testing.assert_allclose(found, [[0.5, 0.25]] * 4, rtol=1e-6)


def test_a_calibration_survives_json_and_damage_is_refused() -> None:
    maps = (Platt(1.5, -0.25), Isotonic((0.1, 0.9), (0.2, 0.8)))
    both = Calibration(maps, maps[::-1])
    value = json.loads(json.dumps(both.to_json()))
    assert Calibration.from_json(value, 2) == both
    with pytest.raises(BundleCorrupt, match="not for 3 scales"):
        Calibration.from_json(value, 3)
    with pytest.raises(BundleCorrupt, match="score"):
        Calibration.from_json({"sufficient": value["sufficient"]}, 2)
    with pytest.raises(BundleCorrupt, match="spline"):
        Calibration.from_json({**value, "score": [{"kind": "spline"}] * 2}, 2)
    with pytest.raises(BundleCorrupt, match="do not ascend"):
        Calibration.from_json({**value, "score": [{"kind": "isotonic", "x": [1, 0], "y": [0, 1]}] * 2}, 2)


def test_maps_applied_together_say_what_each_says() -> None:
    p = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    platt: tuple[ScaleMap, ...] = (Platt(0.0, 1.0), Platt(2.5, -0.3), Platt(1.0, 0.0))
    for maps in (platt, (*platt[:2], Isotonic((0.2, 0.8), (0.1, 0.9)))):
        each = np.stack([one(p[:, s]) for s, one in enumerate(maps)], axis=1)
        np.testing.assert_allclose(apply(maps, p), each, atol=1e-7)
        assert np.array_equal(apply(maps, p[:1]), apply(maps, p)[:1])  # alone or among others
