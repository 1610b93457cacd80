"""Log lines, each with the request that it is about: as text for people, or one JSON object a line.

What is logged is decided where it is logged: never a question, an image, an answer, a key or a header.
"""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

REQUEST_ID: ContextVar[str] = ContextVar("m3_request_id", default="")
"""Of the request that is being handled, in all tasks that it starts; empty outside of one."""

FIELDS = "m3"
"""Key of ``extra`` under which a line brings the fields of its JSON object."""


class TextLines(logging.Formatter):
    """``TIME LEVEL LOGGER MESSAGE``, and the request's id behind it where the message does not have it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line, request_id = super().formatMessage(record), REQUEST_ID.get()
        return f"{line} [{request_id}]" if request_id and request_id not in line else line


class JsonLines(logging.Formatter):
    """One object a line: time (ISO 8601, UTC), level, logger, message; request_id where there is a request;
    traceback where there is one; and the fields that a line brings itself."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps({**line, **getattr(record, FIELDS, {})})


def set_up(level: str, form: Literal["text", "json"]) -> None:
    """Everything that is logged goes to stderr, in that form.

    ``debug`` is for our own lines: libraries quote at that level what they read, a picture's metadata too.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=max(logging.INFO, logging.getLevelName(level.upper())), handlers=[handler])
    for ours in ("m3_router", "m3_backbone"):
        logging.getLogger(ours).setLevel(level.upper())
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # a warning per malformed body of a client
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request to a vLLM elsewhere
