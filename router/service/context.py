"""The outermost layer of the app: request ids, one log line a request, and the one exception handler."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import traceback
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.errors import M3Error, Unavailable
from router.service.failures import as_m3_error, error_response
from router.service.logs import FIELDS, REQUEST_ID
from router.service.metrics import Metrics

access_log = logging.getLogger("m3_router.access")
error_log = logging.getLogger("m3_router.error")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id_of(headers: Headers) -> str:
    """The client's ``x-request-id`` when it is a plain word of at most 64 characters; a new one otherwise."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def where(error: BaseException) -> str:
    """The frames that ``error`` came through, a line each, without what it says: that may quote a client."""
    return "\n".join(
        f"  {frame.filename}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    )


def noted(error: Exception, request_id: str, metrics: Metrics) -> M3Error:
    """``error`` as clients see it, counted by its code; a fault of ours also leaves its place in the log."""
    shown = as_m3_error(error)
    metrics.error(shown.code)
    if shown.status == 500:
        error_log.error("%s %s\n%s", request_id, type(error).__name__, where(error))
    return shown


def as_answer(caught: BaseException, scope: Scope) -> Exception:
    """What the client is told of. A cancellation is raised again, unless the drain of its server is over.

    Who runs the app may cancel for reasons of its own: Ray Serve does when a client leaves.
    """
    if isinstance(caught, asyncio.CancelledError) and scope["app"].state.stopping:
        return Unavailable("The service is stopping. Try again in a moment.", code="not_ready")
    if not isinstance(caught, Exception):
        raise caught
    return caught


class RequestContext:
    """ASGI middleware. The request id is in ``scope["state"]["request_id"]`` and in every response.

    Logged are: id, method, route template, status, milliseconds, error code. Never a query, a body, a
    header, or what an unexpected exception says (its type and where it came from are). What else is logged
    meanwhile has the id too (`router.service.logs`).
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        request_id = request_id_of(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        in_lines = REQUEST_ID.set(request_id)
        status, code = 0, ""

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        self._metrics.request_started()
        try:
            try:
                await self._app(scope, receive, send_with_id)
            except (Exception, asyncio.CancelledError) as error:
                error = as_answer(error, scope)
                code = noted(error, request_id, self._metrics).code
                if status:  # too late for another response: let the server cut the connection
                    raise
                await error_response(error)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - begin
            endpoint = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.request_ended(endpoint, status, seconds)
            method = scope["method"] if scope["method"].isalpha() else "?"
            facts = {"method": method, "endpoint": endpoint, "status": status, "ms": round(seconds * 1000, 1)}
            access_log.info(
                "%s %s %s %d %.1fms%s",
                request_id,
                method,
                endpoint,
                status,
                seconds * 1000,
                f" {code}" if code else "",
                extra={FIELDS: {**facts, **({"code": code} if code else {})}},
            )
            REQUEST_ID.reset(in_lines)
