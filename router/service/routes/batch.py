"""``POST /v1/answers``: several questions in one body, each with an answer or an error of its own."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from m3_backbone.types import EngineUnavailable
from router.errors import InvalidRequest
from router.service.bodies import AnswersBody, ItemBody
from router.service.body import read_fields
from router.service.context import noted
from router.service.replies import error_detail
from router.service.routes.described import BATCH, ERRORS
from router.service.schemas import AnswersRequest, refuse_unknown
from router.service.state import Service, owner_of, service_of, while_connected

router = APIRouter(prefix="/v1", tags=["asking"])


@router.post("/answers", openapi_extra=BATCH, responses=ERRORS)
async def answers(request: Request) -> AnswersBody:
    """Answer each item as /v1/answer would. One that fails is told in its place; the others are answered.

    At most one batch of the engine is taken on at a time, so that other clients are served in between. With
    a limit of requests per minute every item counts as one.
    """
    service = service_of(request)
    items = _items(await read_fields(request, service.settings, multipart=False), service.settings.max_items)
    if not service.pipeline.engine.health().ready:
        raise EngineUnavailable("The engine is not ready.")  # one answer instead of many: come back later
    return await while_connected(request, _all(request, service, items))


async def _all(request: Request, service: Service, items: list[Any]) -> AnswersBody:
    deadline = time.monotonic() + service.settings.request_timeout_s
    request_id = request.state.request_id
    places = asyncio.Semaphore(service.pipeline.engine.capacity.batch_size)
    take = getattr(request.state, "take", lambda: None)

    async def one(index: int, fields: Any) -> ItemBody:
        item_id = f"{request_id}.{index}"
        try:
            if index:  # the first was paid for by the request
                take()
            if not isinstance(fields, dict):
                raise InvalidRequest("An item must be an object.", code="invalid_type", param="items")
            async with places:  # an image is decoded from its base64 in here: few are in memory at once
                ask = service.ask_of(fields, deadline=deadline, request_id=item_id, owner=owner_of(request))
                answer = await service.answer(ask, "/v1/answers")
        except Exception as error:
            status = noted(error, item_id, service.metrics).status
            return ItemBody(index=index, status=status, answer=None, error=error_detail(error))
        return ItemBody(index=index, status=200, answer=answer, error=None)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(index, fields)) for index, fields in enumerate(items)]
    results = [task.result() for task in tasks]
    failed = sum(result.error is not None for result in results)
    return AnswersBody(results=results, failed=failed, request_id=request_id)


def _items(fields: dict[str, Any], most: int) -> list[Any]:
    refuse_unknown(fields, AnswersRequest)
    items = fields.get("items")
    if not isinstance(items, list) or not items:
        raise InvalidRequest(
            "The field 'items' must be a list of at least one item.", code="missing_field", param="items"
        )
    if len(items) > most:
        raise InvalidRequest(
            f"There are {len(items)} items; at most {most} are accepted. Send them in several requests.",
            code="too_many_items",
            param="items",
        )
    return items
