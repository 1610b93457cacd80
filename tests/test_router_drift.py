"""The population stability index against a reference, in memory that does not grow."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import numpy as np
import pytest

from router.drift import SHIFTED, VALUES, Drift, Reference

RNG = np.random.default_rng(0)


def fed(drift: Drift, values: Iterable[float]) -> Drift:
    for value in values:
        drift.add(float(value))
    return drift


def test_the_first_values_are_the_reference_when_none_was_recorded() -> None:
    drift = fed(Drift(), RNG.normal(size=VALUES))
    assert (drift.recorded, drift.n_reference, drift.n_recent) == (False, VALUES, 0)
    assert drift.index is None
    assert not drift.shifted


def test_values_of_the_same_kind_have_not_shifted() -> None:
    drift = fed(Drift(), RNG.normal(size=2 * VALUES))
    assert drift.n_recent == VALUES
    assert drift.index is not None
    assert drift.index < 0.15
    assert not drift.shifted


@pytest.mark.parametrize(
    ("add", "times"), [(1.0, 1.0), (0.0, 3.0), (0.0, 0.3), (-1.0, 1.0), (50.0, 1.0), (-50.0, 1.0)]
)
def test_values_that_lie_elsewhere_wider_or_closer_have(add: float, times: float) -> None:
    drift = fed(Drift(), RNG.normal(size=VALUES))
    assert fed(drift, RNG.normal(size=VALUES) * times + add).shifted


@pytest.mark.parametrize("other", [1.0, 3.0])
def test_a_number_that_was_always_the_same_shifts_when_it_is_another(other: float) -> None:
    drift = fed(Drift(), [2.0] * 2 * VALUES)
    assert not drift.shifted
    assert fed(drift, [other] * VALUES).shifted


def test_categories_are_told_apart_one_by_one() -> None:
    scales = (1.0, 9.0, 36.0, 144.0, 576.0)
    before = RNG.choice(scales, size=VALUES, p=[0.9, 0.02, 0.02, 0.03, 0.03])
    after = RNG.choice(scales, size=VALUES, p=[0.9, 0.1, 0, 0, 0])
    index = fed(fed(Drift(edges=scales), before), after).index
    assert index is not None
    assert index > 0.15


def test_only_the_recent_values_count() -> None:
    drift = fed(fed(Drift(), RNG.normal(size=VALUES)), RNG.normal(9, 1, VALUES))
    assert drift.shifted
    assert not fed(drift, RNG.normal(size=VALUES)).shifted
    assert drift.n_recent == VALUES


def test_too_few_recent_values_shift_nothing() -> None:
    drift = fed(Drift(values=100), [0.0] * 100 + [1.0] * 99)
    assert drift.index is not None
    assert drift.index > SHIFTED
    assert not drift.shifted
    assert fed(drift, [1.0]).shifted


def test_a_recorded_reference_is_used_from_the_first_value_on() -> None:
    drift = Drift(Reference.of(RNG.normal(size=4000)), values=200)
    assert (drift.recorded, drift.n_reference) == (True, 4000)
    index = fed(drift, RNG.normal(size=200)).index
    assert index is not None
    assert index < 0.15


def test_a_reference_survives_json() -> None:
    reference = Reference.of([1.0, 2.0, 2.0, 5.0])
    assert Reference.from_json(json.loads(json.dumps(reference.to_json()))) == reference
    assert sum(reference.counts) == 4


@pytest.mark.parametrize(
    ("edges", "counts"),
    [
        *(([], [1]), ([1.0], [1]), ([2.0, 1.0], [1, 1, 1])),
        *(([math.nan], [1, 1]), ([1.0], [0, 0]), ([1.0], [-1, 2])),
    ],
)
def test_a_reference_that_is_none_is_refused(edges: list[float], counts: list[int]) -> None:
    with pytest.raises(ValueError, match=r"counts|edges"):
        Reference.from_json({"edges": edges, "counts": counts})
