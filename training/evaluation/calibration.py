"""How far predicted probabilities can be believed: reliability curve, ECE and Brier score.

Brier score: mean of (p - y)^2. ECE: mean over equal-width bins, weighted by their size, of
|mean p - share of y| (Guo et al. 2017, arXiv 1706.04599, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Of one set of n predictions: per bin that is not empty, mean prediction, observed share, size."""

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    sizes: tuple[int, ...]
    ece: float
    brier: float
    base_rate: float

    @classmethod
    def of(
        cls, probabilities: NDArray[np.floating], truth: NDArray[np.bool_], bins: int = BINS
    ) -> Reliability:
        """probabilities: [n] in [0, 1]; truth: [n]."""
        p, y = np.asarray(probabilities, np.float64), truth.astype(np.float64)
        if p.shape != y.shape or not p.size:
            raise ValueError(f"Expected two equal non-empty vectors, got {p.shape} and {y.shape}.")
        which = np.clip((p * bins).astype(np.int64), 0, bins - 1)
        sizes = np.bincount(which, minlength=bins)
        filled = sizes > 0
        mean_p = np.bincount(which, p, bins)[filled] / sizes[filled]
        mean_y = np.bincount(which, y, bins)[filled] / sizes[filled]
        return cls(
            tuple(mean_p.tolist()),
            tuple(mean_y.tolist()),
            tuple(sizes[filled].tolist()),
            ece=float((sizes[filled] * np.abs(mean_p - mean_y)).sum() / p.size),
            brier=float(((p - y) ** 2).mean()),
            base_rate=float(y.mean()),
        )
