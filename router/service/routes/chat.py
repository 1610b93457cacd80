"""``POST /v1/chat/completions`` and ``GET /v1/models``: what clients of OpenAI's API expect."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from router.passes import cascades
from router.service.bodies import ModelBody, ModelsBody
from router.service.chat import Chat
from router.service.chat_bodies import ChatCompletion
from router.service.chat_constraints import naming_shares, scale_of_model
from router.service.chat_replies import DONE, ChatReply, event
from router.service.context import noted
from router.service.failures import error_body
from router.service.results import Run
from router.service.routes.described import CHAT, CHAT_HEADERS, ERRORS
from router.service.showing import Shower
from router.service.state import Service, owner_of, service_of, while_connected
from router.service.stream import EventStream
from router.service.timing import Stopwatch
from router.service.watching import Drawn

router = APIRouter(prefix="/v1", tags=["openai"])
logger = logging.getLogger("m3_router")

_PATH = "/v1/chat/completions"
_RESPONSES: dict[int | str, dict[str, Any]] = {
    **ERRORS,
    200: {
        "model": ChatCompletion,
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "headers": CHAT_HEADERS,
    },
    404: ERRORS[408],
}


@router.post("/chat/completions", openapi_extra=CHAT, responses=_RESPONSES)
async def completions(request: Request) -> Response:
    """OpenAI's chat completions about images. Routing facts are in the headers and in `m3_routing`."""
    service = service_of(request)
    chat = await service.read_chat(request)
    drawn = service.watch.draw(chat.turns, [limits for _, limits in chat.images], chat.sampling)
    request_id, pipeline = request.state.request_id, service.pipeline
    deadline = time.monotonic() + service.settings.request_timeout_s
    with naming_shares(chat.shared, len(chat.images)):
        if chat.stream:
            return await while_connected(request, _stream(request, service, chat, drawn, deadline))
        done = await while_connected(
            request,
            pipeline.answer_each(
                chat.images,
                chat.turns,
                sampling=chat.sampling,
                deadline=deadline,
                request_id=request_id,
                owner=owner_of(request),
            ),
        )
    service.count(done, endpoint=_PATH, request_id=request_id, drawn=drawn)
    reply = ChatReply.now(pipeline, done.parts, request_id)
    return JSONResponse(reply.body(done), headers=reply.headers)


@router.get("/models")
async def models(request: Request) -> ModelsBody:
    """The model under every name: routed (`NAME`, `NAME@auto`), and at each scale of its ladder."""
    service = service_of(request)
    suffixes = ("", "@auto", *(f"@{scale}" for scale in service.pipeline.engine.ladder))
    return ModelsBody(object="list", data=[_model(service.model + suffix) for suffix in suffixes])


@router.get("/models/{name:path}", responses={404: ERRORS[408]})
async def model(request: Request, name: str) -> ModelBody:
    """One of these names, or a 404."""
    service = service_of(request)
    scale_of_model(name, service.model, service.pipeline.engine.ladder)
    return _model(name)


def _model(name: str) -> ModelBody:
    return ModelBody(id=name, object="model", created=0, owned_by="m3-router")


async def _whole(
    request: Request, service: Service, chat: Chat, drawn: Drawn | None, deadline: float
) -> EventStream:
    """A cascade whose answers are all seen whole, as a stream: nothing is sent before the last is done."""
    request_id = request.state.request_id
    done = await service.pipeline.answer_each(
        chat.images,
        chat.turns,
        sampling=chat.sampling,
        deadline=deadline,
        request_id=request_id,
        owner=owner_of(request),
    )
    service.count(done, endpoint=_PATH, request_id=request_id, drawn=drawn)
    reply = ChatReply.now(service.pipeline, done.parts, request_id)

    async def events() -> AsyncGenerator[bytes, None]:
        for chunk in reply.chunks(done, usage=chat.include_usage):
            yield event(chunk)
        yield DONE

    return EventStream(request, events(), reply.headers)


def _seen_whole(chat: Chat, buffer: int) -> bool:
    """Whether a cascade sees all its answers whole: what is certified is of such ones."""
    limits = chat.images[0][1]
    return chat.sampling.max_new_tokens <= buffer or limits.accuracy_drop is not None


async def _stream(
    request: Request, service: Service, chat: Chat, drawn: Drawn | None, deadline: float
) -> EventStream:
    """A response that begins when a token may be shown: what fails before that is a proper error."""
    pipeline, watch, request_id = service.pipeline, Stopwatch(), request.state.request_id
    decider, buffer = pipeline.decider, service.settings.stream_buffer
    cascade = len(chat.images) == 1 and cascades(chat.images[0][1])
    if cascade and _seen_whole(chat, buffer):
        return await _whole(request, service, chat, drawn, deadline)
    parts = await pipeline.route_each(
        chat.images,
        chat.turns,
        watch=watch,
        deadline=deadline,
        owner=owner_of(request),
        decider=decider,
    )
    shower = Shower(pipeline, decider, chat.turns, chat.sampling, watch, deadline, request_id)
    if cascade:
        showing = await shower.in_passes(parts[0], chat.images[0][1], buffer)
    else:
        showing = await shower.once(parts)
    reply = ChatReply.now(pipeline, showing.parts, request_id)

    async def chunks() -> AsyncGenerator[dict[str, Any], None]:
        yield reply.chunk({"role": "assistant", "content": ""})
        with watch.stage("generate"):
            async with aclosing(showing.tokens()) as tokens:
                async for token in tokens:
                    if token.text:
                        yield reply.chunk({"content": token.text})
                    generation = token.generation
        assert generation is not None  # the last one has it
        done = pipeline.answered_in([*showing.before, Run(showing.parts, generation)], watch)
        service.count(done, endpoint=_PATH, request_id=request_id, drawn=drawn)
        yield reply.chunk({}, done)
        if chat.include_usage:
            yield reply.usage_chunk(done)

    async def events() -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(showing.rest), aclosing(chunks()) as made:
                async for chunk in made:
                    yield event(chunk)
            yield DONE
        except Exception as error:  # in the stream: its status was sent long ago
            code = noted(error, request_id, service.metrics).code
            logger.warning("%s failed while streaming: %s", request_id, code)
            yield event(error_body(error)[0])

    return EventStream(request, events(), reply.headers)
