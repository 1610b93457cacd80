"""The interval of a binomial proportion."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided interval of a binomial proportion (Clopper and Pearson 1934)."""
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else _solve(lambda p: 1 - _at_most(successes - 1, trials, p) >= tail)
    high = 1.0 if successes == trials else _solve(lambda p: _at_most(successes, trials, p) <= tail)
    return low, high


def _solve(holds: Callable[[float], bool]) -> float:
    """The least p, to 1e-9, from which on ``holds``."""
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return (low + high) / 2


def _at_most(k: int, n: int, p: float) -> float:
    """P(Bin(n, p) <= k) for p inside of (0, 1)."""
    logs: list[float] = [
        math.lgamma(n + 1)
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + i * math.log(p)
        + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    ]
    terms: NDArray[np.float64] = np.exp(np.array(logs))
    return float(min(1.0, terms.sum()))
