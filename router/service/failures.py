"""Every exception -> one error response: the only place that turns faults into HTTP.

The shape is OpenAI's, ``{"error": {"message", "type", "param", "code"}}``. What an unexpected exception
says is never shown: it may hold a path, an address or what the client sent.
"""

from __future__ import annotations

import json

from starlette.exceptions import HTTPException
from starlette.responses import Response

from m3_backbone.images import ImageError
from m3_backbone.types import (
    DeadlineExceeded,
    EngineError,
    EngineUnavailable,
    KvBudgetExceeded,
    OutOfMemory,
    PromptTooLong,
    QueueFull,
)
from router.errors import InvalidImage, InvalidRequest, M3Error, Overloaded, TimedOut, Unavailable

RETRY_AFTER_S = 1

_HOPELESS = frozenset({"out_of_memory", "deadline_exceeded"})
"""The same request would fail again; and what took too long in a crowd would make the crowd larger."""

_HTTP_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 415: "unsupported_media_type"}


class ClientGone(M3Error):
    """The client closed the connection before its answer was ready; nobody reads this response."""

    code = "client_closed_request"
    status = 499


def as_m3_error(error: Exception) -> M3Error:
    """``error`` as a member of our family, with a message that is fit for the client."""
    match error:
        case M3Error() if error.status < 500 or isinstance(error, Overloaded | Unavailable | TimedOut):
            return error
        case ImageError():
            return InvalidImage(error.message, code=error.code)
        case PromptTooLong():  # its text is made for callers: counts and what to lower
            what = "need more memory" if isinstance(error, KvBudgetExceeded) else "are longer"
            than = "one request may use" if isinstance(error, KvBudgetExceeded) else "the model's context"
            return InvalidRequest(
                f"The question and its image {what} than {than}. {error}",
                code="context_length_exceeded",
                param="question",
            )
        case QueueFull():
            return Overloaded("The queue is full. Try again in a moment.", code="queue_full", status=503)
        case DeadlineExceeded():
            return TimedOut("The request took longer than allowed.", code="deadline_exceeded")
        case EngineUnavailable():
            return Unavailable("The model is not ready. Try again in a moment.", code="not_ready")
        case OutOfMemory():
            return Unavailable(
                "The request did not fit in memory. Try a smaller scale.", code="out_of_memory", status=503
            )
        case EngineError():
            return M3Error("The model failed on this request.", code="engine_error")
        case HTTPException(status_code=404):
            return InvalidRequest("There is nothing at this address.", code="not_found", status=404)
        case HTTPException(status_code=405):
            allowed = (error.headers or {}).get("Allow", "another method")
            return InvalidRequest(
                f"This method is not allowed here. Allowed: {allowed}.", code="method_not_allowed", status=405
            )
        case HTTPException():
            code = _HTTP_CODES.get(error.status_code, "http_error")
            return M3Error(str(error.detail), code=code, status=error.status_code)
        case _:
            return M3Error("Something went wrong on our side. The request id finds it in the log.")


def error_body(error: Exception) -> tuple[dict[str, dict[str, str | None]], M3Error]:
    """The one shape of an error, and the family member that it was built from."""
    shown = as_m3_error(error)
    fields = {"message": shown.message, "type": shown.type, "param": shown.param, "code": shown.code}
    return {"error": fields}, shown


def error_response(error: Exception) -> Response:
    """The response for ``error``."""
    body, shown = error_body(error)
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException) and error.headers:
        headers.update(error.headers)
    if isinstance(shown, Overloaded):
        headers["Retry-After"] = str(shown.retry_after_s)
    elif shown.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if shown.code in _HOPELESS:
        headers["x-should-retry"] = "false"  # OpenAI's clients obey
    if shown.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if shown.status in (408, 413) or shown.code == "malformed_request":
        headers["Connection"] = "close"  # the rest of the body is not read
    content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    return Response(content, status_code=shown.status, headers=headers, media_type="application/json")
