"""``POST /v1/answer`` and ``POST /v1/route``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request

from router.service.replies import answer_body, route_body
from router.service.schemas import AnswerBody, AskBody, ErrorBody, RouteBody
from router.service.state import Service, service_of, while_connected
from router.service.timing import Stopwatch

router = APIRouter(prefix="/v1", tags=["asking"])


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A form has no null: there a field is given or left out."""
    if "anyOf" not in schema:
        return schema
    (kind,) = (kind for kind in schema["anyOf"] if kind != {"type": "null"})
    return {**kind, **{key: value for key, value in schema.items() if key not in ("anyOf", "default")}}


_FIELDS = AskBody.model_json_schema()
_UPLOAD = {
    **_FIELDS,
    "properties": {
        **{name: _without_null(schema) for name, schema in _FIELDS["properties"].items()},
        "image": {"type": "string", "format": "binary"},
    },
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _FIELDS}, "multipart/form-data": {"schema": _UPLOAD}},
    }
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 408, 413, 415, 500, 503, 504)
}


@router.post("/answer", openapi_extra=_BODY, responses=ERRORS)
async def answer(request: Request, service: Annotated[Service, Depends(service_of)]) -> AnswerBody:
    """Answer a question about an image at the scale that they need, and say what that cost."""
    ask = await service.read(request)
    done = await while_connected(
        request,
        service.pipeline.answer(
            ask.image,
            (ask.question,),
            ask.constraints,
            deadline=ask.deadline,
            request_id=ask.request_id,
            owner=ask.owner,
        ),
    )
    assert done.routed is not None
    service.record(done.routed, done.timings_ms, endpoint="/v1/answer", request_id=ask.request_id)
    cost = done.cost
    service.metrics.answered(cost.visual_tokens, cost.full_visual_tokens, cost.flops, cost.full_flops)
    return answer_body(done, service.pipeline, ask.request_id)


@router.post("/route", openapi_extra=_BODY, responses=ERRORS)
async def route(request: Request, service: Annotated[Service, Depends(service_of)]) -> RouteBody:
    """The decision alone: nothing is generated."""
    ask = await service.read(request)
    routed = await while_connected(
        request,
        service.pipeline.route(
            ask.image,
            (ask.question,),
            ask.constraints,
            watch=Stopwatch(),
            deadline=ask.deadline,
            owner=ask.owner,
        ),
    )
    service.record(routed, routed.timings_ms, endpoint="/v1/route", request_id=ask.request_id)
    return route_body(routed, service.pipeline, ask.request_id)
