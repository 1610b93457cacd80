"""The passes of one request: what the first look asks for, and whether an answer is thought over.

Not covered: sampled answers and conversations, which are answered once. Nothing here is certified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from m3_backbone.scales import Ladder
from m3_backbone.types import Generation
from router.cascade import MOST_PASSES, confidence_of, mean_probability, next_when_unsure
from router.constraints import Constraints
from router.errors import ConstraintError
from router.escalation import Escalation, SecondLook
from router.policy import Decision, allowed_scales
from router.predictor import Predictions


def cascades(constraints: Constraints) -> bool:
    """Whether an answer to such a request may be thought over."""
    return (
        constraints.cascade is not False
        and constraints.scale is None
        and constraints.greedy
        and constraints.kind == "question"
    )


def first_look(constraints: Constraints, escalation: Escalation | None) -> Constraints:
    """What the first decision is made under: the price of a cascade's first look where there will be another.

    Raises `ConstraintError` when a second look is asked for that the bundle does not have, or for a token
    budget that no price keeps.
    """
    if not cascades(constraints) or constraints.cascade is not True:
        return constraints
    if escalation is None:
        raise ConstraintError(
            "This router has no second look. Give the cascade a threshold between 0 and 1 instead of true, "
            "or leave it out.",
            code="no_second_look",
            param="cascade",
        )
    price = escalation.first_price(_price(constraints, escalation))
    return replace(constraints, token_budget=None, price=price)


def reconsider(
    decision: Decision,
    generation: Generation,
    constraints: Constraints,
    ladder: Ladder,
    visual_tokens: Sequence[int],
    look: SecondLook | None,
    tried: Sequence[int] = (),
) -> Decision:
    """The next decision after the answer at ``decision.scale``; ``decision`` itself: that answer stays.

    visual_tokens: [S]. tried: the scales before that one; all passes together keep to the ceiling on tokens.
    """
    if not cascades(constraints) or decision.fallback is not None or len(tried) + 1 >= MOST_PASSES:
        return decision
    tokens = np.asarray([visual_tokens], np.float64)
    allowed = allowed_scales(tokens, ladder, constraints)
    if constraints.max_visual_tokens is not None:
        spent = sum(visual_tokens[ladder.index(scale)] for scale in (*tried, decision.scale))
        allowed &= tokens + spent <= constraints.max_visual_tokens
    at = np.array([ladder.index(decision.scale)])
    confidence = confidence_of(generation)
    if constraints.cascade is not True:
        threshold = float(constraints.cascade)
        rungs = range(len(ladder))
        then = int(
            next_when_unsure(rungs, [threshold] * (len(ladder) - 1), mean_probability)(at, confidence)[0]
        )
        sure = float(mean_probability(at, confidence)[0])
        why = f"the answer at scale {decision.scale} was unsure ({sure:.3f} below {threshold:g})"
    elif look is None or not decision.expected_scores:
        return decision
    else:
        predictions = _predictions(decision)
        price = _price(constraints, look.escalation)
        then = int(look.revise(predictions, tokens, price, allowed=allowed)(at, confidence)[0])
        score = look.expected(predictions, at, confidence)[0]
        why = (
            f"given the answer at scale {decision.scale}, the expected score is {score[then]:.3f} instead of "
            f"{score[at[0]]:.3f}, worth {visual_tokens[then]} more visual tokens at {price:.3g} per token"
        )
    if then == at[0] or not allowed[0, then]:
        return decision
    return replace(decision, scale=ladder.scales[then], policy="cascade", reason=why)


def _price(constraints: Constraints, escalation: Escalation) -> float:
    if constraints.token_budget is not None:
        return escalation.prices.for_budget(constraints.token_budget)
    return escalation.prices.default if constraints.price is None else constraints.price


def _predictions(decision: Decision) -> Predictions:
    """What the first decision was made of, n = 1."""
    rows = (decision.probabilities, decision.expected_scores)
    sufficient, score = (np.array([list(row.values())], np.float32) for row in rows)
    return Predictions(sufficient, score, np.zeros(1, np.float32))
