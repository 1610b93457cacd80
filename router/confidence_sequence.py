"""A confidence sequence for the mean of observations in [0, 1], valid at every time at once.

The hedged capital process of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting" (JRSS B 86, 2024; arXiv 2010.09686, Theorem 3 with the predictable plug-in bets of its section 4):
for every candidate mean a gambler bets that the true one is higher, another that it is lower; a candidate
is given up when one of them would have become too rich, which by Ville's inequality happens to the true
mean with probability at most 1 - confidence, however often one looks.

What it needs: given the past, every observation has the same mean. What contradicts that is told apart
(`ConfidenceSequence.contradicted`).
"""

from __future__ import annotations

import math

import numpy as np

GRID = 1000
"""Candidates per unit: bounds are multiples of 1 / GRID, rounded outwards."""

_CAP = 0.5  # no bet risks more than this share of the capital


class ConfidenceSequence:
    """``low`` and ``high`` hold the mean with probability ``confidence``, at all times together.

    They only ever move towards each other. Memory and time per observation do not grow.
    """

    def __init__(self, confidence: float = 0.95) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {confidence}.")
        self.confidence = confidence
        self.n = 0
        self.low, self.high = 0.0, 1.0
        self.contradicted = False
        """No single mean fits what was observed: it has changed. The bounds are the last that fitted."""
        self._sum = 0.0
        self._squares = 0.0  # of the distances to the mean as it was known at the time
        self._candidates = np.linspace(0.0, 1.0, GRID + 1)
        with np.errstate(divide="ignore"):
            self._most_up, self._most_down = _CAP / self._candidates, _CAP / (1 - self._candidates)
        self._up = np.zeros(GRID + 1)  # log capital of those who bet that the mean is higher
        self._down = np.zeros(GRID + 1)

    @property
    def mean(self) -> float:
        """Of what was observed; NaN before the first observation."""
        return self._sum / self.n if self.n else math.nan

    def add(self, x: float) -> None:
        """Observe ``x``; raises ValueError unless it is in [0, 1]."""
        if not 0 <= x <= 1:
            raise ValueError(f"An observation must be in [0, 1], got {x}.")
        bet = self._bet()
        gain = x - self._candidates
        self._up += np.log1p(np.minimum(bet, self._most_up) * gain)
        self._down += np.log1p(-np.minimum(bet, self._most_down) * gain)
        self.n += 1
        self._sum += x
        self._squares += (x - (0.5 + self._sum) / (self.n + 1)) ** 2
        # Half of the error on either side. Capital is monotone in the candidate, so what is given up is all
        # below one candidate and all above another.
        rich = math.log(2 / (1 - self.confidence))
        given_up_below, given_up_above = np.flatnonzero(self._up >= rich), np.flatnonzero(self._down >= rich)
        low = self._candidates[given_up_below[-1]] if given_up_below.size else 0.0
        high = self._candidates[given_up_above[0]] if given_up_above.size else 1.0
        low, high = max(self.low, float(low)), min(self.high, float(high))
        if low > high:
            self.contradicted = True
        else:
            self.low, self.high = low, high

    def _bet(self) -> float:
        """For the next observation, from those before it: large while little is known or little varies."""
        t = self.n + 1
        variance = (0.25 + self._squares) / t
        return math.sqrt(2 * math.log(2 / (1 - self.confidence)) / (variance * t * math.log1p(t)))
