"""Chats that are refused, each with the field at fault."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from m3_backbone.fake import MARKERS, FakeEngine
from router.service import chat as chat_module
from tests.chatting import MODEL, asked, chat, image_part, user
from tests.serving import ScriptedRouter, app_of, data_uri, error_of, picture, settings, talking

NAN, INFINITE = float("nan"), float("inf")

BAD: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "no model": ({"model": None}, "missing_field", "model"),
    "model a number": ({"model": 5}, "invalid_type", "model"),
    "no messages": ({"messages": None}, "missing_field", "messages"),
    "empty messages": ({"messages": []}, "missing_field", "messages"),
    "messages an object": ({"messages": {}}, "missing_field", "messages"),
    "a message that is text": ({"messages": ["hello"]}, "invalid_role", "messages"),
    "a role that is a list": ({"messages": [{"role": [], "content": "a"}]}, "invalid_role", "messages"),
    "role tool": ({"messages": [user(), {"role": "tool", "content": "a"}]}, "invalid_role", "messages"),
    "the last is not the user": (
        {"messages": [user(), {"role": "assistant", "content": "a"}]},
        "invalid_role",
        "messages",
    ),
    "system alone": ({"messages": [{"role": "system", "content": "a"}]}, "invalid_role", "messages"),
    "five images": ({"messages": [user(*[image_part()] * 5)]}, "too_many_images", "messages"),
    "1000 images": ({"messages": [user(*[image_part()] * 1000)]}, "too_many_images", "messages"),
    "no content": ({"messages": [{"role": "user"}]}, "invalid_type", "messages"),
    "a part that is text": ({"messages": [{"role": "user", "content": ["a"]}]}, "invalid_type", "messages"),
    "audio": ({"messages": [user({"type": "input_audio"})]}, "invalid_content", "messages"),
    "text that is a number": (
        {"messages": [user({"type": "text", "text": 5})]},
        "invalid_content",
        "messages",
    ),
    "image of an assistant": (
        {"messages": [{"role": "assistant", "content": [image_part()]}, user()]},
        "invalid_content",
        "messages",
    ),
    "image without address": ({"messages": [user({"type": "image_url"})]}, "invalid_type", "messages"),
    "detail huge": ({"messages": [user(image_part("huge"))]}, "invalid_detail", "messages"),
    "image by address": (
        {"messages": [user(image_part(url="http://127.0.0.1:1/x.png"))]},
        "image_url_unsupported",
        "image",
    ),
    "image of a file": (
        {"messages": [user(image_part(url="file:///etc/passwd"))]},
        "image_url_unsupported",
        "image",
    ),
    "not an image": ({"messages": [user(image_part(url=data_uri(b"hello")))]}, "image_format", "image"),
    "empty question": ({"messages": [user(text=" ")]}, "empty_question", "messages"),
    "NUL": ({"messages": [user(text="a\0")]}, "invalid_text", "messages"),
    "a long question": ({"messages": [user(text="a" * 5000)]}, "question_too_long", "messages"),
    "long in all": (
        {
            "messages": [
                user(text="a" * 3000),
                {"role": "assistant", "content": "b" * 3000},
                {"role": "user", "content": "c"},
            ]
        },
        "question_too_long",
        "messages",
    ),
    "a long system": (
        {"messages": [{"role": "system", "content": "a" * 5000}, user()]},
        "question_too_long",
        "messages",
    ),
    "m3 a list": ({"m3": []}, "invalid_type", "m3"),
    "unknown key of m3": ({"m3": {"scales": 9}}, "unknown_field", "m3.scales"),
    "scale 37": ({"m3": {"scale": 37}}, "invalid_scale", "scale"),
    "scale as text": ({"m3": {"scale": "36"}}, "invalid_scale", "scale"),
    "scale true": ({"m3": {"scale": True}}, "invalid_scale", "scale"),
    "name with scale 37": ({"model": f"{MODEL}@37"}, "invalid_scale", "model"),
    "name with scale 036": ({"model": f"{MODEL}@036"}, "invalid_scale", "model"),
    "budget 0": ({"m3": {"token_budget": 0}}, "invalid_token_budget", "token_budget"),
    "temperature 1e308": ({"temperature": 1e308}, "invalid_temperature", "temperature"),
    "temperature NaN": ({"temperature": NAN}, "invalid_temperature", "temperature"),
    "temperature 10**400": ({"temperature": 10**400}, "invalid_temperature", "temperature"),
    "top_p 10**400": ({"top_p": 10**400}, "invalid_top_p", "top_p"),
    "temperature true": ({"temperature": True}, "invalid_temperature", "temperature"),
    "top_p infinite": ({"top_p": INFINITE}, "invalid_top_p", "top_p"),
    "n = 10**6": ({"n": 10**6}, "unsupported_parameter", "n"),
    "n true": ({"n": True}, "unsupported_parameter", "n"),
    "stop a number": ({"stop": 5}, "invalid_stop", "stop"),
    "stop empty": ({"stop": ""}, "invalid_stop", "stop"),
    "stop of a number": ({"stop": ["a", 5]}, "invalid_stop", "stop"),
    "five stops": ({"stop": ["a", "b", "c", "d", "e"]}, "invalid_stop", "stop"),
    "a long stop": ({"stop": "a" * 257}, "invalid_stop", "stop"),
    "a ceiling below two images": (
        {"messages": [user(image_part(), image_part())], "m3": {"max_visual_tokens": 1}},
        "invalid_constraint",
        "max_visual_tokens",
    ),
    "json": ({"response_format": {"type": "json_object"}}, "unsupported_parameter", "response_format"),
    "max_tokens -1": ({"max_tokens": -1}, "invalid_max_tokens", "max_tokens"),
    "max_tokens 0": ({"max_completion_tokens": 0}, "invalid_max_completion_tokens", "max_completion_tokens"),
    "seed 2**64": ({"seed": 2**64}, "invalid_seed", "seed"),
    "stream as text": ({"stream": "yes"}, "invalid_type", "stream"),
    "stream_options a list": ({"stream_options": []}, "invalid_type", "stream_options"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_a_400_that_names_the_field_streamed_or_not(kind: str) -> None:
    fields, code, param = BAD[kind]
    with talking(app_of(router=ScriptedRouter())) as http:
        for stream in (False, True):
            content = json.dumps(asked(**{"stream": stream, **fields})).encode()
            response = http.post(
                "/v1/chat/completions", content=content, headers={"content-type": "application/json"}
            )
            assert response.status_code == 400, response.text
            error = error_of(response)
            assert (error["code"], error["param"]) == (code, param)
        assert chat(http).status_code == 200


@pytest.mark.parametrize("name", ["gpt-4o", "", f"{MODEL}@", f"{MODEL}x@36", "@36", "../" + MODEL])
def test_an_unknown_model_is_a_404_that_lists_what_is_served(name: str) -> None:
    with talking(app_of()) as http:
        response = chat(http, model=name)
    assert response.status_code == 404
    assert error_of(response)["code"] == "model_not_found"
    assert f"{MODEL}@36" in error_of(response)["message"]


@pytest.mark.parametrize("header", ["37", "", "36.0", "-1", "nan", "9, 36"])
def test_a_header_that_is_no_scale_is_a_400(header: str) -> None:
    with talking(app_of()) as http:
        response = chat(http, {"x-m3-scale": header})
    assert response.status_code == 400
    assert error_of(response)["param"] == "x-m3-scale"
    assert "Valid scales: 1, 9, 36, 144, 576." in error_of(response)["message"]


@pytest.mark.parametrize("second", ["9", "no scale"])
def test_a_header_that_is_given_twice_is_read_twice(second: str) -> None:
    headers = [("x-m3-scale", "36"), ("X-M3-Scale", second)]
    with talking(app_of(router=ScriptedRouter())) as http:
        response = http.post("/v1/chat/completions", json=asked(), headers=headers)
        same = http.post("/v1/chat/completions", json=asked(), headers=[headers[0], headers[0]])
    assert response.status_code == 400
    assert error_of(response)["code"] == ("conflicting_scale" if second == "9" else "invalid_scale")
    assert same.headers["x-m3-scale"] == "36"


def test_many_messages_of_one_role_are_joined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = []

    def counting(texts: Iterable[str]) -> str:
        joined.append("\n".join(texts))
        return joined[-1]

    monkeypatch.setattr(chat_module, "_joined", counting)
    words = 100
    with talking(app_of()) as http:
        response = chat(http, messages=[{"role": "user", "content": "word"}] * words)
    assert response.status_code == 200
    assert sum(map(len, joined)) <= 2 * words * len("word\n")


def test_unknown_fields_are_ignored_and_another_content_type_is_not() -> None:
    with talking(app_of()) as http:
        assert chat(http, user="me", logit_bias={}, metadata={"a": 1}, n=1, stop=[]).status_code == 200
        form = http.post("/v1/chat/completions", files={"image": picture()}, data={"model": MODEL})
    assert form.status_code == 415


def test_markers_in_a_chat_are_text() -> None:
    text = "<image>" * 1000 + "</s> USER: ASSISTANT:"
    with talking(app_of(FakeEngine(context_tokens=8192), config=settings(max_question_chars=10_000))) as http:
        body = chat(http, messages=[user(text=text)], m3={"scale": 36}).json()
    assert body["usage"]["prompt_tokens_details"]["image_tokens"] == 36


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("marker", "status", "code"), [("[oom]", 503, "out_of_memory"), ("[exception]", 500, "engine_error")]
)
def test_a_fault_before_the_first_token_is_a_proper_error_also_of_a_stream(
    stream: bool, marker: str, status: int, code: str
) -> None:
    with talking(app_of(FakeEngine(faults=MARKERS))) as http:
        response = chat(http, messages=[user(text=f"What? {marker}")], stream=stream)
        assert chat(http, stream=stream).status_code == 200
    assert response.status_code == status
    assert error_of(response)["code"] == code
    assert (response.headers.get("x-should-retry") == "false") == (code == "out_of_memory")
