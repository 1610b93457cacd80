"""The oracle: per sample the smallest sufficient scale, and what the labels look like.

Which scales are sufficient is `data.records.OutcomeTable.sufficient`'s to say. The oracle's accuracy is the
mean best score. What it spends where no scale is sufficient is a convention, so its cost
is given under all three: the smallest scale, the largest scale, or those samples left out.

This is the plain oracle, made of one replicate of the outcomes: a lucky guess counts as a sufficient
scale. `training.evaluation.reachable` scores on another replicate than those it chooses on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

NoneSufficient = Literal["smallest", "largest", "excluded"]
NONE_SUFFICIENT: tuple[NoneSufficient, ...] = ("smallest", "largest", "excluded")
ZONES = ("all-right", "scale-matters", "all-wrong")


@dataclass(frozen=True)
class Oracle:
    """The oracle's choices over n samples.

    choice: [n] index of the smallest sufficient scale, -1 where none is.
    zones: [n] index into `ZONES`: every scale sufficient, some but not all, or none.
    accuracy: mean best score.
    """

    choice: NDArray[np.int64]
    zones: NDArray[np.int64]
    accuracy: float

    @classmethod
    def of(cls, scores: NDArray[np.float64], sufficient: NDArray[np.bool_]) -> Oracle:
        """scores, and `OutcomeTable.sufficient`: [n, S], scales in rising order."""
        some = sufficient.any(axis=1)
        choice = np.where(some, sufficient.argmax(axis=1), -1)
        zones = np.where(~some, 2, np.where(sufficient.all(axis=1), 0, 1))
        return cls(choice, zones, float(scores.max(axis=1).mean()))

    def resolved(self, rule: Literal["smallest", "largest"], n_scales: int) -> NDArray[np.int64]:
        """[n] index of the scale spent, where samples without a sufficient scale follow ``rule``."""
        return np.where(self.choice < 0, 0 if rule == "smallest" else n_scales - 1, self.choice)

    def mean_cost(self, cost: NDArray[np.float64]) -> Mapping[NoneSufficient, float]:
        """Mean of ``cost`` [n, S] at the oracle's choices under each rule (NaN if all are excluded)."""
        rows, n_scales = np.arange(len(self.choice)), cost.shape[1]
        counted = self.choice >= 0
        kept = cost[rows[counted], self.choice[counted]]
        return {
            "smallest": float(cost[rows, self.resolved("smallest", n_scales)].mean()),
            "largest": float(cost[rows, self.resolved("largest", n_scales)].mean()),
            "excluded": float(kept.mean()) if kept.size else float("nan"),
        }
