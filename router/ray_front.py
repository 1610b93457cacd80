"""What stands in Ray Serve's HTTP proxy before the replicas: a replica that dies costs no request its answer.

Serve gives a request to one replica. When that dies, Serve's answer is a bare 500, or a response that is cut.
`Front` keeps what was asked and asks another replica, as long as the client has seen nothing of an answer;
else, and after `ATTEMPTS`, the client gets an error that it may retry. Nothing but work is done twice. There
is an end to it for the sake of the others: a request that kills whoever has it must not kill all of them. Nor
is Serve asked again where as many wait as may: there would only be more of them. What is asked of other
applications of the cluster goes through as it is.

Every proxy process calls `middlewares`, where its environment names it: `PROXY_CALLBACK`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from m3_backbone.types import DeadlineExceeded, EngineUnavailable, QueueFull
from router.service.context import request_id_of
from router.service.failures import error_body, error_response
from router.settings import Settings

logger = logging.getLogger("m3_router")

PROXY_CALLBACK = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "router.ray_front:middlewares"}
"""Environment variable of every machine that serves, set before Ray is started there."""

REPLICA, ATTEMPT = "x-m3-replica", "x-m3-attempt"
"""Headers of responses: which replica gave it (what has none is the proxy's own), and at which attempt."""

NAME = "m3-router"
"""What the names of this service's applications begin with: by them `Front` knows what is asked of it."""

FULL = 429
"""What the proxy answers, as `router.ray_app` has it, where `max_queued_requests` wait.

Nothing else that is the proxy's own has this status. The exception (`ray.serve.exceptions.BackPressureError`)
does not come as far as here.
"""

ATTEMPTS = 4
GRACE_S = 5.0
"""After all that a replica may take for a request."""

_OF_SERVE = "/-/"

_ROUTES = "/-/routes"


def middlewares() -> list[Middleware]:
    """For Serve's proxy. Limits are those of the proxy's environment (`router.settings`)."""
    return [Middleware(Front, settings=Settings.load())]


class Front:
    """ASGI middleware. Not covered: a proxy that dies itself, which cuts the connections that it has."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._routes = Routes(app)
        self._most_bytes = settings.max_body_bytes
        self._limit_s = settings.body_timeout_s + settings.request_timeout_s + GRACE_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not await self._routes.are_ours(scope):
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope))
        MutableHeaders(scope=scope)["x-request-id"] = request_id  # Serve and the replica take it over
        asked = Asked(receive, self._most_bytes)
        answer = Answer(send, request_id)
        error: Exception = EngineUnavailable("No replica answered: they died, or have all that they may.")
        end = time.monotonic() + self._limit_s
        try:
            while not await self._attempt(scope, asked, answer, end):
                logger.warning("%s had no answer from a replica (attempt %d).", request_id, answer.attempt)
                if answer.refused:
                    error = QueueFull("As many requests wait for a replica as may.")
                    break
                if answer.shown or not asked.whole or answer.attempt >= ATTEMPTS:
                    break
            else:
                return
        except DeadlineExceeded as late:
            error = late
        await answer.fail(error, scope, receive)

    async def _attempt(self, scope: Scope, asked: Asked, answer: Answer, end: float) -> bool:
        """Whether there is no more to do: the answer was sent, or nobody waits for it any longer.

        In a task of its own, since Serve takes a cancellation for a client that left. Raises
        `DeadlineExceeded` when there is none until ``end`` (`time.monotonic`).
        """
        task = asyncio.ensure_future(self._app(dict(scope), asked.again(), answer.begin()))
        try:
            await asyncio.wait({task}, timeout=max(0.0, end - time.monotonic()))
            if not task.done():
                raise DeadlineExceeded("No replica answered in time.")
        finally:
            answer.end()
            task.cancel()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("Serve's proxy failed: %s", type(error).__name__)
        return await answer.finish() or asked.gone


class Routes:
    """Which application Serve's proxy has at which path, as it says itself.

    It is asked for each request, and answers out of its memory: what is for an application that came just now
    would be taken for this service's, and done `ATTEMPTS` times.
    """

    def __init__(self, proxy: ASGIApp) -> None:
        self._proxy = proxy
        self._names: dict[str, str] = {}

    async def are_ours(self, scope: Scope) -> bool:
        """Whether a request is for this service, or for nobody that the proxy knows."""
        path: str = scope["path"]
        if path.startswith(_OF_SERVE):
            return False
        self._names = await self._ask(scope)
        found = [route for route in self._names if f"{path}/".startswith(f"{route.rstrip('/')}/")]
        return not found or self._names[max(found, key=len)].startswith(NAME)

    async def _ask(self, scope: Scope) -> dict[str, str]:
        """Route -> name of the application; what was known before, while the proxy does not know."""
        status, body = 0, bytearray()

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            body.extend(message.get("body", b""))

        path = {"path": _ROUTES, "raw_path": _ROUTES.encode(), "query_string": b""}
        await self._proxy({**scope, **path, "method": "GET", "headers": []}, receive, send)
        return dict(json.loads(body)) if status == 200 else self._names


class Asked:
    """A request's body, as it comes and, for another replica, as it came.

    whole: whether all that came is kept; of a body that is too large no more than ``most_bytes`` are.
    gone: whether the client left.
    """

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self.whole = True
        self.gone = False
        self._receive = receive
        self._room = most_bytes
        self._kept: list[Message] = []

    def again(self) -> Receive:
        """For one attempt: what is kept, from the start, and then what comes."""
        place = 0

        async def receive() -> Message:
            nonlocal place
            if place == len(self._kept) or not self.whole:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    self.gone = True
                    return message
                self._room -= len(message.get("body", b""))
                if self._room < 0:
                    self.whole = False
                    self._kept.clear()
                    return message
                self._kept.append(message)
            place += 1
            return self._kept[place - 1]

        return receive


class Answer:
    """What the client sees: a replica's whole answer or, of a stream, its events as they come.

    shown: whether it has seen anything. refused: whether Serve had no place for it at the last attempt.
    """

    def __init__(self, send: Send, request_id: str) -> None:
        self.attempt = 0
        self.shown = False
        self.refused = False
        self._send = send
        self._request_id = request_id
        self._kept: list[Message] = []
        self._streams = False
        self._complete = False
        self._open = False

    def begin(self) -> Send:
        """Another attempt: where the proxy sends its messages until `end`."""
        self.attempt += 1
        self._kept.clear()
        self._streams = self._complete = False
        self._open = True
        return self._take

    def end(self) -> None:
        self._open = False

    async def _take(self, message: Message) -> None:
        if not self._open:
            return
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message["headers"]))
            if REPLICA not in headers:  # the proxy's own words, of a replica that it does not have
                self.refused = message["status"] == FULL
                return
            del headers["x-request-id"]  # the proxy adds one of its own
            headers["x-request-id"] = self._request_id
            headers[ATTEMPT] = str(self.attempt)
            self._streams = headers.get("content-type", "").startswith("text/event-stream")
            self._kept.append({**message, "headers": headers.raw})
        elif self._kept or self.shown:
            self._kept.append(message)
            self._complete = not message.get("more_body", False)
        if self._streams:
            await self._show()

    async def finish(self) -> bool:
        """Whether the attempt's answer was complete."""
        if self._complete:
            await self._show()
        return self._complete

    async def fail(self, error: Exception, scope: Scope, receive: Receive) -> None:
        """Instead of an answer, or in the midst of a stream."""
        if self.shown:
            said = json.dumps(error_body(error)[0]).encode()
            await self._send({"type": "http.response.body", "body": b"data: " + said + b"\n\n"})
            return
        response = error_response(error)
        response.headers["x-request-id"] = self._request_id
        response.headers[ATTEMPT] = str(self.attempt)
        await response(scope, receive, self._send)

    async def _show(self) -> None:
        messages: Sequence[Message] = tuple(self._kept)
        self._kept.clear()
        for message in messages:
            self.shown = True
            await self._send(message)


class Marked:
    """ASGI middleware: every response says that it is of the replica ``name``."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REPLICA] = self._name
            await send(message)

        await self._app(scope, receive, named)
