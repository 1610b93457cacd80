"""Health, readiness, metrics, the playground, request ids, and what is (not) logged."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from typing import Any

import pytest

from m3_backbone.fake import FakeEngine
from m3_backbone.types import EncodedImage, Health
from tests.serving import ScriptedRouter, app_of, error_of, good, talking


class NotReady(FakeEngine):
    def health(self) -> Health:
        return Health(ready=False, reason="lost the device at /dev/nvidia0")


class Exploding(FakeEngine):
    async def encode_in(self, *picture: Any) -> EncodedImage:
        raise RuntimeError("what the client asked: xyzzy")


def test_health_answers_while_the_process_lives_even_when_the_engine_is_not_ready() -> None:
    with talking(app_of(NotReady())) as http:
        response = http.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_ready_says_what_is_served() -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        body = http.get("/ready").json()
    assert body["ready"] is True
    assert body["engine"] == "fake"
    assert body["router"] == "scripted"
    assert body["scales"] == [1, 9, 36, 144, 576]
    assert body["aspect"] == "pad"
    assert body["model"] == FakeEngine().name


def test_an_engine_that_is_not_ready_is_a_503_without_its_inside() -> None:
    with talking(app_of(NotReady())) as http:
        response = http.get("/ready")
        metrics = http.get("/metrics").text
    assert response.status_code == 503
    assert error_of(response)["code"] == "not_ready"
    assert "nvidia" not in response.text
    assert "m3_ready 0.0" in metrics


def test_a_service_that_drains_is_not_ready_and_lives() -> None:
    app = app_of()
    with talking(app) as http:
        app.state.stopping = True
        assert error_of(http.get("/ready"))["code"] == "not_ready"
        assert http.get("/health").status_code == 200


def test_every_metric_has_our_prefix_and_two_apps_share_none() -> None:
    with talking(app_of()) as first, talking(app_of()) as second:
        for _ in range(3):
            assert first.answer().status_code == 200
        response, other = first.get("/metrics"), second.get("/metrics").text
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {line.split("{")[0].split(" ")[0] for line in response.text.splitlines() if line[0] != "#"}
    assert names
    assert all(name.startswith("m3_") for name in names)
    assert 'm3_requests_total{endpoint="/v1/answer",status="200"} 3.0' in response.text
    assert "/v1/answer" not in other


def test_metrics_count_errors_by_code_and_unknown_addresses_as_one() -> None:
    with talking(app_of()) as http:
        http.answer(scale=37)
        for i in range(3):
            http.get(f"/nowhere/{i}")
        text = http.get("/metrics").text
    assert 'm3_errors_total{code="invalid_scale"} 1.0' in text
    assert 'm3_requests_total{endpoint="unmatched",status="404"} 3.0' in text
    assert "m3_requests_in_flight 1.0" in text  # the one that reads the metrics


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/v1/answer/", 404, "not_found"),
        ("GET", "/v1/answer", 405, "method_not_allowed"),
        ("DELETE", "/health", 405, "method_not_allowed"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/%00", 404, "not_found"),
        ("GET", "/../../etc/passwd", 404, "not_found"),
    ],
)
def test_wrong_addresses_and_methods_get_the_same_shape(
    method: str, path: str, status: int, code: str
) -> None:
    with talking(app_of()) as http:
        response = http.request(method, path)
    assert response.status_code == status
    assert error_of(response)["code"] == code
    assert ("allow" in response.headers) == (status == 405)


def test_a_request_id_is_kept_when_it_is_a_plain_word_and_made_otherwise() -> None:
    with talking(app_of()) as http:
        kept = http.get("/health", headers={"x-request-id": "abc-123"})
        made = [
            http.get("/health", headers={"x-request-id": bad}) for bad in (b"", b"a b", b"x" * 65, b"\xe9")
        ]
    assert kept.headers["x-request-id"] == "abc-123"
    assert all(re.fullmatch(r"[0-9a-f]{32}", r.headers["x-request-id"]) for r in made)


def test_an_unexpected_fault_is_a_500_that_says_nothing_and_a_log_line_that_finds_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), talking(app_of(Exploding())) as http:
        response = http.post("/v1/answer", json=good(), headers={"x-request-id": "find-me"})
    assert response.status_code == 500
    error_of(response)
    assert "xyzzy" not in response.text
    assert "find-me RuntimeError" in caplog.text
    assert "in encode" in caplog.text  # where it came from
    assert "xyzzy" not in caplog.text  # but not what it said


def test_a_log_line_has_the_id_and_the_outcome_and_nothing_that_was_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, logger="m3_router"), talking(app_of()) as http:
        http.post(
            "/v1/answer?secret=xyzzy",
            json=good(question="xyzzy", scale=37),
            headers={"x-request-id": "find-me", "authorization": "xyzzy"},
        )
        http.answer(question="xyzzy")
    lines = [r.getMessage() for r in caplog.records if r.name == "m3_router.access"]
    assert re.fullmatch(r"find-me POST /v1/answer 400 [0-9.]+ms invalid_scale", lines[0])
    assert "xyzzy" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("m3"))


def test_the_playground_runs_only_its_own_inline_code() -> None:
    with talking(app_of()) as http:
        response = http.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", response.text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", response.text)
    assert "http://" not in response.text
    assert "https://" not in response.text


def test_the_api_is_described_in_both_encodings() -> None:
    with talking(app_of()) as http:
        paths = http.get("/openapi.json").json()["paths"]
    content = paths["/v1/answer"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    assert set(content["application/json"]["schema"]["required"]) == {"image", "question"}


def test_a_form_is_described_without_null_and_every_reference_can_be_followed() -> None:
    with talking(app_of()) as http:
        document = http.get("/openapi.json").json()
    form = document["paths"]["/v1/answer"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["scale"]["type"] == "integer"
    assert "null" not in json.dumps(form)
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))
    assert references
    for reference in references:
        found = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
