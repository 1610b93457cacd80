"""When to try again, and what to raise when not. No input or output: both clients share it."""

from __future__ import annotations

import math
import random
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from router.client.errors import ServiceError, Unreachable, UnreadableReply
from router.service.bodies import ErrorBody

AGAIN = frozenset({408, 429, 502, 503})
"""Statuses after which the same request may succeed. Not 504: it took too long, and would again."""

LONGEST_S = 30.0
"""A service that asks for more patience than this is not waited for."""

Body = TypeVar("Body", bound=BaseModel)


CONNECT_S = 10.0


class Attempts:
    """The attempts at one request, of which there are at most ``retries`` after the first.

    url: what is asked. timeout_s: how long a response is waited for. Both are for what errors say.
    """

    def __init__(self, retries: int, url: str, timeout_s: float) -> None:
        self._left = retries
        self._url = str(httpx.URL(url).copy_with(userinfo=b""))  # no password in what is logged
        self._timeout_s = timeout_s
        self._pause_s = 0.5

    def wait_s(self, outcome: httpx.Response | httpx.TransportError) -> float:
        """Seconds before the next attempt. Raises `ServiceError` or `Unreachable` when there is none.

        ``Retry-After`` is obeyed, and so is ``x-should-retry: false``: the same request would fail again.
        """
        if isinstance(outcome, httpx.Response):
            wait = self._after(outcome)
            if self._left < 1 or wait is None:
                raise _error(outcome, self._url)
        else:
            # Nothing was answered. What was sent may have been worked on, but asking twice does no harm.
            wait = self._pause()
            if self._left < 1 or isinstance(outcome, httpx.ReadTimeout):
                # What httpx raised is told in one sentence; its own traceback helps nobody.
                raise Unreachable(self._why(outcome)) from None
        self._left -= 1
        return wait

    def _why(self, error: httpx.TransportError) -> str:
        """What went wrong, where, and what to do about it."""
        said = f"({f'{error}' or type(error).__name__})"
        match error:
            case httpx.ConnectTimeout():
                what = f"could not be reached within {CONNECT_S:g} s {said}. Check address and network."
            case httpx.TimeoutException():
                what = (
                    f"gave no reply within {self._timeout_s:g} s {said}. Raise timeout_s, or see in the "
                    "service's log what it is busy with."
                )
            case httpx.ConnectError():
                what = (
                    f"cannot be reached {said}. Start the service there (`m3-router serve`), or give the "
                    "address that it logs as base_url."
                )
            case _:
                what = f"broke the connection off {said}. The service's log may say why."
        return f"{self._url} {what}"

    def _after(self, response: httpx.Response) -> float | None:
        if response.status_code not in AGAIN or response.headers.get("x-should-retry") == "false":
            return None
        asked = response.headers.get("retry-after", "")
        if not (asked.isascii() and asked.isdigit()):  # a date, or nothing
            return self._pause()
        return None if float(asked) > LONGEST_S else float(asked)

    def _pause(self) -> float:
        """Twice as long each time, and never quite the same for two clients."""
        self._pause_s *= 2
        return self._pause_s / 2 * random.uniform(0.75, 1.25)


def read(response: httpx.Response, kind: type[Body]) -> Body:
    """The body of a response that succeeded; fields of a newer service are ignored.

    Raises `UnreadableReply`.
    """
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise UnreadableReply(
            f"The reply of {response.url.path} is not a {kind.__name__}: {error.error_count()} faults."
        ) from None


def _error(response: httpx.Response, url: str) -> ServiceError:
    request_id = response.headers.get("x-request-id", "")
    try:
        told = ErrorBody.model_validate_json(response.content).error
    except ValidationError:
        return ServiceError(
            f"Something that is not the service answered at {url}. Check base_url.",
            status=response.status_code,
            code="",
            param=None,
            request_id=request_id,
        )
    return ServiceError(
        told.message, status=response.status_code, code=told.code, param=told.param, request_id=request_id
    )


def options(
    base_url: str, api_key: str | None, timeout_s: float
) -> tuple[str, dict[str, str], httpx.Timeout]:
    """(address, headers, timeout) of either client. ``base_url`` may end in /v1, as OpenAI's clients have it.

    Raises ValueError for values that cannot work.
    """
    if not base_url.startswith(("http://", "https://")):
        raise ValueError(
            f"base_url has value {base_url!r}. Give an address that begins with http:// or https://."
        )
    try:
        host = httpx.URL(base_url).host
    except httpx.InvalidURL as error:
        raise ValueError(f"base_url has value {base_url!r}. It is no address ({error}).") from None
    if not host:
        raise ValueError(f"base_url has value {base_url!r}. It names no host, as http://127.0.0.1:8000 does.")
    if not (math.isfinite(timeout_s) and timeout_s > 0):
        raise ValueError(f"timeout_s has value {timeout_s!r}. Give a number of seconds above 0.")
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    return base_url.rstrip("/").removesuffix("/v1"), headers, httpx.Timeout(timeout_s, connect=CONNECT_S)
