"""Engines that fail: one error each, and the next request is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from m3_backbone.fake import MARKERS, FakeEngine
from m3_backbone.types import (
    DeadlineExceeded,
    EncodedImage,
    EngineError,
    EngineUnavailable,
    GenerationRequest,
    OutOfMemory,
    PromptTooLong,
    QueueFull,
    TokenEvent,
)
from tests.serving import Talk, app_of, error_of, good, picture, settings, talking


class FailingOnce(FakeEngine):
    """The fake, but the first image that it is given raises ``error``."""

    error: Exception | None

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def encode_in(self, *picture: Any) -> EncodedImage:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return await super().encode_in(*picture)


class Mute(FakeEngine):
    """The fake, but the stream of tokens ends without an answer."""

    async def generate(
        self, request: GenerationRequest, *, deadline: float | None = None
    ) -> AsyncIterator[TokenEvent]:
        yield TokenEvent("x", 1, -0.1)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (QueueFull("full"), 503, "queue_full"),
        (DeadlineExceeded("late"), 504, "deadline_exceeded"),
        (EngineUnavailable("dead"), 503, "not_ready"),
        (OutOfMemory("at 0x7f00"), 503, "out_of_memory"),
        (PromptTooLong("2000 > 1000"), 400, "context_length_exceeded"),
        (EngineError("in /home/me/model.py"), 500, "engine_error"),
        (RuntimeError("in /home/me/model.py"), 500, "internal_error"),
    ],
)
def test_a_fault_of_the_engine_is_one_error_and_the_next_request_is_served(
    error: Exception, status: int, code: str
) -> None:
    with talking(app_of(FailingOnce(error))) as http:
        response = http.answer()
        following = http.answer()
    assert response.status_code == status
    assert error_of(response)["code"] == code
    assert ("retry-after" in response.headers) == (status == 503)
    hopeless = code in ("out_of_memory", "deadline_exceeded")
    assert (response.headers.get("x-should-retry") == "false") == hopeless
    assert following.status_code == 200


def test_a_stream_that_ends_without_an_answer_is_an_error() -> None:
    with talking(app_of(Mute())) as http:
        assert error_of(http.answer())["code"] == "engine_error"


def test_an_engine_that_does_not_close_is_left_after_the_drain(caplog: pytest.LogCaptureFixture) -> None:
    class Clinging(FakeEngine):
        closed = False

        async def close(self) -> None:
            await asyncio.sleep(3600)
            self.closed = True

    engine = Clinging()
    with talking(app_of(engine, config=settings(drain_timeout_s=0.1))) as http:
        assert http.post("/v1/answer", files={"image": picture()}, data={"question": "a"}).status_code == 200
    assert not engine.closed
    assert "still busy" in caplog.text


@pytest.mark.parametrize(
    ("marker", "status", "code"),
    [("[oom]", 503, "out_of_memory"), ("[exception]", 500, "engine_error")],
)
def test_a_fault_of_one_item_leaves_its_batch_mates_alone(marker: str, status: int, code: str) -> None:
    async def both(http: Talk) -> tuple[httpx.Response, httpx.Response]:
        return await asyncio.gather(
            http.client.post("/v1/answer", json=good(question=f"What? {marker}")),
            http.client.post("/v1/answer", json=good()),
        )

    with talking(app_of(FakeEngine(faults=MARKERS))) as http:
        bad, well = http.run(both(http))
        assert http.answer().status_code == 200
    assert bad.status_code == status
    assert error_of(bad)["code"] == code
    assert marker == "[exception]" or well.status_code == 200


def test_the_death_of_the_engine_shows_in_readiness() -> None:
    with talking(app_of(FakeEngine(faults=MARKERS, restart_s=3600))) as http:
        response = http.answer(question="What? [death]")
        ready = http.get("/ready")
        health = http.get("/health")
    assert (response.status_code, ready.status_code, health.status_code) == (503, 503, 200)
    assert error_of(ready)["code"] == "not_ready"
