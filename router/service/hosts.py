"""Whom a request may say that it addresses: a page from elsewhere must not speak to a service on localhost.

A browser lets any page talk to its own host name, and that name may be made to resolve to 127.0.0.1 (DNS
rebinding). The header Host still holds the name.
"""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from router.errors import InvalidRequest

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


class InvalidHost(InvalidRequest):
    code = "invalid_host"


def parse_hosts(text: str) -> frozenset[str] | None:
    """Names from a list with commas; None, for any, when one of them is ``*``."""
    names = frozenset(name.strip().lower() for name in text.split(",") if name.strip())
    return None if "*" in names else names


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches an address that is listened on."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class HostCheck:
    """ASGI middleware: a Host that is none, or not among ``allowed``, is an `InvalidHost`. None: any."""

    def __init__(self, app: ASGIApp, allowed: frozenset[str] | None) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._check(Headers(scope=scope).getlist("host"))
        await self._app(scope, receive, send)

    def _check(self, given: list[str]) -> None:
        if not given and self._allowed is None:  # HTTP/1.0 has no Host
            return
        match = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if match is None:
            raise InvalidHost("The header Host must be given once and hold a name, with a port or without.")
        if self._allowed is not None and match[1].lower() not in self._allowed:
            raise InvalidHost("The header Host names another service. M3_ALLOWED_HOSTS lists the names.")
