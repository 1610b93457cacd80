"""Two ways in turn, A B A B: what is told of them is their ratio, for both slow down on a slow machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np


@dataclass(slots=True)
class Pairs:
    """one[i] and other[i] were measured one right after the other."""

    one: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)

    def note(self, one: float, other: float) -> None:
        self.one.append(one)
        self.other.append(other)

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return median(self.one) / median(self.other)

    @property
    def spread(self) -> tuple[float, float]:
        """Quartiles of the ratios of neighbours."""
        return quartiles(np.asarray(self.one) / np.asarray(self.other))

    def json(self, one: str, other: str) -> dict[str, Any]:
        return {
            one: round(median(self.one), 3),
            other: round(median(self.other), 3),
            "ratio": round(self.ratio, 4),
            "ratio_quartiles": [round(value, 4) for value in self.spread],
            "rounds": len(self.one),
        }

    def __str__(self) -> str:
        low, high = self.spread
        return f"{self.ratio:.3f} ({low:.3f} to {high:.3f})"


def quartiles(values: Sequence[float] | np.ndarray[Any, Any]) -> tuple[float, float]:
    """The lower and the upper one."""
    low, high = np.percentile(values, [25, 75])
    return float(low), float(high)
