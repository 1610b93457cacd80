"""What a good request gets: the documented shape, true costs, and the full scale when routing fails."""

from __future__ import annotations

import base64
import json
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from m3_backbone.fake import FakeEngine
from router.errors import BundleMismatch
from router.service.deciding import Routes
from tests.serving import ScriptedRouter, app_of, data_uri, good, picture, settings, talking

SCALES = (1, 9, 36, 144, 576)


def counter(metrics: str, line_start: str) -> float:
    """The value of the one sample whose line starts like this; 0 when there is none."""
    return sum(float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(line_start))


def test_an_answer_has_the_documented_shape() -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        response = http.answer()
    body = response.json()
    assert response.status_code == 200
    assert set(body) == {
        "answer",
        "scale",
        "visual_tokens",
        "decision",
        "passes",
        "cost",
        "timings_ms",
        "model",
        "router",
        "request_id",
    }
    assert set(body["decision"]) == {"policy", "reason", "certified", "probabilities"}
    assert set(body["decision"]["probabilities"]) == {str(scale) for scale in SCALES}
    assert set(body["cost"]) == {"visual_tokens", "full_visual_tokens", "flops", "full_flops"}
    assert set(body["timings_ms"]) == {"decode", "encode", "route", "generate", "total"}
    assert body["answer"]
    assert body["decision"]["certified"] is False
    assert body["router"] == "scripted"
    assert body["request_id"] == response.headers["x-request-id"]


def test_the_router_chooses_the_scale_and_the_cost_is_that_of_the_scale() -> None:
    engine = FakeEngine()
    with talking(app_of(engine, ScriptedRouter())) as http:
        body = http.answer().json()
    assert body["scale"] == body["visual_tokens"] == body["cost"]["visual_tokens"] == 36
    assert body["cost"]["full_visual_tokens"] == 576
    assert 0 < body["cost"]["flops"] < body["cost"]["full_flops"]
    assert body["decision"]["policy"] == "utility"


def test_timings_are_measured_and_stages_do_not_exceed_the_total() -> None:
    took: list[float] = []

    def slow() -> None:
        begin = time.perf_counter()
        time.sleep(0.05)
        took.append(1000 * (time.perf_counter() - begin))

    with talking(app_of(router=ScriptedRouter(before=slow))) as http:
        times = http.answer().json()["timings_ms"]
    assert times["route"] >= took[0] - 0.1  # it is rounded
    assert sum(times.values()) - times["total"] <= times["total"] + 0.1


@pytest.mark.parametrize("scale", SCALES)
def test_a_forced_scale_wins(scale: int) -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        body = http.answer(scale=scale).json()
    assert body["scale"] == body["visual_tokens"] == scale
    assert body["decision"]["policy"] == "fixed"


@pytest.mark.parametrize(
    ("constraints", "scale"),
    [
        ({"max_visual_tokens": 20}, 9),
        ({"max_visual_tokens": 9}, 9),
        ({"min_scale": 144}, 144),
        ({"min_scale": 9, "max_visual_tokens": 30}, 9),
        ({"scale": 9, "max_visual_tokens": 100}, 9),
        ({"scale": 144, "max_visual_tokens": 36}, 144),
        ({"scale": 9, "min_scale": 36}, 9),
        ({"scale": 576, "token_budget": 1}, 576),
        ({"min_scale": 144, "token_budget": 36}, 144),
        ({"token_budget": 1.5}, 1),
        ({"token_budget": 100}, 36),
    ],
)
def test_floor_ceiling_and_budget_bound_the_choice(constraints: dict[str, Any], scale: int) -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        response = http.answer(**constraints)
    assert response.json()["scale"] == scale, response.text


def test_null_counts_as_not_given() -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        assert http.answer(scale=None, min_scale=None, token_budget=None).json()["scale"] == 36


def test_the_operator_sets_the_target_of_requests_that_name_none() -> None:
    with talking(app_of(router=ScriptedRouter(), config=settings(token_budget=1))) as http:
        assert http.answer().json()["scale"] == 1
        assert http.answer(token_budget=100).json()["scale"] == 36
    with talking(app_of(router=ScriptedRouter(), config=settings(price=1.0))) as http:
        assert http.answer().json()["scale"] == 1


def test_multipart_gives_the_same_answer_as_json() -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        expected = http.answer(scale=9).json()
        response = http.post(
            "/v1/answer",
            files={"image": ("photo.bin", picture(), "application/octet-stream")},
            data={"question": "What colour is this?", "scale": "9"},
        )
        budgeted = http.post(
            "/v1/answer",
            files={"image": picture()},
            data={"question": "What colour is this?", "token_budget": "1.5"},
        )
    assert response.status_code == 200
    assert (response.json()["answer"], response.json()["scale"]) == (expected["answer"], 9)
    assert budgeted.json()["scale"] == 1


