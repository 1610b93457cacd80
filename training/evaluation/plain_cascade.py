"""The plain cascade replayed over an outcome table: it climbs a sequence of scales while answers are unsure.

FrugalGPT's cascade (arXiv 2305.05176, section 3), whoever says how sure an answer is. Sequences and
thresholds are found on ``tune`` alone. Shapes: n samples, S scales.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from router.cascade import MOST_PASSES, next_when_unsure
from training.evaluation.frontier import Floats, upper_hull
from training.evaluation.passes import Passes, follow

STEPS = 12
"""Thresholds tried for each scale: quantiles of how sure its answers are."""

Rungs = tuple[tuple[int, ...], tuple[float, ...]]
"""A sequence of scales (indices), and a threshold for each but the last."""


def plain_cascade(
    sure: Floats, visual_tokens: NDArray[np.number], scores: Floats, longest: int = MOST_PASSES
) -> list[Rungs]:
    """The plain cascades that are best on these samples, cheapest first: the vertices of their hull.

    sure: [n, S], how sure the answer at each scale is. All sequences of up to ``longest`` scales are tried,
    with `STEPS` thresholds a rung.
    """
    n_scales, rows = sure.shape[1], np.arange(len(sure))
    parts = [np.quantile(sure[:, s], np.linspace(0.04, 0.96, STEPS)) for s in range(n_scales)]
    found: list[Rungs] = []
    for length in range(1, longest + 1):
        for sequence in itertools.combinations(range(n_scales), length):
            steps = itertools.product(*(parts[s].tolist() for s in sequence[:-1]))
            found += [(sequence, thresholds) for thresholds in steps]
    runs = [climb(rungs, sure) for rungs in found]
    spent = [float(run.tokens(visual_tokens).mean()) for run in runs]
    accuracy = [float(scores[rows, run.choice].mean()) for run in runs]
    return [found[k] for k in upper_hull(spent, accuracy)]


def climb(rungs: Rungs, sure: Floats) -> Passes:
    """One plain cascade over samples whose answers are as ``sure`` [n, S] as that."""
    sequence, thresholds = rungs
    rows = np.arange(len(sure))
    revise = next_when_unsure(sequence, thresholds, lambda tried, _: sure[rows, tried])
    nothing = np.zeros((*sure.shape, 0), np.float32)
    return follow(np.full(len(sure), sequence[0], np.int64), revise, nothing, len(sequence))
