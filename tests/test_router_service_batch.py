"""Batches: every item has an answer or an error of its own, and costs no other client its turn."""

from __future__ import annotations

from typing import Any

import pytest

from m3_backbone.fake import MARKERS, FakeEngine
from m3_backbone.types import Health
from tests.serving import ScriptedRouter, Talk, app_of, data_uri, error_of, good, picture, settings, talking
from tests.test_router_service_answer import counter


def batch(http: Talk, *items: Any) -> list[dict[str, Any]]:
    """The results of a batch that is answered, after checking that they belong together."""
    response = http.post("/v1/answers", json={"items": list(items)})
    assert response.status_code == 200, response.text
    body = response.json()
    results: list[dict[str, Any]] = body["results"]
    assert set(body) == {"results", "failed", "request_id"}
    assert body["request_id"] == response.headers["x-request-id"]
    assert [result["index"] for result in results] == list(range(len(items)))
    assert body["failed"] == sum(result["status"] != 200 for result in results)
    for result in results:
        assert set(result) == {"index", "status", "answer", "error"}
        assert (result["answer"] is None) == (result["status"] != 200)
        assert (result["error"] is None) == (result["status"] == 200)
    return results


def test_every_item_is_answered_as_it_would_be_alone() -> None:
    items = [good(), good(question="Is it round?"), good(scale=9), good(image=data_uri(picture("blue")))]
    engine = FakeEngine()
    with talking(app_of(engine, ScriptedRouter())) as http:
        results = batch(http, *items)
        assert engine.fake.encoded == 2  # three items share a picture
        metrics = http.get("/metrics").text
        for item, result in zip(items, results, strict=True):
            alone = http.post("/v1/answer", json=item).json()
            for name in set(alone) - {"timings_ms", "request_id"}:
                assert result["answer"][name] == alone[name]
    assert len({result["answer"]["request_id"] for result in results}) == len(items)
    assert counter(metrics, "m3_visual_tokens_total") == 3 * 36 + 9


def test_items_that_fail_do_so_alone_with_the_status_and_code_that_they_would_have_had() -> None:
    with talking(app_of(FakeEngine(faults=MARKERS), ScriptedRouter())) as http:
        results = batch(
            http,
            good(),
            good(scale=37),
            "text",
            {"image": good()["image"]},
            good(image="data:image/png;base64,@"),
            good(image=data_uri(b"hello")),
            good(question="What? [oom]"),
            good(surprise=1),
            good(),
        )
        metrics = http.get("/metrics").text
    assert [(result["status"], (result["error"] or {}).get("code")) for result in results] == [
        (200, None),
        (400, "invalid_scale"),
        (400, "invalid_type"),
        (400, "missing_field"),
        (400, "invalid_base64"),
        (400, "image_format"),
        (503, "out_of_memory"),
        (400, "unknown_field"),
        (200, None),
    ]
    assert 'm3_errors_total{code="out_of_memory"} 1.0' in metrics


def test_an_unexpected_fault_says_nothing_and_is_found_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Exploding(FakeEngine):
        async def encode_in(self, *picture: Any) -> Any:
            raise RuntimeError("what the client asked: xyzzy")

    with talking(app_of(Exploding())) as http:
        (result,) = batch(http, good())
    assert (result["status"], result["error"]["code"]) == (500, "internal_error")
    assert "RuntimeError" in caplog.text
    assert "xyzzy" not in caplog.text + str(result)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({}, "missing_field", "items"),
        ({"items": None}, "missing_field", "items"),
        ({"items": []}, "missing_field", "items"),
        ({"items": {"0": good()}}, "missing_field", "items"),
        ({"items": [good()] * 4}, "too_many_items", "items"),
        ({"items": [good()], "scale": 9}, "unknown_field", "scale"),
    ],
)
def test_a_batch_that_is_none_is_refused_as_a_whole(fields: dict[str, Any], code: str, param: str) -> None:
    with talking(app_of(config=settings(max_items=3))) as http:
        response = http.post("/v1/answers", json=fields)
    assert response.status_code == 400
    assert (error_of(response)["code"], error_of(response)["param"]) == (code, param)


def test_a_form_is_no_batch() -> None:
    with talking(app_of()) as http:
        assert http.post("/v1/answers", files={"image": picture()}).status_code == 415


def test_an_engine_that_is_not_ready_is_one_503_with_a_time_to_come_back() -> None:
    class NotReady(FakeEngine):
        def health(self) -> Health:
            return Health(ready=False)

    with talking(app_of(NotReady())) as http:
        response = http.post("/v1/answers", json={"items": [good()]})
    assert (response.status_code, error_of(response)["code"]) == (503, "not_ready")
    assert response.headers["retry-after"]


def test_a_batch_never_has_more_in_the_engine_than_one_batch_of_it() -> None:
    engine = FakeEngine(batch_size=2, queue_size=1, token_delay_s=0.01)
    with talking(app_of(engine, config=settings(max_items=10))) as http:
        results = batch(http, *(good(question=f"What is {i}?") for i in range(10)))
    assert {result["status"] for result in results} == {200}
    assert max(engine.fake.batches) <= 2


def test_every_item_counts_as_a_request_where_there_is_a_limit_per_minute() -> None:
    with talking(app_of(config=settings(rate_limit=3))) as http:
        results = batch(http, *[good()] * 5)
        after = http.answer()
    assert [result["status"] for result in results] == [200, 200, 200, 429, 429]
    assert results[-1]["error"]["code"] == "rate_limited"
    assert after.status_code == 429


def test_what_does_not_get_its_turn_in_time_is_told_so() -> None:
    engine = FakeEngine(batch_size=1, faults={"is 1?": "hang"})
    with talking(app_of(engine, config=settings(request_timeout_s=3))) as http:
        results = batch(http, *(good(question=f"What is {i}?") for i in range(6)))
        engine.fake.released.set()
    assert results[0]["status"] == 200
    assert results[-1]["status"] == 504
    assert results[-1]["error"]["code"] == "deadline_exceeded"
