"""Predictions + costs + a target -> one decision. Pure functions.

Every function works on n requests at once; a served request is n = 1, a replay over an outcome table is
n = thousands, and both run the same lines. Shapes: n requests, S scales. Costs are of any unit (visual
tokens unless said otherwise), prices in expected score per cost unit.

Not covered: `cascade`, which looks at an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3_backbone.scales import Ladder
from router import reasons
from router.certificates import NOTHING, Certificates
from router.constraints import Constraints, PolicyName
from router.errors import ConstraintError
from router.predictor import Predictions
from router.prices import Prices
from router.targets import resolve

__all__ = [
    "Constraints",
    "Decision",
    "PolicyName",
    "Prices",
    "allowed_scales",
    "choose",
    "decide",
    "fixed",
    "spend",
    "token_budget",
    "utility",
]

Index = NDArray[np.int64]
Costs = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Decision:
    """The scale chosen for one request, and why.

    certified: what was asked for (`accuracy_drop`, or a `token_budget` with a delta) is proven of requests
    like this one. probabilities: P(sufficient) per scale; expected_scores: per scale; both empty when the
    predictor failed. fallback: why the full scale replaced the policy's choice, or None.
    """

    scale: int
    policy: PolicyName
    reason: str
    certified: bool
    probabilities: dict[int, float]
    expected_scores: dict[int, float]
    fallback: str | None = None


def fixed(n: int, ladder: Ladder, scale: int) -> Index:
    """The same scale for all n requests. Returns indices on the ladder [n]."""
    return np.full(n, ladder.index(scale), dtype=np.int64)


def utility(expected: NDArray[np.floating], costs: Costs, price: float, allowed: Mask | None = None) -> Index:
    """argmax over scales of expected score - price x cost; ties go to the smaller scale.

    expected, costs, allowed: [n, S]; returns indices on the ladder [n].
    """
    value = expected.astype(np.float64) - price * costs
    if allowed is not None:
        value = np.where(allowed, value, -np.inf)
    best: Index = value.argmax(axis=1).astype(np.int64)
    return best


def token_budget(
    expected: NDArray[np.floating], costs: Costs, tokens: float, prices: Prices, allowed: Mask | None = None
) -> Index:
    """`utility` at the price whose mean stayed within ``tokens`` on ``tune``: empirical, no bound."""
    return utility(expected, costs, prices.for_budget(tokens), allowed)


def spend(
    expected: NDArray[np.floating],
    costs: Costs,
    price: float,
    allowed: Mask | None = None,
    fallback: Mask | None = None,
) -> Index:
    """`utility`, but the largest scale allowed where ``fallback`` [n] is true; certificates are of this."""
    chosen = utility(expected, costs, price, allowed)
    if fallback is None:
        return chosen
    last = costs.shape[1] - 1
    largest = last if allowed is None else last - allowed[:, ::-1].argmax(axis=1)
    return np.where(fallback, largest, chosen).astype(np.int64)


def allowed_scales(costs: Costs, ladder: Ladder, constraints: Constraints) -> Mask:
    """Which scales floor and ceiling leave, [n, S]. Raises `ConstraintError` when none is left for a request.

    costs: visual tokens [n, S], for the ceiling is one on visual tokens.
    """
    allowed = np.ones(costs.shape, dtype=np.bool_)
    if constraints.max_visual_tokens is not None:
        allowed &= costs <= constraints.max_visual_tokens
        if not allowed.any(axis=1).all():
            raise ConstraintError(
                f"max_visual_tokens {constraints.max_visual_tokens} cannot be met: the smallest scale of "
                f"this image costs {costs.min(axis=1).max():g} visual tokens.",
                param="max_visual_tokens",
            )
    if constraints.max_scale is not None:
        allowed &= np.asarray(ladder.scales) <= constraints.max_scale
        if not allowed.any(axis=1).all():
            raise ConstraintError(
                f"max_scale {constraints.max_scale} cannot be met: the smallest scale is {ladder.smallest}.",
                param="max_scale",
            )
    if constraints.min_scale is not None:
        allowed &= np.asarray(ladder.scales) >= constraints.min_scale
        if not allowed.any(axis=1).all():
            ceiling = "max_scale" if constraints.max_visual_tokens is None else "max_visual_tokens"
            raise ConstraintError(
                f"min_scale {constraints.min_scale} and {ceiling} {getattr(constraints, ceiling)} "
                "exclude each other: raise the ceiling or lower the floor.",
                code="conflicting_constraints",
                param="min_scale",
            )
    return allowed


def choose(
    expected: NDArray[np.floating],
    visual_tokens: NDArray[np.integer],
    ladder: Ladder,
    constraints: Constraints,
    prices: Prices,
    *,
    fallback: Mask | None = None,
    costs: Costs | None = None,
    certificates: Certificates = NOTHING,
) -> Index:
    """The scale of each of n requests, as indices on the ladder [n].

    A forced scale wins; then floor and ceiling; then a budget, a drop or a price. Where ``fallback`` [n] is
    true the largest scale that floor and ceiling leave is taken. ``costs`` [n, S] replaces visual tokens as
    what the price is paid on. Raises `ConstraintError`.
    """
    constraints.check(ladder)
    if constraints.scale is not None:
        return fixed(len(visual_tokens), ladder, constraints.scale)
    tokens = visual_tokens.astype(np.float64)
    allowed = allowed_scales(tokens, ladder, constraints)
    price = resolve(constraints, prices, certificates).price
    return spend(expected, tokens if costs is None else costs, price, allowed, fallback)


def decide(
    predictions: Predictions | None,
    visual_tokens: Sequence[int],
    ladder: Ladder,
    constraints: Constraints,
    prices: Prices,
    *,
    fallback: str | None = None,
    costs: Sequence[float] | None = None,
    certificates: Certificates = NOTHING,
) -> Decision:
    """`choose` for one request, with its reason in words.

    predictions: n = 1, or None when the predictor failed; then ``fallback`` says why.
    """
    tokens = np.asarray([visual_tokens], dtype=np.int64)
    expected = np.zeros(tokens.shape, np.float32) if predictions is None else predictions.score
    index = int(
        choose(
            expected,
            tokens,
            ladder,
            constraints,
            prices,
            fallback=np.array([fallback is not None]),
            costs=None if costs is None else np.asarray([costs], dtype=np.float64),
            certificates=certificates,
        )[0]
    )
    target = resolve(constraints, prices, certificates)
    scale = ladder.scales[index]
    if target.policy == "fixed":
        reason, fallback = f"scale {scale} was asked for", None
    elif fallback is not None:
        reason = f"fallback to the largest scale allowed: {fallback}"
    else:
        allowed = allowed_scales(tokens.astype(np.float64), ladder, constraints)
        reason = reasons.chosen(
            target,
            constraints,
            score=float(expected[0, index]),
            highest=float(expected[allowed].max()),
            tokens=visual_tokens[index],
            full=visual_tokens[-1],
        )
    return Decision(
        scale=scale,
        policy=target.policy,
        reason=reason,
        # A fallback for novelty is part of what was certified; one for want of predictions is not.
        certified=target.certified and predictions is not None,
        probabilities={} if predictions is None else _per_scale(ladder, predictions.sufficient),
        expected_scores={} if predictions is None else _per_scale(ladder, predictions.score),
        fallback=fallback,
    )


def _per_scale(ladder: Ladder, row: NDArray[np.float32]) -> dict[int, float]:
    return {scale: float(value) for scale, value in zip(ladder, row[0], strict=True)}
