"""Limits while reading and waiting, and clients that leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from m3_backbone.fake import FakeEngine
from m3_backbone.types import (
    GenerationRequest,
    TokenEvent,
)
from tests.serving import Talk, app_of, data_uri, error_of, good, picture, settings, talking

LIMIT = 4096


class Endless(FakeEngine):
    """The fake, but generating never ends; it notes when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.started = asyncio.Event()
        self.closed = 0

    async def generate(
        self, request: GenerationRequest, *, deadline: float | None = None
    ) -> AsyncIterator[TokenEvent]:
        try:
            self.started.set()
            while True:
                await asyncio.sleep(0.01)
                yield TokenEvent("x", 1, -0.1)
        finally:
            self.closed += 1


async def chunks(total: int, read: list[int]) -> AsyncIterator[bytes]:
    for _ in range(total // 1024):
        read.append(1024)
        yield b"x" * 1024


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
def test_a_body_that_declares_too_much_is_refused_unread(kind: str) -> None:
    with talking(app_of(config=settings(max_body_bytes=LIMIT))) as http:
        response = http.post("/v1/answer", content=b"x" * (LIMIT + 1), headers={"content-type": kind})
        assert http.answer().status_code == 200
        metrics = http.get("/metrics").text
    assert 'm3_requests_total{endpoint="/v1/answer",status="413"} 1.0' in metrics
    assert response.status_code == 413
    assert error_of(response)["code"] == "body_too_large"
    assert str(LIMIT) in error_of(response)["message"]


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
def test_a_chunked_body_is_read_up_to_the_limit_and_no_further(kind: str) -> None:
    read: list[int] = []
    start = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'

    async def body() -> AsyncIterator[bytes]:
        yield start
        async for chunk in chunks(1024 * 1024, read):
            yield chunk

    with talking(app_of(config=settings(max_body_bytes=LIMIT))) as http:
        response = http.post("/v1/answer", content=body(), headers={"content-type": kind})
        assert http.answer().status_code == 200
    assert response.status_code == 413
    error_of(response)
    assert sum(read) <= LIMIT + 1024


def test_a_body_that_trickles_is_given_up() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(3600)
        yield b"}"

    with talking(app_of(config=settings(body_timeout_s=0.05))) as http:
        response = http.post("/v1/answer", content=body(), headers={"content-type": "application/json"})
    assert response.status_code == 408
    assert error_of(response)["code"] == "body_timeout"


def test_a_request_past_its_deadline_is_a_504_and_its_work_is_closed() -> None:
    engine = Endless()
    with talking(app_of(engine, config=settings(request_timeout_s=2))) as http:
        response = http.answer()
    assert response.status_code == 504
    assert error_of(response)["code"] == "deadline_exceeded"
    assert engine.closed == 1


def test_the_work_of_a_client_that_leaves_is_cancelled() -> None:
    engine = Endless()
    app = app_of(engine)

    async def leave(http: Talk) -> None:
        import json

        body = json.dumps(good()).encode()
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await engine.started.wait()
            return {"type": "http.disconnect"}

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/v1/answer",
            "raw_path": b"/v1/answer",
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": [(b"content-type", b"application/json")],
        }
        await asyncio.wait_for(app(scope, receive, send), 60)  # the engine would never end
        assert sent[0]["status"] == 499

    with talking(app) as http:
        http.run(leave(http))
        metrics = http.get("/metrics").text
    assert engine.closed == 1
    assert 'm3_requests_total{endpoint="/v1/answer",status="499"} 1.0' in metrics


def test_a_client_that_leaves_while_sending_is_no_fault_of_ours() -> None:
    app = app_of()

    async def leave() -> list[Any]:
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": b"{", "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/answer",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        await app(scope, receive, send)
        return sent

    with talking(app) as http:
        sent = http.run(leave())
    assert sent[0]["status"] == 499


def test_requests_at_the_same_time_get_their_own_answers() -> None:
    async def many(http: Talk) -> list[Any]:
        requests = (http.client.post("/v1/answer", json=good(scale=s)) for s in (1, 9, 36, 144, 576) * 4)
        return await asyncio.gather(*requests)

    with talking(app_of()) as http:
        responses = http.run(many(http))
    assert [r.json()["scale"] for r in responses] == [1, 9, 36, 144, 576] * 4
    assert len({r.json()["request_id"] for r in responses}) == 20


def test_a_full_queue_is_a_503_that_says_when_to_come_back_and_the_others_are_answered() -> None:
    engine = FakeEngine(batch_size=1, queue_size=1, faults={"colour": "hang"})

    async def many(http: Talk) -> list[Any]:
        images = [data_uri(picture(size=(8 + i, 8))) for i in range(6)]
        asked = [
            asyncio.ensure_future(http.client.post("/v1/answer", json=good(image=image))) for image in images
        ]
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result().status_code for task in done} == {503}  # none is answered before its release
        engine.fake.released.set()
        return await asyncio.gather(*asked)

    with talking(app_of(engine)) as http:
        responses = http.run(many(http))
        assert http.answer().status_code == 200
    refused = [r for r in responses if r.status_code == 503]
    assert refused
    assert {r.status_code for r in responses} == {200, 503}
    assert all(error_of(r)["code"] == "queue_full" and r.headers["retry-after"] for r in refused)


def test_a_question_longer_than_the_context_is_a_400() -> None:
    with talking(app_of(FakeEngine(context_tokens=700))) as http:
        response = http.answer(question="word " * 200)
        assert http.answer().status_code == 200
    assert response.status_code == 400
    assert error_of(response)["code"] == "context_length_exceeded"
    assert error_of(response)["param"] == "question"
    assert "longer than the model's context. The prompt has " in error_of(response)["message"]
    assert "the context holds 700" in error_of(response)["message"]


def test_views_multiply_the_tokens_and_the_ceiling_counts_them() -> None:
    with talking(app_of(FakeEngine(views=5))) as http:
        body = http.answer(scale=36).json()
        capped = http.answer(max_visual_tokens=200).json()
        impossible = http.answer(max_visual_tokens=4)
    assert (body["scale"], body["visual_tokens"], body["cost"]["full_visual_tokens"]) == (36, 180, 2880)
    assert (capped["scale"], capped["visual_tokens"]) == (36, 180)
    assert error_of(impossible)["param"] == "max_visual_tokens"
