"""The passes of one request: what the first look asks for, and whether an answer is thought over.

A cascade under an `accuracy_drop` follows the certified setting (price, threshold) in both looks. Not
covered: sampled answers and conversations, which are answered once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from m3_backbone.scales import Ladder
from m3_backbone.types import Generation
from router import reasons
from router.cascade import MOST_PASSES, confidence_of, mean_probability, next_when_unsure
from router.certificates import NOTHING, Certificates, Setting
from router.constraints import DELTA, LOSS, Constraints
from router.errors import ConstraintError
from router.escalation import Escalation, SecondLook
from router.policy import Decision, allowed_scales
from router.predictor import Predictions
from router.targets import resolve


def cascades(constraints: Constraints) -> bool:
    """Whether an answer to such a request may be thought over."""
    return (
        constraints.cascade is not False
        and constraints.scale is None
        and constraints.greedy
        and constraints.kind == "question"
    )


def unproven(decision: Decision, why: str) -> Decision:
    """The same one, but not certified, which its reason then says; itself when it was not anyhow."""
    if not decision.certified:
        return decision
    return replace(decision, certified=False, reason=f"{decision.reason}; not certified, because {why}")


def alone(decision: Decision) -> Decision:
    """As it is where nobody will think the answer over: a cascade's first decision alone is not certified."""
    return unproven(decision, "no answer is thought over") if decision.policy == "cascade" else decision


def first_look(constraints: Constraints, escalation: Escalation | None) -> Constraints:
    """What the first decision is made under: the price of a cascade's first look where there will be another.

    An `accuracy_drop` stays: `first_certificates` has its first prices. Raises `ConstraintError` when a
    second look is asked for that the bundle does not have, or for a token budget that no price keeps.
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
    if constraints.accuracy_drop is not None:
        return constraints
    price = escalation.first_price(_price(constraints, escalation))
    return replace(constraints, token_budget=None, price=price)


def first_certificates(
    constraints: Constraints, certificates: Certificates, escalation: Escalation | None
) -> Certificates:
    """What the first decision is certified by: of a cascade its own certificates, each with the price that
    the first look pays under it."""
    if escalation is None or not cascades(constraints) or constraints.cascade is not True:
        return certificates
    certified = tuple(
        c if c.setting is None else replace(c, setting=Setting(escalation.first_price(c.setting.price)))
        for c in certificates.cascade
    )
    return replace(certificates, accuracy=certified, cascade=())


def reconsider(
    decision: Decision,
    generation: Generation,
    constraints: Constraints,
    ladder: Ladder,
    visual_tokens: Sequence[int],
    look: SecondLook | None,
    tried: Sequence[int] = (),
    certificates: Certificates = NOTHING,
) -> Decision:
    """The next decision after the answer at ``decision.scale``; ``decision`` itself: that answer stays.

    visual_tokens: [S]. tried: the scales before that one; all passes together keep to the ceiling on tokens.
    certificates: the bundle's. An `accuracy_drop` that none of a cascade covers is answered once.
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
        setting = _setting(constraints, look.escalation, certificates)
        if setting is None:
            return decision
        predictions, price = _predictions(decision), setting.price
        revise = look.revise(predictions, tokens, price, threshold=setting.threshold, allowed=allowed)
        then = int(revise(at, confidence)[0])
        score = look.expected(predictions, at, confidence)[0]
        certified = first_certificates(constraints, certificates, look.escalation)
        target = resolve(first_look(constraints, look.escalation), look.escalation.prices, certified)
        why = (
            f"{reasons.promise(target, visual_tokens[-1])}"
            f"given the answer at scale {decision.scale}, the expected score is {score[then]:.3f} instead of "
            f"{score[at[0]]:.3f}, {reasons.worth(price, visual_tokens[then])}"
        )
    if then == at[0] or not allowed[0, then]:
        return decision
    return replace(decision, scale=ladder.scales[then], policy="cascade", reason=why)


def _setting(constraints: Constraints, escalation: Escalation, certificates: Certificates) -> Setting | None:
    """What the second look pays and is worth; None: there is none, the full scale has answered."""
    if constraints.accuracy_drop is None:
        return Setting(_price(constraints, escalation), escalation.threshold)
    loss = LOSS if constraints.loss is None else constraints.loss
    delta = DELTA if constraints.delta is None else constraints.delta
    found = certificates.covering(loss, constraints.accuracy_drop, delta, cascade=True)
    return None if found is None else found.setting


def _price(constraints: Constraints, escalation: Escalation) -> float:
    if constraints.token_budget is not None:
        return escalation.prices.for_budget(constraints.token_budget)
    return escalation.prices.default if constraints.price is None else constraints.price


def _predictions(decision: Decision) -> Predictions:
    """What the first decision was made of, n = 1."""
    rows = (decision.probabilities, decision.expected_scores)
    sufficient, score = (np.array([list(row.values())], np.float32) for row in rows)
    return Predictions(sufficient, score, np.zeros(1, np.float32))
