"""HTTP/1.1 on a socket: uvicorn's h11 protocol with a deadline for the head of a request, and our errors.

What never becomes a request (a head that is too large, that trickles in, that is no HTTP) does not reach the
app, so it is answered, logged and counted here, in the one shape of every error. Bodies have their own
limits: `BodyLimit` and `Settings.body_timeout_s`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import uuid
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from router.errors import InvalidRequest
from router.service.failures import error_response
from router.service.logs import FIELDS

access_log = logging.getLogger("m3_router.access")

HEAD_BYTES = 16 * 1024
"""Most bytes of a request's first line and headers together."""

_HEAD_END = re.compile(rb"\n\r?\n")
_CODES = {400: "malformed_request", 408: "head_timeout", 431: "headers_too_large"}
_MESSAGES = {
    400: "This is not a valid HTTP request.",
    408: "The headers did not arrive in time.",
    431: f"The first line and the headers have more than {HEAD_BYTES} bytes.",
}


class Protocol(H11Protocol):
    """One connection. ``head_timeout_s``: for all headers of a request, from its first byte on (of a new
    connection: from when it was opened), and for the rest of a body that was answered unread.
    ``stuck_timeout_s``: for a client to take some of what waits to be sent; else its request would keep its
    place for ever. ``refused``: is told the code of every refusal."""

    head_timeout_s = 10.0
    stuck_timeout_s = 30.0
    refused: Callable[[str], None] | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _stuck_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watch()
        super().connection_lost(exc)
        self._not_stuck()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck_timer = self.loop.call_later(self.stuck_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._not_stuck()

    def _not_stuck(self) -> None:
        if self._stuck_timer is not None:
            self._stuck_timer.cancel()
            self._stuck_timer = None

    def data_received(self, data: bytes) -> None:
        if self.conn.their_state is h11.IDLE:
            # h11's own limit is on heads that are incomplete: one that comes in a single piece passes it.
            head = self.conn.trailing_data[0] + data
            if len(head) > HEAD_BYTES and not _HEAD_END.search(head, 0, HEAD_BYTES):
                self._refuse(431)
                return
        super().data_received(data)
        unanswered = self.cycle is not None and not self.cycle.response_complete
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not unanswered:
            self._watch_head()
        else:
            self._stop_watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and self.cycle.response_complete:
            self._watch_head()  # answered unread, as a 404 is: nobody waits for the rest of this body

    def send_400_response(self, msg: str) -> None:
        """Called while h11's complaint is being handled: it knows whether the head was too large."""
        error = sys.exc_info()[1]
        hint = getattr(error, "error_status_hint", 400)
        self._refuse(hint if hint in _CODES else 400)

    def _watch_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.head_timeout_s, self._late)

    def _stop_watch(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:
            self._refuse(408)
        else:  # nothing was asked
            self.transport.close()

    def _refuse(self, status: int) -> None:
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:  # in the midst of another response
            self.transport.close()
            return
        code, request_id = _CODES[status], uuid.uuid4().hex
        response = error_response(InvalidRequest(_MESSAGES[status], code=code, status=status))
        headers: list[Any] = [
            *((name, value) for name, value in response.raw_headers if name != b"connection"),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        facts = {"request_id": request_id, "endpoint": "none", "status": status, "code": code}
        access_log.info("%s no request %d %s", request_id, status, code, extra={FIELDS: facts})
        if self.refused is not None:
            self.refused(code)
