"""A response of server-sent events that ends when its client leaves, and frees what made them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from router.service.chat_replies import event
from router.service.context import as_answer, noted
from router.service.failures import ClientGone, error_body
from router.service.state import service_of, while_connected


class EventStream(Response):
    """Sends ``events`` as they come. They must not raise: it is too late for another response.

    When the service stops before they are all sent, the last one is an error.
    """

    media_type = "text/event-stream"

    def __init__(
        self, request: Request, events: AsyncGenerator[bytes, None], headers: dict[str, str]
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **headers})
        del self.headers["content-length"]
        self._request = request
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def pump() -> None:
            nonlocal begun
            begun = True
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with aclosing(self._events):
                async for part in self._events:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            with suppress(ClientGone):  # nobody is there to be told
                await while_connected(self._request, pump())
        except asyncio.CancelledError as cancelled:
            if not begun:
                raise
            error, request = as_answer(cancelled, scope), self._request
            noted(error, request.state.request_id, service_of(request).metrics)
            body = event(error_body(error)[0])
            await send({"type": "http.response.body", "body": body, "more_body": False})
