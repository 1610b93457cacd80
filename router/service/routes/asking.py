"""``POST /v1/answer``, ``/v1/route`` and ``/v1/compare``: one question about one image."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request

from router.service.bodies import AnswerBody, CompareBody, RouteBody
from router.service.cascading import alone
from router.service.comparing import compare as compare_scales
from router.service.replies import compare_body, route_body
from router.service.routes.described import ASK, ERRORS
from router.service.state import service_of, while_connected
from router.service.timing import Stopwatch

router = APIRouter(prefix="/v1", tags=["asking"])


@router.post("/answer", openapi_extra=ASK, responses=ERRORS)
async def answer(request: Request) -> AnswerBody:
    """Answer a question about an image at the scale that they need, and say what that cost."""
    service = service_of(request)
    ask = await service.read(request)
    return await while_connected(request, service.answer(ask, "/v1/answer"))


@router.post("/route", openapi_extra=ASK, responses=ERRORS)
async def route(request: Request) -> RouteBody:
    """The decision alone: nothing is generated."""
    service = service_of(request)
    ask = await service.read(request)
    found = await while_connected(
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
    routed = alone(found)
    service.record([routed], routed.timings_ms, endpoint="/v1/route", request_id=ask.request_id)
    return route_body(routed, service.pipeline, ask.request_id)


@router.post("/compare", openapi_extra=ASK, responses=ERRORS)
async def compare(request: Request) -> CompareBody:
    """Answer as /v1/answer does, and at every other scale too. The image is encoded once.

    What it costs is not in the metrics of tokens and FLOPs: those tell what routing saves.
    """
    service = service_of(request)
    ask = await service.read(request)
    compared = await while_connected(
        request,
        compare_scales(
            service.pipeline,
            ask.image,
            (ask.question,),
            ask.constraints,
            deadline=ask.deadline,
            request_id=ask.request_id,
            owner=ask.owner,
        ),
    )
    chosen = compared.chosen
    service.record(
        chosen.parts,
        chosen.timings_ms,
        endpoint="/v1/compare",
        request_id=ask.request_id,
        passes=chosen.passes,
    )
    return compare_body(compared, service.pipeline, ask.request_id)
