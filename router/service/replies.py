"""What the pipeline gives -> the bodies that clients see; the command line's ``--json`` prints the same."""

from __future__ import annotations

from m3_backbone.types import Generation
from router.service.bodies import (
    AnswerBody,
    CompareBody,
    CostBody,
    DecisionBody,
    ErrorDetail,
    PassBody,
    RouteBody,
    ScaleAnswer,
)
from router.service.comparing import AtScale, Compared
from router.service.failures import error_body
from router.service.pipeline import Pipeline
from router.service.results import Answered, Cost, Routed


def answer_body(done: Answered, pipeline: Pipeline, request_id: str) -> AnswerBody:
    """The answer of /v1/answer; ``done`` must have been routed (`Pipeline.answer`)."""
    return AnswerBody(
        answer=done.generation.text,
        scale=done.scale,
        visual_tokens=done.cost.visual_tokens,
        decision=decision_body(done.routed),
        passes=pass_bodies(done),
        cost=_cost(done.cost),
        timings_ms=done.timings_ms,
        model=pipeline.engine.name,
        router=done.routed.router,
        request_id=request_id,
    )


def pass_bodies(done: Answered) -> list[PassBody]:
    """The passes, in order."""
    return [
        PassBody(scale=each.scale, visual_tokens=each.visual_tokens, flops=each.flops) for each in done.passes
    ]


def compare_body(compared: Compared, pipeline: Pipeline, request_id: str) -> CompareBody:
    """The answer of /v1/compare."""
    chosen = answer_body(compared.chosen, pipeline, request_id)
    return CompareBody(**dict(chosen), answers=[_at_scale(at) for at in compared.answers])


def error_detail(error: Exception) -> ErrorDetail:
    """``error`` as clients see it inside of an answer."""
    return ErrorDetail.model_validate(error_body(error)[0]["error"])


def route_body(routed: Routed, pipeline: Pipeline, request_id: str) -> RouteBody:
    """The answer of /v1/route."""
    return RouteBody(
        scale=routed.decision.scale,
        visual_tokens=routed.cost.visual_tokens,
        decision=decision_body(routed),
        cost=_cost(routed.cost),
        timings_ms=routed.timings_ms,
        model=pipeline.engine.name,
        router=routed.router,
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


def _at_scale(at: AtScale) -> ScaleAnswer:
    made = at.result if isinstance(at.result, Generation) else None
    return ScaleAnswer(
        scale=at.scale,
        visual_tokens=at.visual_tokens,
        answer=None if made is None else made.text,
        mean_logprob=None if made is None else round(made.mean_logprob, 6),
        flops=at.flops,
        error=error_detail(at.result) if isinstance(at.result, Exception) else None,
    )


def _cost(cost: Cost) -> CostBody:
    return CostBody(
        visual_tokens=cost.visual_tokens,
        full_visual_tokens=cost.full_visual_tokens,
        flops=cost.flops,
        full_flops=cost.full_flops,
    )
