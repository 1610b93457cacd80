"""What protects the service from its clients: a limit on bodies, and headers for browsers.

Keys are in `router.service.keys`, names of the service in `router.service.hosts`, limits on how many requests
there may be in `router.service.admission`.
"""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.errors import InvalidRequest, TooLarge


class BodyLimit:
    """ASGI middleware: a body of more than ``max_bytes`` is a `TooLarge`, and reading stops there.

    With a Content-Length none of it is read, without one (chunked) no more than the limit. Both happen when
    a route asks for the body, so that the error is counted for that route.

    A request with both is refused: a proxy that counts bytes where we read chunks would take what is left for
    another client's request (RFC 9112, section 6.3).
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            raise InvalidRequest(
                "The request has both Content-Length and Transfer-Encoding. Send one of them.",
                code="malformed_request",
            )
        declared = headers.get("content-length", "")
        too_large = declared.isascii() and declared.isdigit() and int(declared[:20]) > self._max_bytes
        read = 0

        async def limited() -> Message:
            nonlocal read
            if too_large:
                raise self._error()
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > self._max_bytes:
                    raise self._error()
            return message

        await self._app(scope, limited, send)

    def _error(self) -> TooLarge:
        return TooLarge(
            f"The body has more than {self._max_bytes} bytes, the most that is accepted.",
            code="body_too_large",
        )


def page_headers(html: str) -> dict[str, str]:
    """Headers of a page that may run its own inline scripts and styles, by hash, and nothing else."""

    def hashes(tag: str) -> str:
        blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(b.encode()).digest()).decode() for b in blocks)
        return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"

    policy = (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
