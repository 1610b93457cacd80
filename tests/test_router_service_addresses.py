"""Requests that name the addresses of their images."""

from __future__ import annotations

import json
from typing import Any

import pytest

from m3_backbone.fake import FakeEngine
from router.service.app import create_app
from router.service.fetching import Fetcher
from router.settings import Settings, SettingsError
from tests.chatting import asked, image_part, user
from tests.fetching import HOST, URL, fetcher, host, reply
from tests.serving import ScriptedRouter, Talk, app_of, error_of, good, settings, talking


def app_with(each: Fetcher) -> Any:
    return create_app(settings(), FakeEngine(), ScriptedRouter(), fetcher=each)


def test_questions_chats_and_batches_take_addresses_and_tell_the_time_that_it_took() -> None:
    async def run(http: Talk, port: int) -> list[Any]:
        object.__setattr__(each, "ports", (("http", port), ("https", port)))
        bodies = {
            "/v1/answer": good(image=URL),
            "/v1/route": good(image=URL),
            "/v1/compare": good(image=URL),
            "/v1/answers": {"items": [good(image=URL), good(image="http://other.example/a.png")]},
            "/v1/chat/completions": asked(messages=[user(image_part(url=URL))]),
        }
        return [(await http.client.post(path, json=body)).json() for path, body in bodies.items()]

    each = fetcher()
    with talking(app_with(each)) as http:

        async def all_of_them() -> tuple[list[Any], int]:
            async with host(reply()) as (port, heads):
                return await run(http, port), len(heads)

        (answer, route, compared, batch, chat), asked_for = http.run(all_of_them())
        plain = http.answer().json()
    assert asked_for == 5
    assert answer["answer"] == plain["answer"] == compared["answer"]
    assert answer["timings_ms"]["fetch"] > 0
    assert "fetch" not in plain["timings_ms"]
    assert route["scale"] == plain["scale"]
    assert [item["status"] for item in batch["results"]] == [200, 400]
    assert chat["choices"][0]["message"]["content"] == plain["answer"]


def test_a_request_that_is_wrong_otherwise_asks_nobody() -> None:
    def never(name: str) -> list[str]:
        raise AssertionError("resolved")

    with talking(app_with(fetcher(names=never))) as http:
        assert error_of(http.answer(image=URL, scale=37))["code"] == "invalid_scale"
        assert error_of(http.answer(image=URL, question=""))["code"] == "empty_question"


def test_what_is_fetched_is_an_image_like_any_other_and_its_failure_an_error_of_ours() -> None:
    async def run(http: Talk, answer: bytes) -> Any:
        async with host(answer) as (port, _):
            object.__setattr__(each, "ports", (("http", port), ("https", port)))
            return await http.client.post("/v1/answer", json=good(image=URL))

    each = fetcher()
    with talking(app_with(each)) as http:
        text = http.run(run(http, reply(b"<html>")))
        missing = http.run(run(http, reply(b"", "404 Not Found")))
        assert http.answer().status_code == 200
    assert (text.status_code, error_of(text)["code"]) == (400, "image_format")
    assert (missing.status_code, error_of(missing)["code"]) == (400, "image_fetch_failed")
    assert json.loads(missing.content)["error"]["param"] == "image"


def test_without_a_list_nothing_is_fetched_and_with_one_the_operator_has_named_hosts() -> None:
    with talking(app_of()) as http:
        assert error_of(http.answer(image=URL))["code"] == "image_url_unsupported"
    with talking(app_of(config=settings(image_hosts=f"{HOST}, Other.Example"))) as http:
        assert error_of(http.answer(image="http://third.example/a"))["code"] == "image_url_refused"
        assert error_of(http.answer(image="ftp://pictures.example/a"))["code"] == "image_url_unsupported"
    for wrong in ("http://a.example", "a.example:80", "a/b", "*"):
        with pytest.raises(SettingsError, match="M3_IMAGE_HOSTS"):
            Settings.load(image_hosts=wrong)
