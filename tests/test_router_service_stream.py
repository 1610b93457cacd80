"""Streams of a chat: tokens as they come, faults in the midst of them, and clients that leave."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from m3_backbone.fake import FakeEngine
from m3_backbone.types import EngineUnavailable, GenerationRequest, TokenEvent
from tests.chatting import asked
from tests.serving import Talk, app_of, settings, talking


class Breaking(FakeEngine):
    """The fake, but after one token it fails with ``error``."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def generate(
        self, request: GenerationRequest, *, deadline: float | None = None
    ) -> AsyncIterator[TokenEvent]:
        yield TokenEvent("red", 1, -0.1)
        raise self.error


class Endless(FakeEngine):
    """The fake, but it never stops; it notes when it is closed."""

    closed = 0

    async def generate(
        self, request: GenerationRequest, *, deadline: float | None = None
    ) -> AsyncIterator[TokenEvent]:
        try:
            while True:
                yield TokenEvent("red", 1, -0.1)
                await asyncio.sleep(0.01)
        finally:
            self.closed += 1


@pytest.mark.parametrize(
    ("error", "code"),
    [(EngineUnavailable("at /dev/nvidia0"), "not_ready"), (RuntimeError("/home/me xyzzy"), "internal_error")],
)
def test_a_fault_in_the_midst_of_a_stream_is_its_last_event_and_tells_nothing_of_the_inside(
    error: Exception, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), talking(app_of(Breaking(error))) as http:
        response = http.post("/v1/chat/completions", json=asked(stream=True))
        metrics = http.get("/metrics").text
    *chunks, last, rest = response.text.split("\n\n")
    assert response.status_code == 200
    assert rest == ""
    assert [json.loads(c.removeprefix("data: "))["choices"][0]["delta"].get("content") for c in chunks] == [
        "",
        "red",
    ]
    told = json.loads(last.removeprefix("data: "))
    assert set(told["error"]) == {"message", "type", "param", "code"}
    assert told["error"]["code"] == code
    assert f'm3_errors_total{{code="{code}"}} 1.0' in metrics
    for inside in ("nvidia", "/home", "xyzzy", "Traceback"):
        assert inside not in response.text
        assert inside not in caplog.text


def test_a_stream_past_its_deadline_ends_with_an_error_and_its_work_is_closed() -> None:
    engine = Endless()
    with talking(app_of(engine, config=settings(request_timeout_s=2))) as http:
        response = http.post("/v1/chat/completions", json=asked(stream=True))
    assert '"code":"deadline_exceeded"' in response.text
    assert engine.closed == 1


@pytest.mark.parametrize("patience", [1, 5])
def test_the_work_of_a_client_that_leaves_a_stream_is_closed_at_once(
    patience: int, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Endless()
    app = app_of(engine)

    async def leave(http: Talk) -> list[Any]:
        left = asyncio.Event()
        body = [{"type": "http.request", "body": json.dumps(asked(stream=True)).encode(), "more_body": False}]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if body:
                return body.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if len(sent) > patience:
                left.set()

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        await asyncio.wait_for(app(scope, receive, send), 60)
        assert engine.closed == 1
        return sent

    with caplog.at_level(logging.INFO), talking(app) as http:
        sent = http.run(leave(http))
        again = http.post("/v1/answer", json={})
    assert sent[0]["status"] == 200
    assert b"[DONE]" not in b"".join(message.get("body", b"") for message in sent)
    assert "Traceback" not in caplog.text
    assert again.status_code == 400
