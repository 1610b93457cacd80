"""Says soon when the mean of observations in [0, 1] falls below a bound, and seldom says so falsely.

An e-detector of the CUSUM kind (Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for
sequential change detection", NEJSDS 2024; arXiv 2203.03532): capital that bets on the mean being below the
bound, topped up to 1 before every bet, so that long good times cost no attention. While the mean of every
observation, given the past, is at least the bound, the mean number of observations until a false alarm is
no less than ``every`` - observations need neither be independent nor alike.
"""

from __future__ import annotations

import math

import numpy as np

_BETS = (0.05, 0.1, 0.2, 0.4)  # shares of the largest bet allowed: small falls and large ones


class ChangeDetector:
    """``alarmed`` from the observation on that makes it believe the mean to have fallen below ``bound``.

    bound: in (0, 1]. every: observations between false alarms, on average and at the least.
    """

    def __init__(self, bound: float, every: float = 10_000) -> None:
        if not 0 < bound <= 1:
            raise ValueError(f"bound must be above 0 and at most 1, got {bound}.")
        if every <= 1:
            raise ValueError(f"every must be above 1, got {every}.")
        self.bound = bound
        self.every = every
        self.alarmed = False
        # Below a bound of 1 a single observation is proof; a bet as if it were a little less says the same.
        self._bets = np.array(_BETS) / max(1 - bound, 1e-3)
        self._capital = np.zeros(len(_BETS))  # logarithms

    @property
    def evidence(self) -> float:
        """The log of the capital as a share of what makes an alarm: 0 none, 1 an alarm."""
        capital = float(np.logaddexp.reduce(self._capital)) - math.log(len(_BETS))
        return max(0.0, capital / math.log(self.every))

    def add(self, x: float) -> None:
        """Observe ``x``; raises ValueError unless it is in [0, 1]."""
        if not 0 <= x <= 1:
            raise ValueError(f"An observation must be in [0, 1], got {x}.")
        self._capital = np.maximum(self._capital, 0.0) + np.log1p(self._bets * (self.bound - x))
        self.alarmed = self.alarmed or self.evidence >= 1
