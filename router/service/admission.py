"""How many requests may be in hand at once, and how many a client may send in a minute.

Both refuse before a body is read: what waits for its body already costs memory. Addresses that need no key
(`router.service.keys.OPEN`) are not counted, so that probes and metrics answer under any load.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from router.errors import Overloaded
from router.service.keys import OPEN


class InFlightLimit:
    """ASGI middleware: while ``limit`` requests are in hand, another one is told to come back (503)."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._in_hand = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        if self._in_hand >= self._limit:
            raise Overloaded(
                "Too many requests are being handled. Try again in a moment.",
                code="too_many_in_flight",
                status=503,
            )
        self._in_hand += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_hand -= 1


class RateLimit:
    """ASGI middleware: at most ``per_minute`` requests of one key in a minute, evened out (429 above it).

    A bucket of ``per_minute`` requests that fills at that rate. Without keys everybody shares one. Whoever
    serves several at once takes the others with ``scope["state"]["take"]()``.
    """

    def __init__(self, app: ASGIApp, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._size = float(per_minute)
        self._per_s = per_minute / 60
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # owner of a key -> (requests left, when)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN:
            state = scope.setdefault("state", {})
            take = partial(self._take, state.get("owner", ""))
            take()
            state["take"] = take  # for what asks for more than one answer
        await self._app(scope, receive, send)

    def _take(self, owner: str) -> None:
        now = self._clock()
        left, when = self._buckets.get(owner, (self._size, now))
        left = min(self._size, left + (now - when) * self._per_s)
        if left < 1:
            self._buckets[owner] = (left, now)
            raise Overloaded(
                f"More than {self._size:g} requests in a minute. Send them more slowly.",
                code="rate_limited",
                retry_after_s=math.ceil((1 - left) / self._per_s),
            )
        self._buckets[owner] = (left - 1, now)
