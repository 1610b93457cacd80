"""Chat completions: the shape that OpenAI's clients expect, and our routing facts beside it."""

from __future__ import annotations

from typing import Any

import pytest

from m3_backbone.fake import FakeEngine
from tests.chatting import MODEL, chat, events_of, image_part, user
from tests.serving import ScriptedRouter, Talk, app_of, error_of, settings, talking
from tests.test_router_service_answer import counter


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
