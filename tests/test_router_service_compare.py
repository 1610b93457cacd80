"""Comparisons: what the router chose beside the answers at all scales, from one encoding."""

from __future__ import annotations

import pytest

from m3_backbone.fake import MARKERS, FakeEngine
from tests.serving import ScriptedRouter, app_of, error_of, good, settings, talking
from tests.test_router_service_answer import SCALES, counter


def test_a_comparison_is_the_answer_and_beside_it_those_of_all_scales() -> None:
    engine = FakeEngine()
    with talking(app_of(engine, ScriptedRouter())) as http:
        response = http.post("/v1/compare", json=good())
        answer = http.answer().json()
        alone = {scale: http.answer(scale=scale).json() for scale in SCALES}
        metrics = http.get("/metrics").text
    body = response.json()
    assert response.status_code == 200
    assert set(body) == {*answer, "answers"}
    assert set(body["timings_ms"]) == {"decode", "encode", "route", "compare", "total"}
    for name in ("answer", "scale", "visual_tokens", "decision", "cost", "model", "router"):
        assert body[name] == answer[name]
    assert body["request_id"] == response.headers["x-request-id"]
    assert [at["scale"] for at in body["answers"]] == list(SCALES)
    for at in body["answers"]:
        expected = alone[at["scale"]]
        assert at["answer"] == expected["answer"]
        assert at["visual_tokens"] == expected["visual_tokens"]
        assert at["flops"] == expected["cost"]["flops"]
        assert at["mean_logprob"] <= 0
        assert at["error"] is None
    assert engine.fake.encoded == 1
    assert counter(metrics, 'm3_requests_total{endpoint="/v1/compare",status="200"}') == 1
    assert counter(metrics, 'm3_stage_seconds_count{stage="generate"}') == 1 + len(SCALES)  # not compared
    assert counter(metrics, 'm3_stage_seconds_count{stage="compare"}') == 1
    assert counter(metrics, "m3_visual_tokens_total") == answer["visual_tokens"] + sum(SCALES)


def test_a_comparison_takes_the_same_constraints_and_refuses_the_same_things() -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        assert http.post("/v1/compare", json=good(scale=9)).json()["scale"] == 9
        assert http.post("/v1/compare", json=good(max_visual_tokens=20)).json()["scale"] == 9
        wrong = http.post("/v1/compare", json=good(scale=37))
        unknown = http.post("/v1/compare", json=good(scales=[9]))
    assert error_of(wrong)["code"] == "invalid_scale"
    assert error_of(unknown)["code"] == "unknown_field"


def test_a_scale_that_does_not_fit_is_told_in_its_place_and_the_chosen_one_fails_the_request() -> None:
    with talking(app_of(FakeEngine(context_tokens=200), ScriptedRouter())) as http:
        body = http.post("/v1/compare", json=good()).json()
        failed = http.post("/v1/compare", json=good(scale=576))
    assert [at["answer"] is None for at in body["answers"]] == [False, False, False, False, True]
    assert body["answers"][-1]["error"]["code"] == "context_length_exceeded"
    assert body["answers"][-1]["flops"] is None
    assert error_of(failed)["code"] == "context_length_exceeded"


def test_an_engine_with_room_for_two_requests_compares_too() -> None:
    engine = FakeEngine(batch_size=1, queue_size=1)
    with talking(app_of(engine, ScriptedRouter())) as http:
        assert http.post("/v1/compare", json=good()).status_code == 200
    assert engine.fake.batches == [1] * len(SCALES)


@pytest.mark.parametrize(
    ("marker", "status", "code"),
    [("[oom]", 503, "out_of_memory"), ("[exception]", 500, "engine_error"), ("[death]", 503, "not_ready")],
)
def test_a_fault_is_one_error_in_our_shape(marker: str, status: int, code: str) -> None:
    with talking(app_of(FakeEngine(faults=MARKERS), ScriptedRouter())) as http:
        response = http.post("/v1/compare", json=good(question=f"What? {marker}"))
    assert response.status_code == status
    assert error_of(response)["code"] == code


def test_a_comparison_that_takes_too_long_is_a_504_and_leaves_nothing_behind() -> None:
    engine = FakeEngine(token_delay_s=0.2, answer_tokens=20)
    with talking(app_of(engine, ScriptedRouter(), settings(request_timeout_s=0.5))) as http:
        assert error_of(http.post("/v1/compare", json=good()))["code"] == "deadline_exceeded"
        http.run(_idle(engine))


async def _idle(engine: FakeEngine) -> None:
    import asyncio

    async with asyncio.timeout(60):
        while engine.health().running or engine.health().queued:
            await asyncio.sleep(0.02)
