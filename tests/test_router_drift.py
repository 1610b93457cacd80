"""The population stability index against a reference, in memory that does not grow."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from router.drift import ROWS, SHIFTED, Drift, Reference

RNG = np.random.default_rng(0)


def fed(drift: Drift, rows: np.ndarray) -> Drift:
    for row in rows:
        drift.add(row.tolist())
    return drift


def test_the_first_rows_are_the_reference_when_none_was_recorded() -> None:
    drift = fed(Drift(("a",)), RNG.normal(size=(ROWS, 1)))
    assert (drift.recorded, drift.reference_rows, drift.recent_rows) == (False, ROWS, 0)
    assert drift.psi() == {}
    assert drift.shifted() == ()


def test_rows_of_the_same_kind_have_not_shifted() -> None:
    drift = fed(Drift(("a", "b")), RNG.normal(size=(2 * ROWS, 2)))
    assert drift.full
    assert all(index < 0.15 for index in drift.psi().values())
    assert drift.shifted() == ()


@pytest.mark.parametrize("shift", [(1.0, 1.0), (0.0, 3.0), (-1.0, 1.0), (50.0, 1.0), (-50.0, 1.0)])
def test_rows_that_lie_elsewhere_or_wider_have(shift: tuple[float, float]) -> None:
    add, times = shift
    rows = RNG.normal(size=(2 * ROWS, 2))
    rows[ROWS:, 1] = rows[ROWS:, 1] * times + add
    assert fed(Drift(("same", "other")), rows).shifted() == ("other",)


def test_a_number_that_was_always_the_same_shifts_when_it_is_another() -> None:
    for other in (1.0, 3.0):
        rows = np.full((2 * ROWS, 1), 2.0)
        assert fed(Drift(("size",)), rows).shifted() == ()
        rows[ROWS:] = other
        assert fed(Drift(("size",)), rows).shifted() == ("size",)


def test_categories_are_told_apart_one_by_one() -> None:
    scales = (1.0, 9.0, 36.0, 144.0, 576.0)
    before = RNG.choice(scales, size=(ROWS, 1), p=[0.9, 0.02, 0.02, 0.03, 0.03])
    after = RNG.choice(scales, size=(ROWS, 1), p=[0.9, 0.1, 0, 0, 0])
    drift = fed(Drift(("scale",), edges={"scale": scales}), np.concatenate([before, after]))
    assert drift.psi()["scale"] > 0.15


def test_only_the_recent_rows_count() -> None:
    drift = fed(Drift(("a",)), np.concatenate([RNG.normal(size=(ROWS, 1)), RNG.normal(9, 1, (ROWS, 1))]))
    assert drift.shifted() == ("a",)
    fed(drift, RNG.normal(size=(ROWS, 1)))
    assert drift.shifted() == ()
    assert drift.recent_rows == ROWS


def test_too_few_recent_rows_shift_nothing() -> None:
    drift = fed(Drift(("a",), rows=100), np.concatenate([np.zeros((100, 1)), np.ones((99, 1))]))
    assert drift.psi()["a"] > SHIFTED
    assert drift.shifted() == ()
    drift.add([1.0])
    assert drift.shifted() == ("a",)


def test_a_recorded_reference_is_used_from_the_first_row_on() -> None:
    reference = Reference.of(RNG.normal(size=4000))
    drift = Drift(("a",), reference={"a": reference}, rows=200)
    assert (drift.recorded, drift.reference_rows) == (True, 4000)
    fed(drift, RNG.normal(size=(200, 1)))
    assert drift.psi()["a"] < 0.15


def test_a_reference_survives_json() -> None:
    reference = Reference.of([1.0, 2.0, 2.0, 5.0])
    assert Reference.from_json(json.loads(json.dumps(reference.to_json()))) == reference
    assert sum(reference.counts) == 4


@pytest.mark.parametrize(
    ("edges", "counts"),
    [
        ([], [1]),
        ([1.0], [1]),
        ([2.0, 1.0], [1, 1, 1]),
        ([math.nan], [1, 1]),
        ([1.0], [0, 0]),
        ([1.0], [-1, 2]),
    ],
)
def test_a_reference_that_is_none_is_refused(edges: list[float], counts: list[int]) -> None:
    with pytest.raises(ValueError, match=r"counts|edges"):
        Reference.from_json({"edges": edges, "counts": counts})
