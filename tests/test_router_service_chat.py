"""Chat completions: the shape that OpenAI's clients expect, and our routing facts beside it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from m3_backbone.fake import MARKERS, FakeEngine
from tests.serving import ScriptedRouter, Talk, app_of, data_uri, error_of, picture, settings, talking
from tests.test_router_service_answer import counter

MODEL = FakeEngine().name


def image_part(detail: str | None = None, url: str | None = None) -> dict[str, Any]:
    inner = {"url": data_uri(picture()) if url is None else url}
    return {"type": "image_url", "image_url": inner if detail is None else {**inner, "detail": detail}}


def user(*parts: dict[str, Any], text: str = "What colour is this?") -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}, *(parts or (image_part(),))]}


def asked(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [user()], **more}


def chat(http: Talk, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    return http.post("/v1/chat/completions", json=asked(**more), headers=headers)


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream, after checking how they are framed."""
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = response.text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def test_a_completion_has_openais_shape_and_our_routing_facts() -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        response = chat(http)
        own = http.answer().json()
    body = response.json()
    assert response.status_code == 200
    assert body["object"] == "chat.completion"
    assert body["id"] == f"chatcmpl-{response.headers['x-request-id']}"
    assert body["model"] == f"{MODEL}@36"
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": own["answer"], "refusal": None}
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["image_tokens"] == 36
    routing = body["m3_routing"]
    assert (routing["scale"], routing["visual_tokens"], routing["full_visual_tokens"]) == (36, 36, 576)
    assert routing["probabilities"] == own["decision"]["probabilities"]
    assert [step["scale"] for step in routing["passes"]] == [36]
    assert {name: value for name, value in response.headers.items() if name.startswith("x-m3-")} == {
        "x-m3-scale": "36",
        "x-m3-visual-tokens": "36",
        "x-m3-decision": "utility",
        "x-m3-certified": "false",
        "x-m3-router-version": "scripted",
    }


def test_a_stream_gives_the_same_answer_in_pieces_and_usage_when_it_is_asked_for() -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        whole = chat(http).json()
        response = chat(http, stream=True)
        counted = chat(http, stream=True, stream_options={"include_usage": True})
        metrics = http.get("/metrics").text
    chunks = events_of(response)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    text = "".join(delta.get("content", "") for delta in deltas)
    assert text == whole["choices"][0]["message"]["content"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-2:] == [None, "stop"]
    assert chunks[-1]["m3_routing"]["scale"] == 36
    assert "usage" not in chunks[-1]
    assert response.headers["x-m3-scale"] == "36"
    *_, last = events_of(counted)
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    assert counter(metrics, 'm3_requests_total{endpoint="/v1/chat/completions",status="200"}') == 3
    assert counter(metrics, "m3_visual_tokens_total") == 3 * 36


@pytest.mark.parametrize("scale", [1, 9, 36, 144, 576])
def test_a_scale_is_forced_by_body_header_or_name(scale: int) -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        responses = [
            chat(http, m3={"scale": scale}),
            chat(http, headers={"x-m3-scale": str(scale)}),
            chat(http, model=f"{MODEL}@{scale}"),
            chat(http, model=f"{MODEL}@{scale}", m3={"scale": scale}, headers={"x-m3-scale": str(scale)}),
        ]
    for response in responses:
        assert response.json()["m3_routing"]["scale"] == scale, response.text
        assert response.headers["x-m3-decision"] == "fixed"
    assert len({response.json()["choices"][0]["message"]["content"] for response in responses}) == 1


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"x-m3-scale": "9"}, {"m3": {"scale": 36}}),
        ({"x-m3-scale": "9"}, {"model": f"{MODEL}@36"}),
        ({}, {"m3": {"scale": 36}, "model": f"{MODEL}@9"}),
    ],
)
def test_two_different_forced_scales_are_a_conflict(headers: dict[str, str], fields: dict[str, Any]) -> None:
    with talking(app_of()) as http:
        response = chat(http, headers, **fields)
    assert response.status_code == 400
    assert error_of(response)["code"] == "conflicting_scale"


