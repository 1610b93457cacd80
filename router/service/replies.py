"""What the pipeline gives -> the bodies that clients see; the command line's ``--json`` prints the same."""

from __future__ import annotations

from router.service.pipeline import Pipeline
from router.service.results import Answered, Cost, Routed
from router.service.schemas import AnswerBody, CostBody, DecisionBody, RouteBody


def answer_body(done: Answered, pipeline: Pipeline, request_id: str) -> AnswerBody:
    """The answer of /v1/answer; ``done`` must have been routed (`Pipeline.answer`)."""
    assert done.routed is not None
    return AnswerBody(
        answer=done.generation.text,
        scale=done.scale,
        visual_tokens=done.cost.visual_tokens,
        decision=decision_body(done.routed),
        cost=_cost(done.cost),
        timings_ms=done.timings_ms,
        model=pipeline.engine.name,
        router=pipeline.router_version,
        request_id=request_id,
    )


def route_body(routed: Routed, pipeline: Pipeline, request_id: str) -> RouteBody:
    """The answer of /v1/route."""
    return RouteBody(
        scale=routed.decision.scale,
        visual_tokens=routed.cost.visual_tokens,
        decision=decision_body(routed),
        cost=_cost(routed.cost),
        timings_ms=routed.timings_ms,
        model=pipeline.engine.name,
        router=pipeline.router_version,
        request_id=request_id,
    )


def decision_body(routed: Routed) -> DecisionBody:
    """Why this scale."""
    decision = routed.decision
    return DecisionBody(
        policy=decision.policy,
        reason=decision.reason,
        certified=decision.certified,
        probabilities={str(scale): round(p, 6) for scale, p in decision.probabilities.items()},
        fallback=decision.fallback,
    )


def _cost(cost: Cost) -> CostBody:
    return CostBody(
        visual_tokens=cost.visual_tokens,
        full_visual_tokens=cost.full_visual_tokens,
        flops=cost.flops,
        full_flops=cost.full_flops,
    )
