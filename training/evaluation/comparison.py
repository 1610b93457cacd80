"""Curves compared at equal tokens and at equal accuracy, with intervals from paired resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.frontier import (
    Floats,
    hull_accuracy,
    hull_cost,
    log_spaced_mean,
    path_accuracy,
    path_cost,
)
from training.evaluation.resampling import Measured, interval

HULL = "fixed hull"
SLACKS = (0.0, 0.005, 0.01, 0.02)
"""How far below the best fixed scale accuracies are compared at, in score (0.005 = 0.5 points)."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval by image."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: Floats) -> Estimate:
        return cls(float(value), *interval(draws))

    @property
    def sign(self) -> int:
        """1 or -1 when the interval is off zero, else 0."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


@dataclass(frozen=True)
class Curve:
    """A measured frontier: of a policy, or (``mixed``) the hull of the fixed scales."""

    name: str
    measured: Measured
    mixed: bool = False

    def accuracy_at(self, cost: str, at: Floats, *, draws: bool) -> Floats:
        """Accuracy at mean costs ``at`` [Q] (or [B, Q] with ``draws``)."""
        x, y = self._points(cost, draws)
        return (hull_accuracy if self.mixed else path_accuracy)(x, y, at)

    def cost_at(self, cost: str, target: Floats, *, draws: bool) -> Floats:
        """Cost at which accuracy ``target`` is reached, inf where it is not; shapes as above."""
        x, y = self._points(cost, draws)
        return (hull_cost if self.mixed else path_cost)(x, y, target)

    def _points(self, cost: str, draws: bool) -> tuple[Floats, Floats]:
        m = self.measured
        return (m.cost_draws[cost], m.accuracy_draws) if draws else (m.cost[cost], m.accuracy)


@dataclass(frozen=True)
class AtTokens:
    """Curves read at the same mean visual tokens; gain: the router's accuracy minus the other's."""

    visual_tokens: float
    accuracy: Mapping[str, float]
    gain: Mapping[str, Estimate]


@dataclass(frozen=True)
class AtAccuracy:
    """Curves read at the same accuracy: the best fixed scale's minus ``slack``.

    cost: what each curve needs (inf: never reaches it). saved: 1 - router's cost / other's cost; -inf
    where the router never gets there and the other does.
    """

    slack: float
    accuracy: float
    cost_name: str
    cost: Mapping[str, float]
    saved: Mapping[str, Estimate]


def token_levels(fixed_tokens: Floats) -> Floats:
    """Mean visual tokens at which curves are compared: between the ends of the ladder, denser at the top.

    For the ladder 1, 9, 36, 144, 576 these are 9, 36, 72, 144 and 288.
    """
    steps = np.asarray(fixed_tokens, np.float64)
    between = np.sqrt(steps[-3:-1] * steps[-2:]) if len(steps) > 2 else np.sqrt(steps[:-1] * steps[1:])
    return np.unique(np.concatenate([steps[1:-1], np.round(between)]))


def gain(router: Curve, other: Curve, at: Floats) -> list[Estimate]:
    """Router's accuracy minus the other's at each of the mean visual tokens ``at`` [Q]."""
    point = _difference(router, other, at, draws=False)
    draws = _difference(router, other, at, draws=True)
    return [Estimate.of(point[q], draws[:, q]) for q in range(len(at))]


def mean_gain(router: Curve, other: Curve, low: float, high: float) -> Estimate:
    """The same averaged over log tokens from ``low`` to ``high``: the area between the curves."""
    at = np.geomspace(low, high, 41)
    point = log_spaced_mean(_difference(router, other, at, draws=False), at)
    return Estimate.of(float(point), log_spaced_mean(_difference(router, other, at, draws=True), at))


def _difference(router: Curve, other: Curve, at: Floats, *, draws: bool) -> Floats:
    where = at[None] if draws else at
    return router.accuracy_at("visual_tokens", where, draws=draws) - other.accuracy_at(
        "visual_tokens", where, draws=draws
    )


def at_tokens(router: Curve, others: Sequence[Curve], levels: Floats) -> list[AtTokens]:
    """One row per level."""
    curves = [router, *others]
    accuracy = {c.name: c.accuracy_at("visual_tokens", levels, draws=False) for c in curves}
    gains = {c.name: gain(router, c, levels) for c in others}
    return [
        AtTokens(
            float(level),
            {name: float(values[q]) for name, values in accuracy.items()},
            {name: values[q] for name, values in gains.items()},
        )
        for q, level in enumerate(levels)
    ]


def at_accuracy(
    router: Curve,
    others: Sequence[Curve],
    fixed: Measured,
    best: int,
    cost: str,
    slacks: Sequence[float] = SLACKS,
) -> list[AtAccuracy]:
    """One row per slack below the fixed scale with index ``best``, whose accuracy moves with the resample."""
    below = np.asarray(slacks)
    target = fixed.accuracy[best] - below
    target_draws = fixed.accuracy_draws[:, [best]] - below
    point = {c.name: c.cost_at(cost, target, draws=False) for c in (router, *others)}
    draws = {c.name: c.cost_at(cost, target_draws, draws=True) for c in (router, *others)}
    alone = f"fixed {fixed.settings.targets[best]:g}"
    point[alone] = np.full(len(below), fixed.cost[cost][best])
    draws[alone] = np.repeat(fixed.cost_draws[cost][:, [best]], len(below), axis=1)
    rows = []
    for q, slack in enumerate(slacks):
        saved = {
            name: Estimate.of(
                float(_saved(point[router.name][q], point[name][q])),
                _saved(draws[router.name][:, q], draws[name][:, q]),
            )
            for name in point
            if name != router.name
        }
        rows.append(
            AtAccuracy(slack, float(target[q]), cost, {n: float(v[q]) for n, v in point.items()}, saved)
        )
    return rows


def _saved(mine: Floats, other: Floats) -> Floats:
    """1 - mine / other; 1 where only the other is infinite, 0 where both are, -inf where only mine is."""
    mine, other = np.asarray(mine), np.asarray(other)
    finite = np.isfinite(mine) & np.isfinite(other)
    ratio = np.where(finite, mine, 1.0) / np.where(finite, other, 1.0)
    odd = np.where(np.isinf(mine), np.where(np.isinf(other), 0.0, -np.inf), 1.0)
    return np.where(finite, 1.0 - ratio, odd)