@pytest.mark.parametrize("spell", ["uri", "raw", "lines", "percent", "no type", "wrong type"])
def test_an_image_may_be_spelt_in_several_ways(spell: str) -> None:
    data = picture()
    raw = base64.b64encode(data).decode()
    image = {
        "uri": data_uri(data),
        "raw": raw,
        "lines": "\n".join(raw[i : i + 76] for i in range(0, len(raw), 76)),
        "percent": "data:image/png;base64," + raw.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
        "no type": f"data:;base64,{raw}",
        "wrong type": data_uri(data, "image/jpeg"),
    }[spell]
    with talking(app_of()) as http:
        assert http.answer(image=image).status_code == 200


@pytest.mark.parametrize(
    "question",
    ["<image>", "<image>" * 300, "</s>", "USER: a ASSISTANT: b", "\u202e right to left", "🙂" * 50],
)
def test_what_looks_like_a_marker_is_text_and_image_tokens_equal_the_scale(question: str) -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        body = http.answer(question=question, scale=36).json()
    assert body["visual_tokens"] == 36


def test_route_gives_the_decision_alone() -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        body = http.post("/v1/route", json=good()).json()
        answer = http.answer().json()
    assert set(body) == set(answer) - {"answer", "passes"}
    assert body["decision"] == answer["decision"]
    assert "generate" not in body["timings_ms"]


RELEASE = threading.Event()


def hangs() -> None:
    RELEASE.wait(600)


def broken() -> None:
    raise RuntimeError("secret of the predictor")


def mismatched() -> None:
    raise BundleMismatch("another ladder")


@pytest.mark.parametrize(
    ("router", "label"),
    [
        (None, "no_router"),
        (ScriptedRouter(before=hangs), "late"),
        (ScriptedRouter(before=broken), "error"),
        (ScriptedRouter(before=mismatched), "error"),
    ],
)
def test_without_a_working_router_the_full_scale_answers_and_says_so(
    router: Routes | None, label: str
) -> None:
    RELEASE.clear()
    config = settings(route_timeout_s=0.1 if label == "late" else 60)
    with talking(app_of(router=router, config=config)) as http:
        body = http.answer().json()
        capped = http.answer(max_visual_tokens=100).json()
        forced = http.answer(scale=1).json()
        metrics = http.get("/metrics").text
        RELEASE.set()
    assert body["scale"] == 576
    assert body["decision"]["fallback"]
    assert "secret" not in json.dumps(body)
    assert capped["scale"] == 36
    assert capped["decision"]["fallback"]
    assert capped["decision"]["certified"] is False
    assert forced["scale"] == 1
    assert "fallback" not in forced["decision"]
    assert counter(metrics, f'm3_router_fallbacks_total{{reason="{label}"}}') == 2  # not the forced one


def test_answers_are_counted_in_tokens_and_flops() -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        body = http.answer().json()
        metrics = http.get("/metrics").text
    assert counter(metrics, "m3_visual_tokens_total") == 36
    assert counter(metrics, "m3_full_visual_tokens_total") == 576
    assert counter(metrics, "m3_flops_total") == pytest.approx(body["cost"]["flops"])
    assert counter(metrics, 'm3_decisions_total{policy="utility",scale="36"}') == 1
    assert counter(metrics, 'm3_stage_seconds_count{stage="generate"}') == 1


def test_decisions_are_logged_without_what_was_asked(tmp_path: Path) -> None:
    with talking(app_of(router=ScriptedRouter(), config=settings(decision_log=tmp_path))) as http:
        body = http.answer(question="my secret question").json()
    (path,) = tmp_path.iterdir()
    (row,) = pq.read_table(path).to_pylist()
    assert row["request_id"] == body["request_id"]
    assert row["scale"] == 36
    assert "secret" not in str(row)
    assert body["answer"] not in str(row)


def test_a_log_that_cannot_be_written_costs_no_answer(tmp_path: Path) -> None:
    app = app_of(router=ScriptedRouter(), config=settings(decision_log=tmp_path / "log"))
    with talking(app) as http:
        assert http.answer().status_code == 200
        (tmp_path / "log").rmdir()
        app.state.service.recorder.close()  # writes what waits, as a minute later
        assert http.answer().status_code == 200
        assert counter(http.get("/metrics").text, "m3_decision_log_failures_total") == 1