def test_limits_of_m3_bound_the_choice_and_automatic_is_a_name_too() -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        assert chat(http, model=f"{MODEL}@auto").json()["model"] == f"{MODEL}@36"
        assert chat(http, m3={"max_visual_tokens": 20}).headers["x-m3-scale"] == "9"
        assert chat(http, m3={"min_scale": 144}).headers["x-m3-scale"] == "144"
        assert chat(http, m3={"token_budget": 1.5}).headers["x-m3-decision"] == "token_budget"
        assert chat(http, m3=None, stream=None, seed=None).headers["x-m3-scale"] == "36"


def test_low_detail_is_at_most_scale_9_whatever_the_views_and_high_is_the_operators_to_decide() -> None:
    def scale_of(http: Talk, detail: str, **more: Any) -> str:
        return str(chat(http, messages=[user(image_part(detail))], **more).headers["x-m3-scale"])

    with talking(app_of(FakeEngine(views=5), ScriptedRouter())) as http:
        assert scale_of(http, "auto") == scale_of(http, "high")
        assert scale_of(http, "low") == "9"
        assert scale_of(http, "low", m3={"scale": 144}) == "144"
        conflict = chat(http, messages=[user(image_part("low"))], m3={"min_scale": 36})
        assert error_of(conflict)["code"] == "conflicting_constraints"
    with talking(app_of(router=ScriptedRouter(), config=settings(detail_high="full"))) as http:
        assert (scale_of(http, "auto"), scale_of(http, "high")) == ("36", "576")
        assert scale_of(http, "high", m3={"scale": 9}) == "9"


def test_every_name_of_the_model_is_listed_and_can_be_looked_up() -> None:
    with talking(app_of()) as http:
        listed = http.get("/v1/models").json()
        names = [entry["id"] for entry in listed["data"]]
        assert listed["object"] == "list"
        assert names[:3] == [MODEL, f"{MODEL}@auto", f"{MODEL}@1"]
        for name in names:
            assert http.get(f"/v1/models/{name}").json()["id"] == name
            assert chat(http, model=name).status_code == 200
        missing = http.get("/v1/models/gpt-4o")
    assert missing.status_code == 404
    assert error_of(missing)["code"] == "model_not_found"


def test_a_conversation_goes_on_and_what_a_system_says_comes_first() -> None:
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [image_part()]},
        {"role": "user", "content": "What is this?"},
        {"role": "assistant", "content": "A square."},
        {"role": "user", "content": [{"type": "text", "text": "What"}, {"type": "text", "text": "colour?"}]},
    ]
    seen: list[tuple[str, ...]] = []

    class Noting(FakeEngine):
        def generate(self, request: Any, *, deadline: float | None = None) -> Any:
            seen.append(request.turns)
            return super().generate(request, deadline=deadline)

    with talking(app_of(Noting())) as http:
        assert chat(http, messages=messages).status_code == 200
    assert seen == [("Be short.\nWhat is this?", "A square.", "What\ncolour?")]


def test_sampling_and_the_length_of_an_answer_are_passed_on_within_the_operators_limit() -> None:
    seen: list[Any] = []

    class Noting(FakeEngine):
        def generate(self, request: Any, *, deadline: float | None = None) -> Any:
            seen.append((request.max_new_tokens, request.temperature, request.top_p, request.seed))
            return super().generate(request, deadline=deadline)

    with talking(app_of(Noting(answer_tokens=30), config=settings(max_new_tokens=16))) as http:
        cut = chat(http)
        chat(http, max_tokens=10**6, temperature=1, top_p=0.5, seed=-7)
        chat(http, max_completion_tokens=4, max_tokens=8, temperature=0.7, top_p=0)
    assert cut.json()["choices"][0]["finish_reason"] == "length"
    assert seen == [(16, 0.0, 1.0, None), (16, 1.0, 0.5, -7), (4, 0.0, 1.0, None)]


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
