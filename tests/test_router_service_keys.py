"""API keys: who may ask, and that no key is told to anybody."""

from __future__ import annotations

import logging

import pytest

from m3_backbone.fake import FakeEngine
from router.settings import Settings, SettingsError
from tests.chatting import asked
from tests.serving import app_of, error_of, good, settings, talking

KEYS = "first-key-123,second-key-456"


@pytest.mark.parametrize("key", KEYS.split(","))
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_every_key_opens_the_service(key: str, scheme: str) -> None:
    with talking(app_of(config=settings(api_keys=KEYS))) as http:
        response = http.post("/v1/answer", json=good(), headers={"authorization": f"{scheme} {key}"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing_api_key"),
        (b"", "missing_api_key"),
        (b"Bearer", "missing_api_key"),
        (b"Bearer  ", "missing_api_key"),
        (b"Basic first-key-123", "missing_api_key"),
        (b"first-key-123", "missing_api_key"),
        (b"Bearer first-key-12", "invalid_api_key"),
        (b"Bearer first-key-123,second-key-456", "invalid_api_key"),
        (b"Bearer \xe9\xff", "invalid_api_key"),
        (b"Bearer " + b"x" * 10_000, "invalid_api_key"),
    ],
)
def test_no_key_and_a_wrong_key_are_a_401_before_the_body_is_read(header: bytes | None, code: str) -> None:
    headers = [(b"content-type", b"application/json")]
    if header is not None:
        headers.append((b"authorization", header))
    with talking(app_of(config=settings(api_keys=KEYS))) as http:
        response = http.post("/v1/answer", content=b"{", headers=headers)
        route = http.post("/v1/route", content=b"{", headers=headers)
    assert (response.status_code, route.status_code) == (401, 401)
    assert error_of(response)["code"] == code
    assert response.headers["www-authenticate"] == "Bearer"


def test_health_metrics_and_the_page_need_no_key_and_unknown_addresses_do() -> None:
    with talking(app_of(config=settings(api_keys=KEYS))) as http:
        for path in ("/", "/health", "/ready", "/metrics", "/openapi.json"):
            assert http.get(path).status_code == 200
        for path in ("/nowhere", "//v1/answer", "/v1/answer/", "/V1/answer"):
            assert http.post(path).status_code == 401


def test_a_key_is_in_no_log_no_metric_no_error_and_no_representation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    values = settings(api_keys=KEYS)
    with caplog.at_level(logging.DEBUG), talking(app_of(config=values)) as http:
        http.post("/v1/answer", json=good(), headers={"authorization": "Bearer first-key-123"})
        wrong = http.post("/v1/answer", json=good(), headers={"authorization": "Bearer third-key-789"})
        told = caplog.text + http.get("/metrics").text + wrong.text + repr(values) + str(values)
    assert "-key-" not in told


def test_keys_that_are_too_short_are_refused_without_being_quoted() -> None:
    for keys in ("short", "long-enough-1,short", "long-enough-1,", "with a space in it"):
        with pytest.raises(SettingsError, match=r"M3_API_KEYS cannot be used\. Give keys of 8 ") as caught:
            Settings.load(api_keys=keys)
        assert "short" not in str(caught.value)
        assert "space" not in str(caught.value)


def test_an_encoded_image_is_kept_for_the_key_that_sent_it_and_no_other() -> None:
    engine = FakeEngine()
    encoded = []
    with talking(app_of(engine, config=settings(api_keys=KEYS))) as http:
        for key in ("first-key-123", "first-key-123", "second-key-456", "second-key-456", "first-key-123"):
            headers = {"authorization": f"Bearer {key}"}
            for path, body in (
                ("/v1/answer", good()),
                ("/v1/route", good()),
                ("/v1/chat/completions", asked()),
                ("/v1/chat/completions", asked(stream=True)),
            ):
                assert http.post(path, json=body, headers=headers).status_code == 200
            encoded.append(engine.fake.encoded)
    assert encoded == [1, 1, 2, 2, 2]
