"""The hybrid replayed over an outcome table: it predicts the first scale and thinks again after each answer.

Its settings are found on ``tune`` alone. Shapes: n samples, S scales.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.cascade import worth_it
from router.policy import Mask, spend
from training.evaluation.frontier import Floats, log_spaced_mean, path_accuracy
from training.evaluation.passes import Passes, as_settings, follow
from training.evaluation.settings import PRICE, PRICES, Settings, spread_out

OPTIMISM = (1.0, 2.0, 4.0, 8.0)
THRESHOLDS = (0.0, 0.01, 0.02, 0.05)
"""What `Hybrid.tuned` tries: how much dearer tokens are in the first look, the least gain of another pass."""


@dataclass(frozen=True)
class Hybrid:
    """The hybrid over a table: what was predicted at first, and what the second look says of every answer.

    expected: [n, S] calibrated. given: [n, S, S] expected scores at every scale (last axis) given the answer
    at one (middle axis). fallback: [n] samples that take the full scale at once.
    """

    expected: NDArray[np.floating]
    given: NDArray[np.floating]
    visual_tokens: Floats
    fallback: Mask

    def passes(self, price: float, optimism: float, threshold: float) -> Passes:
        """The run at one setting; see `router.escalation.Escalation`."""
        rows = np.arange(len(self.expected))
        first = spend(self.expected, self.visual_tokens, optimism * price, fallback=self.fallback)
        revise = worth_it(
            lambda tried, _: self.given[rows, tried].astype(np.float32), self.visual_tokens, price, threshold
        )
        return follow(first, revise, np.zeros((*self.expected.shape, 0), np.float32))

    def at_prices(
        self,
        name: str,
        prices: Sequence[float],
        optimism: float,
        threshold: float,
        charge: Mapping[str, float] | None = None,
    ) -> Settings:
        """The hybrid at given prices."""
        passes = [self.passes(price, optimism, threshold) for price in prices]
        return as_settings(name, PRICE, prices, passes, charge)

    def sweep(
        self, name: str, optimism: float, threshold: float, charge: Mapping[str, float] | None = None
    ) -> Settings:
        """The hybrid along its whole frontier of prices, for which no label is looked at."""
        passes = [self.passes(price, optimism, threshold) for price in PRICES]
        spent = np.array([each.tokens(self.visual_tokens).mean() for each in passes])
        kept = spread_out(spent)
        return as_settings(name, PRICE, [PRICES[k] for k in kept], [passes[k] for k in kept], charge)

    def tuned(self, scores: Floats) -> tuple[float, float]:
        """(optimism, threshold) of `OPTIMISM` x `THRESHOLDS` with the most accuracy over log tokens.

        scores: [n, S], of ``tune``. Tokens count from half the second scale's to half the full one's.
        """
        tried = list(itertools.product(OPTIMISM, THRESHOLDS))
        areas = [self._area(scores, *setting) for setting in tried]
        return tried[int(np.argmax(areas))]

    def _area(self, scores: Floats, optimism: float, threshold: float) -> float:
        rows, fixed = np.arange(len(scores)), self.visual_tokens.mean(axis=0)
        passes = [self.passes(price, optimism, threshold) for price in PRICES[::4]]
        spent = np.array([each.tokens(self.visual_tokens).mean() for each in passes])
        accuracy = np.array([scores[rows, each.choice].mean() for each in passes])
        at = np.geomspace(fixed[min(1, len(fixed) - 1)] / 2, fixed[-1] / 2, 41)
        return float(log_spaced_mean(path_accuracy(spent, accuracy, at), at))
