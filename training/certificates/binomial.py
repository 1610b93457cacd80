"""The interval of a binomial proportion."""

from __future__ import annotations

from scipy.stats import binomtest

CONFIDENCE = 0.95


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided interval of a binomial proportion (Clopper and Pearson 1934)."""
    interval = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)
