"""A fall of the mean is noticed soon, whatever was before; false alarms are rare."""

from __future__ import annotations

import math

import numpy as np
import pytest

from router.change_detector import ChangeDetector


def first_alarm(detector: ChangeDetector, p: float, most: int, rng: np.random.Generator) -> int:
    """After how many observations of mean ``p`` it alarms; ``most`` when it does not."""
    for i, value in enumerate((rng.random(most) < p).tolist(), start=1):
        detector.add(float(value))
        if detector.alarmed:
            return i
    return most


def test_false_alarms_are_at_least_as_far_apart_as_promised() -> None:
    rng = np.random.default_rng(0)
    runs = [first_alarm(ChangeDetector(0.9, every=50), 0.9, 2000, rng) for _ in range(40)]
    assert np.mean(runs) >= 50


def test_a_fall_is_noticed_soon_even_after_a_long_good_time() -> None:
    rng = np.random.default_rng(1)
    for good in (0, 2000):
        detector = ChangeDetector(0.95)
        assert first_alarm(detector, 0.99, good, rng) == good
        assert not detector.alarmed
        assert first_alarm(detector, 0.75, 500, rng) < 150


def test_evidence_grows_from_0_to_1_and_an_alarm_stays() -> None:
    detector = ChangeDetector(0.9)
    assert detector.evidence == 0
    seen = []
    while not detector.alarmed:
        seen.append(detector.evidence)
        detector.add(0.0)
    assert seen == sorted(seen)
    assert detector.evidence >= 1
    for _ in range(500):
        detector.add(1.0)
    assert detector.evidence == 0
    assert detector.alarmed


def test_a_bound_of_one_is_broken_by_the_second_disagreement_and_never_by_agreement() -> None:
    detector = ChangeDetector(1.0)
    for _ in range(1000):
        detector.add(1.0)
    assert not detector.alarmed
    detector.add(0.0)
    detector.add(0.0)
    assert detector.alarmed


@pytest.mark.parametrize("bound", [0.0, 1.1, math.nan])
def test_a_bound_that_is_none_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="bound must be above 0"):
        ChangeDetector(bound)


def test_a_rate_that_is_none_and_an_observation_that_is_none_are_refused() -> None:
    with pytest.raises(ValueError, match="every must be above 1"):
        ChangeDetector(0.9, every=1)
    with pytest.raises(ValueError, match="must be in"):
        ChangeDetector(0.9).add(2)
