"""The path of (price, threshold) that cascades are certified along, fixed on ``tune``.

Prices alone would not do: a cascade that is to lose little starts cheap and goes on readily, another one
starts dear and stays. Of all pairs those are taken that lose least for what they spend, the most careful
first: Pareto Testing (Laufer-Goldshtein, Fisch, Barzilay and Jaakkola, ICLR 2023, arXiv 2210.07913). Any path
is valid that was fixed without the images of ``certify``; a good one is not stopped early.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from router.certificates import Setting
from training.evaluation.hybrid import Hybrid
from training.evaluation.settings import PRICES, spread_out

THRESHOLDS = (-0.4, -0.2, -0.1, -0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05)
"""What another pass must be worth beyond its price; below 0, what it may lack."""

_TRIED = (*(-np.geomspace(2e-3, 1e-6, 8)).tolist(), *PRICES[::6])
"""Prices, the negative ones as in `training.certificates.path`."""


def careful_path(hybrid: Hybrid, scores: NDArray[np.float64], optimism: float) -> tuple[Setting, ...]:
    """About forty settings, each losing more and spending less than the one before it, on ``tune``.

    scores: [n, S] of the samples of ``hybrid``. What is lost is regret, max(0, full scale's - own score).
    """
    rows = np.arange(len(scores))
    tried = [Setting(*pair) for pair in itertools.product(_TRIED, THRESHOLDS)]
    spent, lost = np.zeros(len(tried)), np.zeros(len(tried))
    for k, setting in enumerate(tried):
        run = hybrid.passes(setting.price, optimism, setting.threshold or 0.0)
        spent[k] = run.tokens(hybrid.visual_tokens).mean()
        lost[k] = np.maximum(scores[:, -1] - scores[rows, run.choice], 0.0).mean()
    front: list[int] = []
    for k in np.lexsort((spent, lost)).tolist():  # by what they lose, of equals the cheapest first
        if spent[k] < (spent[front[-1]] if front else hybrid.visual_tokens[:, -1].mean()):
            front.append(k)
    if not front:
        return ()
    cheapest_first = front[::-1]
    kept = spread_out(spent[cheapest_first])
    return tuple(tried[cheapest_first[k]] for k in reversed(kept))
