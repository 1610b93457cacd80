"""Chats with several images, each routed by itself, and with none."""

from __future__ import annotations

from typing import Any

import pytest

from m3_backbone.fake import FakeEngine
from m3_backbone.types import GenerationRequest
from tests.chatting import MODEL, asked, chat, events_of, image_part, user
from tests.serving import ScriptedRouter, app_of, data_uri, error_of, picture, settings, talking
from tests.test_router_service_answer import counter

TEXT = [{"role": "user", "content": "Say something."}]


def pictures(*details: str) -> list[dict[str, Any]]:
    """One message about pictures of different colours."""
    colours = ("red", "blue", "green", "white", "black")
    return [
        user(
            *(
                image_part(detail, data_uri(picture(colour)))
                for colour, detail in zip(colours, details, strict=False)
            )
        )
    ]


class Noting(FakeEngine):
    """The fake; it notes at which scales the images of each request are."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.scales: list[tuple[int, ...]] = []

    def generate(self, request: GenerationRequest, *, deadline: float | None = None) -> Any:
        self.scales.append(tuple(scale for _, scale in request.images))
        return super().generate(request, deadline=deadline)


def test_each_of_several_images_has_a_scale_and_the_facts_are_those_of_all() -> None:
    engine = Noting()
    with talking(app_of(engine, ScriptedRouter())) as http:
        response = chat(http, messages=pictures("auto", "low", "high"))
        metrics = http.get("/metrics").text
    body = response.json()
    assert engine.scales == [(36, 9, 36)]
    assert body["model"] == f"{MODEL}@36"
    assert response.headers["x-m3-scale"] == "36"
    assert response.headers["x-m3-visual-tokens"] == "81"
    assert body["usage"]["prompt_tokens_details"]["image_tokens"] == 81
    routing = body["m3_routing"]
    assert [image["scale"] for image in routing["images"]] == [36, 9, 36]
    assert (routing["visual_tokens"], routing["full_visual_tokens"]) == (81, 3 * 576)
    assert routing["flops"] < routing["full_flops"]
    assert routing["certified"] is False
    assert counter(metrics, "m3_decisions_total") == 3
    assert counter(metrics, "m3_visual_tokens_total") == 81
    assert counter(metrics, 'm3_stage_seconds_count{stage="generate"}') == 1


def test_images_of_several_messages_count_together_and_a_stream_says_the_same() -> None:
    messages = [*pictures("auto"), {"role": "assistant", "content": "Red."}, *pictures("low", "auto")]
    with talking(app_of(router=ScriptedRouter())) as http:
        whole = chat(http, messages=messages).json()
        chunks = events_of(http.post("/v1/chat/completions", json=asked(stream=True, messages=messages)))
    assert [image["scale"] for image in whole["m3_routing"]["images"]] == [36, 9, 36]
    assert chunks[-1]["m3_routing"]["images"] == whole["m3_routing"]["images"]


@pytest.mark.parametrize(
    ("m3", "scales"),
    [
        ({"scale": 144}, (144, 144)),
        ({"min_scale": 144}, (144, 144)),
        ({"max_visual_tokens": 40}, (9, 9)),
        ({"max_visual_tokens": 72}, (36, 36)),
        ({"token_budget": 3}, (1, 1)),
    ],
)
def test_limits_on_tokens_are_shared_by_the_images_of_a_request(
    m3: dict[str, Any], scales: tuple[int, int]
) -> None:
    engine = Noting()
    with talking(app_of(engine, ScriptedRouter())) as http:
        assert chat(http, messages=pictures("auto", "auto"), m3=m3).status_code == 200
    assert engine.scales == [scales]


def test_the_operators_budget_is_for_each_image() -> None:
    engine = Noting()
    with talking(app_of(engine, ScriptedRouter(), settings(token_budget=1))) as http:
        assert chat(http, messages=pictures("auto", "auto", "auto")).status_code == 200
    assert engine.scales == [(1, 1, 1)]


@pytest.mark.parametrize(
    ("m3", "param", "told"),
    [
        ({"token_budget": 1.5}, "token_budget", "token_budget 0.75 cannot be met"),
        ({"min_scale": 36, "max_visual_tokens": 40}, "min_scale", "max_visual_tokens 20 exclude each other"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_limit_that_a_share_cannot_meet_is_refused_and_the_share_is_named(
    m3: dict[str, Any], param: str, told: str, stream: bool
) -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        response = chat(http, messages=pictures("auto", "auto"), m3=m3, stream=stream)
        alone = chat(http, messages=pictures("auto"), m3=m3, stream=stream)
    error = error_of(response)
    assert (response.status_code, error["param"]) == (400, param)
    assert told in error["message"]
    assert "Each of 2 images has its share of" in error["message"]
    assert alone.status_code == 200


def test_a_ceiling_too_low_for_the_images_is_refused_unless_a_scale_is_forced() -> None:
    engine = Noting()
    with talking(app_of(engine, ScriptedRouter())) as http:
        low = chat(http, messages=pictures("auto", "auto"), m3={"max_visual_tokens": 1})
        forced = chat(http, messages=pictures("auto", "low"), m3={"max_visual_tokens": 1, "scale": 144})
        named = chat(http, messages=pictures("auto", "auto"), m3={"token_budget": 1}, model=f"{MODEL}@36")
    assert "max_visual_tokens 1 cannot be met by 2 images" in error_of(low)["message"]
    assert (forced.status_code, named.status_code) == (200, 200)
    assert engine.scales == [(144, 144), (36, 36)]


def test_the_operator_sets_how_many_images_there_may_be() -> None:
    with talking(app_of(config=settings(max_images=1))) as http:
        assert chat(http).status_code == 200
        response = chat(http, messages=pictures("auto", "auto"))
    assert error_of(response)["code"] == "too_many_images"
    assert "may hold 1 image." in response.text


@pytest.mark.parametrize("m3", [None, {"scale": 9, "token_budget": 20}])
def test_a_chat_without_an_image_is_answered_and_says_that_nothing_was_routed(m3: Any) -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        response = chat(http, messages=TEXT, m3=m3)
        chunks = events_of(http.post("/v1/chat/completions", json=asked(stream=True, messages=TEXT)))
        metrics = http.get("/metrics").text
    body = response.json()
    assert response.status_code == 200
    assert body["model"] == MODEL
    assert body["choices"][0]["message"]["content"]
    assert body["usage"]["prompt_tokens_details"]["image_tokens"] == 0
    assert (body["m3_routing"]["scale"], body["m3_routing"]["policy"]) == (0, "none")
    assert body["m3_routing"]["images"] == []
    assert body["m3_routing"]["flops"] == body["m3_routing"]["full_flops"] > 0
    assert {name: value for name, value in response.headers.items() if name.startswith("x-m3-")} == {
        "x-m3-scale": "0",
        "x-m3-visual-tokens": "0",
        "x-m3-decision": "none",
        "x-m3-certified": "false",
        "x-m3-router-version": "scripted",
    }
    assert chunks[-1]["m3_routing"]["images"] == []
    assert counter(metrics, "m3_decisions_total") == 0


def test_what_is_wrong_is_refused_without_an_image_too() -> None:
    with talking(app_of()) as http:
        assert error_of(chat(http, messages=TEXT, m3={"scale": 37}))["code"] == "invalid_scale"
        assert error_of(chat(http, messages=TEXT, model=f"{MODEL}@37"))["code"] == "invalid_scale"
