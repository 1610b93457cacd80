"""A host of pictures on this machine, and a fetcher that takes it for a public one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from router.service.fetching import Fetcher
from tests.serving import picture

HOST = "pictures.example"
URL = f"http://{HOST}/a/b.png?size=3"
PNG = picture()


def reply(body: bytes = PNG, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    count = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\ncontent-length: {count}\r\n{headers}\r\n".encode() + body


@asynccontextmanager
async def host(answer: bytes, *, stays: bool = False) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A host of pictures on this machine: its port, and what it was asked."""
    heads: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        if not stays:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


def fetcher(port: int = 9, *, names: Callable[[str], list[str]] | None = None, **more: Any) -> Fetcher:
    """One that takes this machine for a public one; names: of the resolver."""

    async def resolve(name: str, port: int) -> list[str]:
        return ["127.0.0.1"] if names is None else names(name)

    values: dict[str, Any] = {"max_bytes": 10_000, "timeout_s": 20.0, "allowed": lambda address: True, **more}
    return Fetcher(frozenset({HOST}), resolve=resolve, ports=(("http", port), ("https", port)), **values)
