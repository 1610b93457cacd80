"""How much of the way from the best fixed scale to the oracle a policy goes.

*Accuracy headroom captured* = (policy - best fixed) / (oracle - best fixed), at a mean cost no higher than
the best fixed scale's. *Token headroom captured* = (T_best - T_policy) / (T_best - T_oracle), at an
accuracy of at least best fixed - 0.5 points. Both are NaN where their condition fails or there is no
headroom. T_oracle lets samples without a sufficient scale spend the smallest one: the strictest reading.
The oracle is the reachable one where there are replicates of the outcomes, else the plain one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.evaluation.frontier import Floats
from training.evaluation.resampling import Measured

ACCURACY_SLACK = 0.005


@dataclass(frozen=True)
class Yardstick:
    """The two ends, on the sample or (arrays [B, 1]) on its resamples."""

    best_accuracy: Floats
    best_tokens: Floats
    oracle_accuracy: Floats
    oracle_tokens: Floats

    @classmethod
    def of(cls, fixed: Measured, best: int, oracle: Measured, *, draws: bool) -> Yardstick:
        """oracle: measured with one setting, its choices resolved to a scale for every sample."""
        t = "visual_tokens"
        if draws:
            return cls(
                fixed.accuracy_draws[:, [best]],
                fixed.cost_draws[t][:, [best]],
                oracle.accuracy_draws[:, [0]],
                oracle.cost_draws[t][:, [0]],
            )
        return cls(fixed.accuracy[[best]], fixed.cost[t][[best]], oracle.accuracy[[0]], oracle.cost[t][[0]])

    def accuracy_captured(self, accuracy: Floats) -> Floats:
        """Accuracy headroom captured, its cost condition not looked at."""
        return _ratio(accuracy - self.best_accuracy, self.oracle_accuracy - self.best_accuracy)

    def token_captured(self, tokens: Floats) -> Floats:
        """Token headroom captured, its accuracy condition not looked at."""
        return _ratio(self.best_tokens - tokens, self.best_tokens - self.oracle_tokens)

    def affordable(self, tokens: Floats) -> Floats:
        """Whether the accuracy measure's condition holds."""
        return np.asarray(tokens <= self.best_tokens * (1 + 1e-9))

    def accurate(self, accuracy: Floats) -> Floats:
        """Whether the token measure's condition holds."""
        return np.asarray(accuracy >= self.best_accuracy - ACCURACY_SLACK - 1e-12)


def best_fixed(fixed: Measured) -> int:
    """Index of the most accurate fixed scale; of equals the smallest."""
    return int(np.argmax(fixed.accuracy))


def _ratio(part: Floats, whole: Floats) -> Floats:
    some = whole > 1e-12
    return np.where(some, part / np.where(some, whole, 1.0), np.nan)
