"""The betting confidence sequence: it holds the mean, it shrinks, it only narrows, it notices a change."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.confidence_sequence import GRID, ConfidenceSequence


def after(values: list[float], confidence: float = 0.95) -> ConfidenceSequence:
    sequence = ConfidenceSequence(confidence)
    for value in values:
        sequence.add(value)
    return sequence


def test_nothing_is_known_before_the_first_observation() -> None:
    sequence = ConfidenceSequence()
    assert (sequence.n, sequence.low, sequence.high) == (0, 0.0, 1.0)
    assert math.isnan(sequence.mean)


@pytest.mark.parametrize("p", [0.03, 0.5, 0.9, 0.99])
def test_the_mean_is_seldom_ever_outside_of_it(p: float) -> None:
    """At confidence 0.8 at most a fifth of runs may ever miss: 100 runs, three standard errors."""
    rng, confidence, missed = np.random.default_rng(0), 0.8, 0
    for _ in range(100):
        sequence = after((rng.random(300) < p).astype(float).tolist(), confidence)
        # It only narrows, so what it missed at some time it misses at the end.
        missed += sequence.contradicted or not sequence.low <= p <= sequence.high
    assert missed <= 20 + 3 * math.sqrt(100 * 0.2 * 0.8)


def test_the_mean_of_what_is_neither_0_nor_1_is_held_too() -> None:
    values = np.random.default_rng(1).beta(8, 2, 2000)
    sequence = after(values.tolist())
    assert sequence.low <= 0.8 <= sequence.high
    assert sequence.high - sequence.low < 0.05  # little variance is made use of


@pytest.mark.parametrize(("n", "width"), [(100, 0.25), (400, 0.12), (2000, 0.06)])
def test_it_shrinks_as_observations_come(n: int, width: float) -> None:
    values = (np.random.default_rng(2).random(n) < 0.95).astype(float)
    sequence = after(values.tolist())
    assert sequence.n == n
    assert sequence.mean == pytest.approx(values.mean())
    assert sequence.high - sequence.low < width


def test_agreement_without_exception_is_believed_step_by_step() -> None:
    assert after([1.0] * 100).low > 0.9
    assert after([1.0] * 1000).low > 0.98
    assert after([1.0] * 1000).high == 1.0


@given(st.lists(st.floats(0, 1), max_size=60), st.floats(0.5, 0.99))
@settings(deadline=None, max_examples=50)
def test_it_only_narrows_and_its_bounds_stay_in_order(values: list[float], confidence: float) -> None:
    sequence = ConfidenceSequence(confidence)
    for value in values:
        low, high = sequence.low, sequence.high
        sequence.add(value)
        assert 0 <= low <= sequence.low <= sequence.high <= high <= 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
@settings(deadline=None, max_examples=50)
def test_what_is_turned_round_gives_what_is_turned_round(values: list[float]) -> None:
    sequence, mirror = after(values), after([1 - value for value in values])
    assert mirror.low == pytest.approx(1 - sequence.high, abs=1 / GRID + 1e-9)
    assert mirror.high == pytest.approx(1 - sequence.low, abs=1 / GRID + 1e-9)


def test_more_confidence_is_more_width() -> None:
    values = (np.random.default_rng(3).random(200) < 0.9).astype(float).tolist()
    wide, narrow = after(values, 0.99), after(values, 0.8)
    assert wide.low < narrow.low
    assert wide.high > narrow.high


def test_a_mean_that_changes_is_contradicted_and_one_that_does_not_is_not() -> None:
    assert not after([1.0] * 400).contradicted
    changed = after([1.0] * 400 + [0.0] * 400)
    assert changed.contradicted
    assert 0 <= changed.low <= changed.high <= 1


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
def test_what_is_not_between_0_and_1_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="must be in"):
        ConfidenceSequence().add(value)


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence must be between 0 and 1"):
        ConfidenceSequence(confidence)
