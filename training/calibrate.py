"""What is set on ``tune``: maps from predictions to frequencies, and the prices of token budgets.

Kept apart from fitting, on other images: a predictor is always too sure of what it was fitted on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from router import calibration, policy
from router.calibration import EPSILON, Calibration, Isotonic, Platt, ScaleMap
from router.policy import Prices
from router.predictor import Predictions
from training.candidates.base import image_folds, log_loss

Labels = NDArray[np.float64]

FOLDS = 5
MARGIN = 0.001
"""Nats by which isotonic must beat Platt on held-out images: its steps make ties, which route coarsely."""

BUDGETS = 96
"""Rows of the table of prices."""

GIVE = 0.005
"""The default price may cost this much mean score against the best fixed scale on ``tune``."""

NEARLY = 0.001
"""Where no price does, it may cost this much against the most accurate: which one that is, is noise."""


def fit_calibration(
    raw: Predictions, sufficient: NDArray[np.bool_], scores: Labels, groups: NDArray[np.int64], seed: int = 0
) -> Calibration:
    """One monotone map per scale and head, Platt or isotonic, chosen on folds by image.

    raw: uncalibrated [n, S]. sufficient, scores: [n, S] what happened. groups: [n] image of each sample.
    """
    fold = image_folds(groups, FOLDS, seed)
    return Calibration(
        sufficient=_head(raw.sufficient, sufficient.astype(np.float64), fold),
        score=_head(raw.score, scores, fold),
    )


def calibrated(maps: Calibration, raw: Predictions) -> Predictions:
    """``raw`` predictions through the maps; novelty is left as it is."""
    return Predictions(
        calibration.apply(maps.sufficient, raw.sufficient),
        calibration.apply(maps.score, raw.score),
        raw.novelty,
    )


def fit_platt(p: NDArray[np.floating], y: Labels) -> Platt:
    """Maximum likelihood by Newton's method, targets drawn in a little as in Platt (1999); y may be soft.

    The logits are standardised, and steps halved until the likelihood rises: a predictor that says nearly
    the same of everyone would else send slope and offset to and fro. Predictions that differ by less than
    `EPSILON` say the same: a slope, fitted to their rounding, would make 0 or 1 of any other prediction.
    """
    clipped = np.clip(p.astype(np.float64), EPSILON, 1 - EPSILON)
    logit = np.log(clipped / (1 - clipped))
    y = (y * len(y) + 0.5) / (len(y) + 1)  # keeps the offset finite when y is all 0 or all 1
    mean, spread = float(logit.mean()), float(logit.std())
    average = Platt(0.0, float(np.log(y.mean() / (1 - y.mean()))))
    if clipped.std() < EPSILON:
        return average
    x = np.stack([(logit - mean) / spread, np.ones(len(p))], axis=1)  # [n, 2]

    def loss(w: NDArray[np.float64]) -> float:
        said = x @ w
        return float((np.logaddexp(0.0, said) - y * said).sum())

    w = np.array([spread, mean])  # which leaves predictions as they are
    for _ in range(50):
        q = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        hessian = (x * (q * (1 - q))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, x.T @ (y - q))
        before = loss(w)
        while loss(w + step) > before and np.abs(step).max() >= 1e-9:
            step = step / 2
        w = w + step
        if np.abs(step).max() < 1e-9:
            break
    slope = float(w[0]) / spread
    # A predictor that is worse than none: all that is left is the mean.
    return average if slope < 0 else Platt(slope, float(w[1]) - slope * mean)


def fit_isotonic(p: NDArray[np.floating], y: Labels) -> Isotonic:
    """Least squares among ascending maps (Zadrozny and Elkan 2002), kept as its knots."""
    fitted = IsotonicRegression(out_of_bounds="clip").fit(p.astype(np.float64), y)
    x, first = np.unique(fitted.X_thresholds_, return_index=True)
    return Isotonic(tuple(map(float, x)), tuple(map(float, fitted.y_thresholds_[first])))


def fit_prices(
    predictions: Predictions,
    visual_tokens: NDArray[np.integer],
    scores: Labels,
    fallback: NDArray[np.bool_] | None = None,
) -> Prices:
    """The table of prices, and the default price.

    predictions: calibrated, [n, S]; visual_tokens, scores: [n, S]; fallback: [n] samples that take the
    full scale whatever the price. For each of `BUDGETS` budgets between the cheapest and the dearest the
    table has the lowest price that keeps the mean within it. The default is that of `default_price`.
    """
    tokens = visual_tokens.astype(np.float64)

    def chosen(price: float) -> NDArray[np.int64]:
        index = policy.utility(predictions.score, tokens, price)
        return index if fallback is None else np.where(fallback, tokens.shape[1] - 1, index)

    def mean(values: NDArray[Any], price: float) -> float:
        return float(np.take_along_axis(values, chosen(price)[:, None], axis=1).mean())

    def within(budget: float, price: float) -> bool:
        return mean(tokens, price) <= budget

    cheapest = _lowest(lambda price: (chosen(price) == chosen(1e9)).all(), 1.0)
    prices = {0.0, cheapest}
    low, high = mean(tokens, cheapest), mean(tokens, 0.0)
    for budget in np.geomspace(low, high, BUDGETS)[1:-1].tolist():
        prices.add(_lowest(partial(within, budget), cheapest))
    ordered = sorted(prices)
    accuracy = [mean(scores, price) for price in ordered]
    # Descending but for rounding in ties: where it matters, the higher mean is the safe one.
    means = np.maximum.accumulate([mean(tokens, price) for price in reversed(ordered)])[::-1]
    return Prices(
        default=default_price(ordered, accuracy, float(scores.mean(axis=0).max())),
        prices=tuple(ordered),
        mean_tokens=tuple(means.tolist()),
    )


def default_price(prices: Sequence[float], accuracy: Sequence[float], best_fixed: float) -> float:
    """Of ``prices``, the lowest first, the highest with an accuracy at most `GIVE` below ``best_fixed``.

    Where none has, the highest that is `NEARLY` as accurate as any: a lower one would spend more for nothing.
    """
    least = best_fixed - GIVE
    if max(accuracy) < least:
        least = max(accuracy) - NEARLY
    return [price for price, reached in zip(prices, accuracy, strict=True) if reached >= least][-1]


def _lowest(holds: Callable[[float], Any], start: float) -> float:
    """The lowest price, to a relative 1e-6, from which on ``holds``; it must hold somewhere above."""
    high = start
    while not holds(high):
        high *= 2
    low = high
    while holds(low) and low > 1e-12:
        high, low = low, low / 2
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _head(p: NDArray[np.floating], y: Labels, fold: NDArray[np.int64]) -> tuple[ScaleMap, ...]:
    return tuple(_better(p[:, s], y[:, s], fold) for s in range(p.shape[1]))


def _better(p: NDArray[np.floating], y: Labels, fold: NDArray[np.int64]) -> ScaleMap:
    """Platt, unless isotonic is better by `MARGIN` on held-out images."""
    platt, isotonic = np.zeros(len(p)), np.zeros(len(p))
    for k in range(FOLDS):
        held = fold == k
        platt[held] = fit_platt(p[~held], y[~held])(p[held])
        isotonic[held] = fit_isotonic(p[~held], y[~held])(p[held])
    if log_loss(y, isotonic) < log_loss(y, platt) - MARGIN:
        return fit_isotonic(p, y)
    return fit_platt(p, y)
