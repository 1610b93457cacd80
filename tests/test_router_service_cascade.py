"""Cascades as they are served: passes over one encoding, all charged, and streams that take nothing back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from m3_backbone.fake import FakeEngine, FakeRunner
from m3_backbone.types import Generation, RouteInputs
from router.constraints import Constraints
from router.passes import cascades, reconsider
from router.policy import Decision
from tests.chatting import chat, events_of, image_part, user
from tests.serving import ScriptedRouter, app_of, error_of, good, picture, settings, talking
from tests.test_router_service_answer import counter


@dataclass
class Thinking(ScriptedRouter):
    """Thinks answers over by script: ``climb`` says which scale follows which. Without it, by threshold."""

    climb: dict[int, int] = field(default_factory=lambda: {36: 144})
    between: Callable[[], None] | None = None

    def first(self, inputs: RouteInputs, constraints: Constraints | None = None) -> Decision:
        decision = self.route(inputs, constraints)
        return replace(decision, policy="cascade") if cascades(constraints or Constraints()) else decision

    def reconsider(
        self,
        decision: Decision,
        generation: Generation,
        inputs: RouteInputs,
        constraints: Constraints,
        tried: Sequence[int] = (),
    ) -> Decision:
        if self.between is not None:
            self.between()
        if not self.climb:
            return reconsider(
                decision, generation, constraints, inputs.ladder, inputs.visual_tokens, None, tried
            )
        then = self.climb.get(decision.scale, decision.scale)
        return decision if then == decision.scale else replace(decision, scale=then, reason="scripted")


def test_both_passes_are_charged_and_the_picture_is_encoded_once() -> None:
    engine = FakeEngine()
    runner = engine.runner
    assert isinstance(runner, FakeRunner)
    with talking(app_of(engine, Thinking())) as http:
        once = http.answer().json()
        encoded = runner.encoded
        twice = http.answer(cascade=True).json()
        at_144 = http.answer(scale=144).json()
        metrics = http.get("/metrics").text
    assert runner.encoded <= encoded + 2  # once a request, or kept
    assert [each["scale"] for each in twice["passes"]] == [36, 144]
    assert (twice["scale"], twice["visual_tokens"]) == (144, 180)
    assert twice["answer"] == at_144["answer"]
    assert twice["decision"]["policy"] == "cascade"
    assert twice["decision"]["reason"] == "scripted"
    assert twice["decision"]["probabilities"] == once["decision"]["probabilities"]
    assert once["passes"] == [{"scale": 36, "visual_tokens": 36, "flops": once["cost"]["flops"]}]
    tower = runner.cost.tower_flops(1)
    assert twice["passes"][0] == once["passes"][0]
    assert twice["passes"][1]["flops"] == at_144["cost"]["flops"] - tower
    assert twice["cost"]["flops"] == once["cost"]["flops"] + at_144["cost"]["flops"] - tower
    assert twice["cost"]["full_visual_tokens"] == 576
    assert twice["cost"]["full_flops"] == at_144["cost"]["full_flops"]
    assert counter(metrics, "m3_visual_tokens_total") == 36 + 180 + 144
    assert counter(metrics, 'm3_decisions_total{policy="cascade",scale="144"}') == 1


def test_a_chat_tells_all_passes_and_its_headers_the_last() -> None:
    with talking(app_of(router=Thinking())) as http:
        one = chat(http).json()
        response = chat(http, m3={"cascade": True})
        last = chat(http, m3={"scale": 144}).json()
    body = response.json()
    assert body["model"].endswith("@144")
    assert response.headers["x-m3-scale"] == "144"
    assert response.headers["x-m3-visual-tokens"] == "180"
    assert response.headers["x-m3-decision"] == "cascade"
    assert response.headers["x-m3-certified"] == "false"
    assert [(each["scale"], each["visual_tokens"]) for each in body["m3_routing"]["passes"]] == [
        (36, 36),
        (144, 144),
    ]
    assert body["m3_routing"]["visual_tokens"] == 180
    assert body["choices"] == last["choices"]
    usage, parts = body["usage"], (one["usage"], last["usage"])
    assert usage["prompt_tokens_details"]["image_tokens"] == 144
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert usage[name] == sum(part[name] for part in parts)


def test_a_stream_sends_nothing_before_it_is_certain_which_answer_is_given() -> None:
    looks: list[int] = []
    with talking(app_of(router=Thinking(between=lambda: looks.append(1)))) as http:
        whole = chat(http, m3={"cascade": True}).json()
        response = chat(http, stream=True, stream_options={"include_usage": True}, m3={"cascade": True})
    chunks = events_of(response)
    assert response.headers["x-m3-scale"] == "144"
    assert len(looks) == 4  # two looks at either request
    text = "".join(each["choices"][0]["delta"].get("content", "") for each in chunks if each["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert {each["model"] for each in chunks} == {whole["model"]}
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks[-2]["m3_routing"]["passes"] == whole["m3_routing"]["passes"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"


def test_answers_are_thought_over_twice_at_most() -> None:
    with talking(app_of(router=Thinking(climb={}, score=(0.9, 0.5, 0.5, 0.5, 0.5)))) as http:
        body = http.answer(cascade=0.999).json()
    assert [each["scale"] for each in body["passes"]] == [1, 9, 36]
    assert body["decision"]["reason"].startswith("the answer at scale 9 was unsure (")


@pytest.mark.parametrize(
    "more",
    [
        {"m3": {"cascade": True, "scale": 36}},
        {"m3": {"cascade": True}, "temperature": 0.7},
        {"m3": {"cascade": True}, "stop": ["xyzzy"]},
        {"m3": {"cascade": True}, "messages": [user(image_part(), image_part())]},
        {"m3": {"cascade": False}},
        {},
    ],
)
def test_what_is_answered_once(more: dict[str, Any]) -> None:
    def never() -> None:
        raise AssertionError("thought over")

    with talking(app_of(router=Thinking(climb={}, between=never), config=settings(max_images=2))) as http:
        body = chat(http, **more).json()
    assert len(body["m3_routing"]["passes"]) == 1
    assert body["m3_routing"]["policy"] != "cascade"


def test_a_larger_scale_that_does_not_fit_leaves_the_answer_at_hand() -> None:
    engine = FakeEngine(context_tokens=120)
    with talking(app_of(engine, Thinking())) as http:
        kept = http.answer(cascade=True).json()
        once = http.answer().json()
        error_of(http.answer(scale=144))
    assert kept["answer"] == once["answer"]
    assert [each["scale"] for each in kept["passes"]] == [36]
    assert (kept["scale"], kept["visual_tokens"]) == (36, 36)


def test_a_first_pass_that_fails_is_an_error() -> None:
    with talking(app_of(FakeEngine(context_tokens=60), Thinking())) as http:
        assert error_of(http.answer(cascade=True))["code"] == "context_length_exceeded"


@pytest.mark.parametrize("how", ["broken", "late"])
def test_a_second_look_that_fails_or_is_late_leaves_the_answer_at_hand(how: str) -> None:
    def fails() -> None:
        if how == "broken":
            raise RuntimeError("xyzzy")
        release.wait(600)

    release = threading.Event()
    config = settings(route_timeout_s=60 if how == "broken" else 2)
    with talking(app_of(router=Thinking(between=fails), config=config)) as http:
        body = http.answer(cascade=True).json()
        release.set()
    assert [each["scale"] for each in body["passes"]] == [36]
    assert "fallback" not in body["decision"]


def test_a_router_that_does_not_think_and_none_at_all_answer_once() -> None:
    for router in (ScriptedRouter(), None):
        with talking(app_of(router=router)) as http:
            body = http.answer(cascade=0.9).json()
        assert len(body["passes"]) == 1


@pytest.mark.parametrize("value", [1, 0, 1.0, -0.5, "true", [True]])
def test_a_cascade_that_is_none_is_refused(value: Any) -> None:
    with talking(app_of(router=Thinking())) as http:
        error = error_of(http.answer(cascade=value))
        assert (error["code"], error["param"]) == ("invalid_cascade", "cascade")
        assert http.answer(cascade=True).status_code == 200


def test_a_form_says_it_in_words() -> None:
    with talking(app_of(router=Thinking())) as http:
        for text, passes in (("true", 2), ("0.9", 2), ("false", 1)):
            response = http.post(
                "/v1/answer",
                files={"image": picture()},
                data={"question": "What colour is this?", "cascade": text},
            )
            assert len(response.json()["passes"]) == passes, response.text


def test_the_operators_cascade_is_for_who_asks_for_nothing_else() -> None:
    with talking(app_of(router=Thinking(), config=settings(cascade=0.5))) as http:
        assert len(http.answer().json()["passes"]) == 2
        assert len(http.answer(cascade=False).json()["passes"]) == 1
        certified = http.answer(accuracy_drop=0.02).json()
        assert certified["decision"]["policy"] == "accuracy_drop"
        assert len(certified["passes"]) == 1


def test_what_a_client_asks_for_wins_over_the_operators_accuracy_drop() -> None:
    with talking(app_of(router=Thinking(), config=settings(accuracy_drop=0.02))) as http:
        assert http.answer(cascade=True).json()["decision"]["policy"] == "cascade"


def test_a_comparison_and_a_route_tell_of_the_first_decision() -> None:
    with talking(app_of(router=Thinking())) as http:
        compared = http.post("/v1/compare", json=good(cascade=True)).json()
        routed = http.post("/v1/route", json=good(cascade=True)).json()
    assert (compared["scale"], len(compared["answers"])) == (36, 5)
    assert (routed["scale"], routed["decision"]["policy"]) == (36, "cascade")


def test_items_of_a_batch_have_their_own_passes() -> None:
    with talking(app_of(router=Thinking())) as http:
        body = http.post("/v1/answers", json={"items": [good(), good(cascade=True)]}).json()
    assert [len(item["answer"]["passes"]) for item in body["results"]] == [1, 2]
