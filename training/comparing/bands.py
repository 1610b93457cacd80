"""Simultaneous intervals over several quantities: all of them hold at once in 95% of samples.

Max-t bootstrap (Romano and Wolf 2005, Econometrica 73(4); also called a sup-t band, Montiel Olea and
Plagborg-Moeller 2019): the largest deviation over the quantities, in units of their standard errors, is
bootstrapped, and its quantile takes the place of 1.96.
"""

from __future__ import annotations

import numpy as np

from training.evaluation.comparison import Estimate
from training.evaluation.frontier import Floats
from training.evaluation.resampling import CONFIDENCE


def simultaneous(value: Floats, draws: Floats, confidence: float = CONFIDENCE) -> tuple[Estimate, ...]:
    """value: [Q] on the sample; draws: [B, Q] on resamples. A quantity that never varies is its own band."""
    error = draws.std(axis=0, ddof=1)
    moves = error > 1e-12
    if not moves.any():
        return tuple(Estimate(v, v, v) for v in value.tolist())
    largest = (np.abs(draws[:, moves] - value[moves]) / error[moves]).max(axis=1)
    width = np.quantile(largest, confidence, method="higher") * np.where(moves, error, 0.0)
    return tuple(
        Estimate(v, low, high)
        for v, low, high in zip(
            value.tolist(), (value - width).tolist(), (value + width).tolist(), strict=True
        )
    )
