"""API keys: who may ask. Only hashes of them are kept, and every one is compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from router.errors import InvalidRequest

OPEN = frozenset({"/", "/health", "/ready", "/metrics", "/openapi.json"})
"""Addresses that need no key: they answer nothing about an image and tell nothing of a client."""


class Unauthorized(InvalidRequest):
    """No key, or none of ours."""

    code = "invalid_api_key"
    status = 401


class ApiKeys:
    """The keys that are accepted."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def owner(self, authorization: str) -> str:
        """A short name for whoever sent this Authorization header; raises `Unauthorized`."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthorized(
                "An API key is needed: send the header 'Authorization: Bearer KEY'.", code="missing_api_key"
            )
        digest = _digest(key.strip())
        matches = [hmac.compare_digest(digest, known) for known in self._digests]  # all: no early way out
        if not any(matches):
            raise Unauthorized("The API key is not one of those that are accepted.")
        return digest.hex()[:12]


class KeyCheck:
    """ASGI middleware: everything but `OPEN` needs a key, whose owner is put into ``scope["state"]``."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN:
            owner = self._keys.owner(Headers(scope=scope).get("authorization", ""))
            scope.setdefault("state", {})["owner"] = owner
        await self._app(scope, receive, send)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
