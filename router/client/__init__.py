"""A typed client of the service, in two kinds: `Client` waits, `AsyncClient` is awaited.

    from router.client import Client

    with Client("http://127.0.0.1:8000") as client:
        reply = client.answer("photo.jpg", "What colour is the door?")
        print(reply.answer, reply.scale, reply.cost.flops)

Replies are the classes of `router.service.bodies`. Needs httpx: ``pip install -e '.[client]'`` in the
project's folder.
"""

from __future__ import annotations

try:
    import httpx  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "router.client needs httpx, which is not installed. Run `pip install -e '.[client]'` in the "
        "project's folder.",
        name="httpx",
    ) from error

from router.client.asking import Ask
from router.client.asynchronous import AsyncClient
from router.client.blocking import Client
from router.client.errors import ClientError, ServiceError, Unreachable, UnreadableReply

__all__ = ["Ask", "AsyncClient", "Client", "ClientError", "ServiceError", "Unreachable", "UnreadableReply"]
