"""HTTP/1.1 as little as it takes: one request at a time on a connection that stays open.

The clients of these measurements share a core. A library's client takes a millisecond for a request; this
one takes a tenth of that, so what is measured is the server.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_LIMIT = 2**20


@dataclass(frozen=True, slots=True)
class Reply:
    """``seconds``: from when the request was due to the last byte of the answer. status 0: none came."""

    status: int
    seconds: float
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """To one server; opened when it is needed, and again after the server has closed it."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes, due: float | None = None) -> Reply:
        """due: `time.perf_counter` when it should have been sent; now by default."""
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return await self._ask(head.encode() + body, due)

    async def get(self, path: str) -> Reply:
        return await self._ask(f"GET {path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\n\r\n".encode())

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask(self, request: bytes, due: float | None = None) -> Reply:
        begin = time.perf_counter() if due is None else due
        try:
            if self._streams is not None and self._streams[0].at_eof():
                self.close()  # the server gave it up while nothing was asked
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port, limit=_LIMIT)
            reader, writer = self._streams
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return Reply(0, time.perf_counter() - begin)
        if _CLOSE.search(head):
            self.close()
        return Reply(int(head[9:12]), time.perf_counter() - begin, body)
