"""Responses of our own endpoints: what clients may rely on. `router.client` reads the same classes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from m3_backbone.types import Aspect

_DECISION: dict[str, Any] = {
    "policy": "utility",
    "reason": "expected score 0.984 for 1 visual tokens is the best trade at 0.000762 per token",
    "certified": False,
    "probabilities": {"1": 0.984099, "9": 0.976094, "36": 0.986178, "144": 0.983655, "576": 0.977797},
}
_ROUTE: dict[str, Any] = {
    "scale": 1,
    "visual_tokens": 1,
    "decision": _DECISION,
    "cost": {
        "visual_tokens": 1,
        "full_visual_tokens": 576,
        "flops": 4122920448,
        "full_flops": 8009000448,
    },
    "timings_ms": {"decode": 7.306, "encode": 61.709, "route": 11.839, "total": 81.12},
    "model": "tiny",
    "router": "420b87e7d03d",
    "request_id": "7a70f2773f864d1fb190375463a82fec",
}
_ANSWER: dict[str, Any] = {
    "answer": "grey",
    **_ROUTE,
    "passes": [{"scale": 1, "visual_tokens": 1, "flops": 4122920448}],
    "timings_ms": {"decode": 7.306, "encode": 61.709, "route": 11.839, "generate": 34.436, "total": 115.776},
}
_AT_1: dict[str, Any] = {
    "scale": 1,
    "visual_tokens": 1,
    "answer": "grey",
    "mean_logprob": -0.013,
    "flops": 4122920448,
    "error": None,
}
_AT_576: dict[str, Any] = {**_AT_1, "scale": 576, "visual_tokens": 576, "flops": 8009000448}
_ERROR: dict[str, Any] = {
    "message": "scale has value 37. Valid scales: 1, 9, 36, 144, 576.",
    "type": "invalid_request_error",
    "param": "scale",
    "code": "invalid_scale",
}


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


class DecisionBody(BaseModel):
    """Why this scale. ``fallback`` is present only when the full scale replaced the router's choice."""

    model_config = _example(_DECISION)

    policy: str
    reason: str
    certified: bool
    probabilities: Annotated[dict[str, float], Field(description="P(the scale is enough) by scale")]
    fallback: Annotated[str | None, Field(exclude_if=lambda why: why is None)] = None


class PassBody(BaseModel):
    """One run of the language model; the first one's FLOPs include the encoding of the image."""

    scale: int
    visual_tokens: int
    flops: int


class CostBody(BaseModel):
    """Of all passes, and of one at the full scale. FLOPs are of the whole path, tower included."""

    visual_tokens: int
    full_visual_tokens: int
    flops: int
    full_flops: int


class RouteBody(BaseModel):
    """The answer of /v1/route. FLOPs are of the prompt and one new token."""

    model_config = _example(_ROUTE)

    scale: int
    visual_tokens: int
    decision: DecisionBody
    cost: CostBody
    timings_ms: Annotated[dict[str, float], Field(description="Milliseconds by stage, and in total")]
    model: str
    router: Annotated[str | None, Field(description="The router's version; null without one")]
    request_id: str


class AnswerBody(BaseModel):
    """The answer of /v1/answer. The scale is that of the last pass; visual tokens are of all passes."""

    model_config = _example(_ANSWER)

    answer: str
    scale: int
    visual_tokens: int
    decision: DecisionBody
    passes: Annotated[list[PassBody], Field(description="One, unless a cascade made more")]
    cost: CostBody
    timings_ms: Annotated[dict[str, float], Field(description="Milliseconds by stage, and in total")]
    model: str
    router: Annotated[str | None, Field(description="The router's version; null without one")]
    request_id: str


class ErrorDetail(BaseModel):
    """What went wrong. ``code`` is stable; ``param`` names the field at fault, if one is."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """Every error of every endpoint."""

    model_config = _example({"error": _ERROR})

    error: ErrorDetail


class ScaleAnswer(BaseModel):
    """The answer at one scale, or why there is none: at a large scale a prompt may be too long.

    flops: of the whole path, had this scale been asked for alone. mean_logprob: of the answer's tokens.
    """

    scale: int
    visual_tokens: int
    answer: str | None
    mean_logprob: float | None
    flops: int | None
    error: ErrorDetail | None


class CompareBody(AnswerBody):
    """The answer of /v1/compare: what /v1/answer says, and beside it the answer at every scale.

    ``cost`` is that of the chosen scale alone; ``timings_ms.compare`` is the time of all scales together.
    """

    model_config = _example({**_ANSWER, "answers": [_AT_1, _AT_576]})

    answers: Annotated[list[ScaleAnswer], Field(description="In the ladder's order, smallest first")]


class ItemBody(BaseModel):
    """What became of one item of a batch: an answer or an error; the other is null.

    status: what the item alone would have been answered with.
    """

    index: int
    status: int
    answer: AnswerBody | None
    error: ErrorDetail | None


class AnswersBody(BaseModel):
    """The answer of /v1/answers: one result for each item, in the order of the items."""

    model_config = _example(
        {
            "results": [
                {"index": 0, "status": 200, "answer": _ANSWER, "error": None},
                {"index": 1, "status": 400, "answer": None, "error": _ERROR},
            ],
            "failed": 1,
            "request_id": _ANSWER["request_id"],
        }
    )

    results: list[ItemBody]
    failed: Annotated[int, Field(description="How many results hold an error")]
    request_id: str


class ModelBody(BaseModel):
    """One name of the model."""

    id: str
    object: str
    created: int
    owned_by: str


class ModelsBody(BaseModel):
    """The answer of /v1/models."""

    object: str
    data: list[ModelBody]


class ReadyBody(BaseModel):
    """What is served, and how busy it is. Answered with 200 only when requests will be served.

    engine: ``fake`` says that answers and costs are made up. aspect: how pictures are made square, and so
    where a grid of visual tokens lies on them: ``pad`` (centred on a square of one colour), ``anyres`` (the
    whole picture squeezed into the first view, parts of it in the others) or ``square`` (its middle cut out).
    """

    ready: bool
    engine: str
    model: str
    router: str | None
    scales: list[int]
    aspect: Aspect
    queued: int
    running: int
    cached_images: int
