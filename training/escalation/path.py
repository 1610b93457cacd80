"""The path of (price, threshold) that comes with a second look, fixed on ``tune`` as it is fitted.

`m3-train certify` goes along it where it has no table of ``tune`` to learn a path from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.certificates import Setting
from training.certificates.path import CASCADES, pareto
from training.evaluation.hybrid import Hybrid
from training.evaluation.settings import spread_out


def careful_path(hybrid: Hybrid, scores: NDArray[np.float64], optimism: float) -> tuple[Setting, ...]:
    """About forty settings, each losing more and spending less than the one before it, on ``tune``.

    scores: [n, S] of the samples of ``hybrid``. What is lost is regret, max(0, full scale's - own score).
    """
    rows = np.arange(len(scores))
    spent, lost = np.zeros(len(CASCADES)), np.zeros(len(CASCADES))
    for k, setting in enumerate(CASCADES):
        run = hybrid.passes(setting.price, optimism, setting.threshold or 0.0)
        spent[k] = run.tokens(hybrid.visual_tokens).mean()
        lost[k] = np.maximum(scores[:, -1] - scores[rows, run.choice], 0.0).mean()
    cheapest_first = pareto(lost, spent, float(hybrid.visual_tokens[:, -1].mean()))[::-1]
    kept = spread_out(spent[cheapest_first]) if cheapest_first else []
    return tuple(CASCADES[cheapest_first[k]] for k in reversed(kept))
