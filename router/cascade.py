"""The second look: an answer's own confidence -> stay, or the larger scale that is worth another pass.

Two forms with one interface, `Revise`: `worth_it` is told by a model what another pass would gain
(`router.escalation`), `next_when_unsure` only compares the confidence with a threshold, as FrugalGPT's
cascade does (Chen, Zaharia and Zou 2023, arXiv 2305.05176, section 3, "LLM cascade").

Pure functions over n requests at once, as in `router.policy`. Shapes: n requests, S scales, C = 4 numbers of
confidence. Not covered: sampled answers, for only the confidence of greedy ones was learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3_backbone.types import Generation
from router.predictor import Float32, Predictions

Index = NDArray[np.int64]
Costs = NDArray[np.float64]
Mask = NDArray[np.bool_]

CONFIDENCE = ("mean_logprob", "min_logprob", "first_margin", "answer_tokens")
"""What an answer says of itself; columns of outcome tables. answer_tokens: how many."""

MEAN_LOGPROB = CONFIDENCE.index("mean_logprob")

MOST_PASSES = 3
"""Passes of one request at most."""

Revise = Callable[[Index, Float32], Index]
"""(scale tried [n], confidence of the answer there [n, C]) -> the next scale [n]; the same one: stay."""


def confidence_of(generation: Generation) -> Float32:
    """[1, C] of one answer; equal to what an outcome table holds of it."""
    values = (generation.mean_logprob, generation.min_logprob, generation.first_margin)
    return np.array([[*values, len(generation.token_ids)]], np.float32)


def evidence_width(n_scales: int) -> int:
    """Columns of `evidence`."""
    return 2 * n_scales + 3 + len(CONFIDENCE)


def evidence(predictions: Predictions, tried: Index, confidence: Float32) -> Float32:
    """[n, 2 S + 3 + C]: what the second look is based on.

    Columns: the router's calibrated expected scores and probabilities; which scale was tried, what was
    expected there, and what more at the best larger one; the confidence.
    """
    n, n_scales = predictions.score.shape
    here = predictions.score[np.arange(n), tried]
    larger = np.arange(n_scales) >= tried[:, None]
    above = np.where(larger, predictions.score, -np.inf).max(axis=1) - here
    columns = (predictions.score, predictions.sufficient, np.stack([tried, here, above], axis=1), confidence)
    return np.concatenate(columns, axis=1, dtype=np.float32)


def worth_it(
    expected: Callable[[Index, Float32], Float32],
    costs: Costs,
    price: float,
    threshold: float = 0.0,
    allowed: Mask | None = None,
) -> Revise:
    """Goes to the larger scale with the highest gain - price x cost, where that is above ``threshold``.

    expected: (tried, confidence) -> expected score at every scale [n, S], given that answer; the gain is that
    over the score of the answer at hand. costs, allowed: [n, S]. Ties go to the smaller scale.
    """

    def revise(tried: Index, confidence: Float32) -> Index:
        score = expected(tried, confidence).astype(np.float64)
        rows = np.arange(len(tried))
        gain = score - score[rows, tried][:, None] - price * costs
        larger = np.arange(score.shape[1]) > tried[:, None]
        gain = np.where(larger if allowed is None else larger & allowed, gain, -np.inf)
        best = gain.argmax(axis=1)
        then: Index = np.where(gain[rows, best] > threshold, best, tried).astype(np.int64)
        return then

    return revise


def next_when_unsure(
    sequence: Sequence[int], thresholds: Sequence[float], score: Callable[[Index, Float32], NDArray[Any]]
) -> Revise:
    """Goes to the next scale of ``sequence`` (indices that ascend) where ``score`` is below the threshold.

    thresholds: one for each scale but the last. score: (tried, confidence) -> [n], higher is surer.
    """
    if len(thresholds) != len(sequence) - 1 or list(sequence) != sorted(set(sequence)):
        raise ValueError(f"{len(thresholds)} thresholds for the scales {list(sequence)}, which must ascend.")

    def revise(tried: Index, confidence: Float32) -> Index:
        sure, then = score(tried, confidence), tried.copy()
        for at, larger, threshold in zip(sequence, sequence[1:], thresholds, strict=False):
            then[(tried == at) & (sure < threshold)] = larger
        return then

    return revise


def mean_probability(tried: Index, confidence: Float32) -> NDArray[np.float64]:
    """[n] geometric mean of the probabilities of an answer's tokens: the plain measure of how sure it is."""
    sure: NDArray[np.float64] = np.exp(confidence[:, MEAN_LOGPROB].astype(np.float64))
    return sure
