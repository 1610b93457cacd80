"""Curves of accuracy against cost: the hull of fixed scales, and the path of a policy's settings.

A *hull* may be mixed at will: a request is sent at random to one of two scales, so every point on a chord
between two fixed scales is reachable, and nothing above the upper concave envelope is. A *path* is one
policy under a sequence of settings (prices), cheapest first; between two neighbouring settings it is
mixed, but settings are never skipped in hindsight.

Both are read as budgets: a curve's value at a cost beyond its dearest point is that of its best
affordable point. All functions take leading axes (resamples) in front of the last one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def upper_hull(cost: ArrayLike, accuracy: ArrayLike) -> tuple[int, ...]:
    """Indices of the vertices of the upper concave hull, by rising cost and rising accuracy.

    cost, accuracy: [S]. Of two points at one cost the more accurate counts; points past the most
    accurate one are left out, because a mixture would pay more for less.
    """
    x, y = np.asarray(cost, np.float64), np.asarray(accuracy, np.float64)
    if x.ndim != 1 or x.shape != y.shape or not x.size:
        raise ValueError(
            f"cost and accuracy must be two equal non-empty vectors, got {x.shape} and {y.shape}."
        )
    hull: list[int] = []
    for i in np.lexsort((-y, x)).tolist():
        if hull and y[i] <= y[hull[-1]]:
            continue
        while len(hull) >= 2 and _left_turn(x, y, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return tuple(hull)


def _left_turn(x: Floats, y: Floats, a: int, b: int, c: int) -> bool:
    """Whether b lies on or below the chord from a to c."""
    return bool((x[b] - x[a]) * (y[c] - y[a]) >= (y[b] - y[a]) * (x[c] - x[a]))


def hull_accuracy(cost: Floats, accuracy: Floats, at: Floats) -> Floats:
    """Best accuracy that mixing reaches at a mean cost of ``at``.

    cost, accuracy: [..., S]; at: [..., K] -> [..., K]. The maximum over single points that cost no more
    and over the chords of all pairs: for a handful of scales that is the hull, without building it per
    resample. A cost below the cheapest point is read at the cheapest point.
    """
    at = np.maximum(at, cost.min(axis=-1, keepdims=True))
    best = np.full(np.broadcast_shapes(at.shape, (*cost.shape[:-1], 1)), -np.inf)
    for i in range(cost.shape[-1]):
        xi, yi = cost[..., i, None], accuracy[..., i, None]
        best = np.maximum(best, np.where(xi <= at, yi, -np.inf))
        for j in range(cost.shape[-1]):
            xj, yj = cost[..., j, None], accuracy[..., j, None]
            inside = (xi < at) & (at < xj)
            part = np.where(inside, at - xi, 0.0) / np.where(inside, xj - xi, 1.0)
            best = np.maximum(best, np.where(inside, yi + part * (yj - yi), -np.inf))
    return best


def hull_cost(cost: Floats, accuracy: Floats, target: Floats) -> Floats:
    """Smallest mean cost at which mixing reaches accuracy ``target``; inf where nothing does.

    cost, accuracy: [..., S]; target: [..., K] -> [..., K].
    """
    best = np.full(np.broadcast_shapes(target.shape, (*cost.shape[:-1], 1)), np.inf)
    for i in range(cost.shape[-1]):
        xi, yi = cost[..., i, None], accuracy[..., i, None]
        best = np.minimum(best, np.where(yi >= target, xi, np.inf))
        for j in range(cost.shape[-1]):
            xj, yj = cost[..., j, None], accuracy[..., j, None]
            inside = (yi < target) & (target < yj)
            part = np.where(inside, target - yi, 0.0) / np.where(inside, yj - yi, 1.0)
            best = np.minimum(best, np.where(inside, xi + part * (xj - xi), np.inf))
    return best


def path_accuracy(cost: Floats, accuracy: Floats, at: Floats) -> Floats:
    """Accuracy of a path at mean cost ``at``, neighbouring settings mixed.

    cost, accuracy: [..., K] in the path's order; at: [..., Q] -> [..., Q]. Cost rises along a path; where
    it dips (FLOPs can, when the cheaper scale talks longer) it is read as not having dipped.
    """
    return _along(np.maximum.accumulate(cost, axis=-1), accuracy, at)


def path_cost(cost: Floats, accuracy: Floats, target: Floats) -> Floats:
    """Cost at which a path first reaches accuracy ``target``, coming from its cheap end; inf if never.

    cost, accuracy: [..., K] in the path's order; target: [..., Q] -> [..., Q].
    """
    # What has been reached so far never falls, so its first crossing is the path's first crossing.
    reached = np.maximum.accumulate(accuracy, axis=-1)
    cost = np.maximum.accumulate(cost, axis=-1)
    lead = np.broadcast_shapes(cost.shape[:-1], target.shape[:-1])
    x, y = (np.broadcast_to(a, (*lead, a.shape[-1])) for a in (cost, accuracy))
    tops = np.broadcast_to(reached, (*lead, reached.shape[-1]))
    wanted = np.broadcast_to(target, (*lead, target.shape[-1]))
    out = np.full(wanted.shape, np.inf)
    for where in np.ndindex(lead):
        first = np.searchsorted(tops[where], wanted[where], side="left")
        for q, k in enumerate(first.tolist()):
            if k == 0:
                out[where][q] = x[where][0]
            elif k < x.shape[-1]:
                rise = y[where][k] - y[where][k - 1]
                part = (wanted[where][q] - y[where][k - 1]) / rise
                out[where][q] = x[where][k - 1] + part * (x[where][k] - x[where][k - 1])
    return out


def _along(x: Floats, y: Floats, at: Floats) -> Floats:
    """`numpy.interp` over leading axes, ends held."""
    lead = np.broadcast_shapes(x.shape[:-1], at.shape[:-1])
    x, y = (np.broadcast_to(a, (*lead, a.shape[-1])) for a in (x, y))
    at = np.broadcast_to(at, (*lead, at.shape[-1]))
    out = np.empty(at.shape)
    for where in np.ndindex(lead):
        out[where] = np.interp(at[where], x[where], y[where])
    return out


def log_spaced_mean(values: Floats, at: Floats) -> Floats:
    """Mean over log cost by the trapezoid rule: values [..., Q] read at costs ``at`` [Q] -> [...]."""
    if at.size < 2:
        raise ValueError("A mean over log cost needs at least two costs.")
    return np.asarray(np.trapezoid(values, np.log(at), axis=-1) / np.log(at[-1] / at[0]))
