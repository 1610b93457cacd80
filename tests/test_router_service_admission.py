"""How many requests are taken on: at once, and in a minute."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from m3_backbone.fake import FakeEngine
from router.errors import Overloaded
from router.service.admission import RateLimit
from tests.serving import Talk, app_of, data_uri, error_of, good, picture, settings, talking


def test_above_the_limit_requests_are_refused_and_probes_answer_and_later_all_is_well() -> None:
    engine = FakeEngine(token_delay_s=0.1, answer_tokens=5)

    async def many(http: Talk) -> list[Any]:
        images = [data_uri(picture(size=(8 + i, 8))) for i in range(6)]
        asking = [http.client.post("/v1/answer", json=good(image=image)) for image in images]
        return await asyncio.gather(*asking, http.client.get("/ready"), http.client.get("/metrics"))

    with talking(app_of(engine, config=settings(max_in_flight=2))) as http:
        *answers, ready, metrics = http.run(many(http))
        assert http.answer().status_code == 200
    assert sorted(r.status_code for r in answers) == [200, 200, 503, 503, 503, 503]
    assert (ready.status_code, metrics.status_code) == (200, 200)
    refused = [r for r in answers if r.status_code == 503]
    assert {error_of(r)["code"] for r in refused} == {"too_many_in_flight"}
    assert {r.headers["retry-after"] for r in refused} == {"1"}


def test_a_request_that_failed_gives_its_place_back() -> None:
    with talking(app_of(config=settings(max_in_flight=1))) as http:
        for _ in range(5):
            assert http.post("/v1/answer", content=b"{").status_code == 415
            assert http.answer(scale=37).status_code == 400
        assert http.answer().status_code == 200


def test_each_key_has_a_rate_of_its_own() -> None:
    config = settings(rate_limit=3, api_keys="first-key-123,second-key-456")

    def ask(http: Talk, key: str) -> httpx.Response:
        return http.post("/v1/answer", json=good(), headers={"authorization": f"Bearer {key}"})

    with talking(app_of(config=config)) as http:
        assert [ask(http, "first-key-123").status_code for _ in range(4)] == [200, 200, 200, 429]
        late = ask(http, "first-key-123")
        assert ask(http, "second-key-456").status_code == 200
        assert all(http.get("/health").status_code == 200 for _ in range(9))
    assert error_of(late)["code"] == "rate_limited"
    assert error_of(late)["type"] == "overloaded_error"
    assert 1 <= int(late.headers["retry-after"]) <= 20


def test_the_bucket_fills_again_at_its_rate_and_never_above_its_size() -> None:
    now = 0.0
    passed: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(now)

    limit = RateLimit(app, per_minute=6, clock=lambda: now)

    async def nothing(*args: Any) -> Any:
        raise AssertionError("nothing is read or sent")

    def ask() -> None:
        asyncio.run(limit({"type": "http", "path": "/v1/answer"}, nothing, nothing))

    for _ in range(6):
        ask()
    with pytest.raises(Overloaded) as caught:
        ask()
    assert caught.value.retry_after_s == 10
    now = 10.0
    ask()
    now = 12.0
    with pytest.raises(Overloaded) as again:
        ask()
    assert again.value.retry_after_s == 8
    now = 10_000.0
    for _ in range(6):
        ask()
    with pytest.raises(Overloaded):
        ask()
    assert len(passed) == 13
