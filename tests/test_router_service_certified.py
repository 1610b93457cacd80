"""Certified accuracy drops over HTTP: who gets one, what is said of it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from router.certificates import Certificate, Certificates, Setting, TokenBounds
from router.constraints import LossName
from router.settings import Settings, SettingsError
from tests.chatting import chat, image_part, user
from tests.serving import ScriptedRouter, app_of, error_of, good, picture, settings, talking


def _certificate(epsilon: float, price: float | None, loss: LossName = "regret") -> Certificate:
    setting = None if price is None else Setting(price)
    return Certificate(loss, epsilon, 0.05, 1250, 299, setting, epsilon / 2, 40.0)


CERTIFICATES = Certificates(
    accuracy=(_certificate(0.01, None), _certificate(0.02, 0.001), _certificate(0.05, 0.02, "net")),
    tokens=(TokenBounds(0.05, 1250, (576.0, 60.0, 1.0)),),
    max_new_tokens=16,
)
REGRET = ": it has them of regret for 0.01, 0.02 at delta 0.05"
ROUTER = ScriptedRouter(certificates=CERTIFICATES)


def routed(config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    with talking(app_of(router=ROUTER, config=settings().model_copy(update=config or {}))) as http:
        response = http.post("/v1/route", json=good(**fields))
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def test_a_drop_that_is_certified_is_answered_with_its_setting_and_says_so() -> None:
    body = routed(accuracy_drop=0.03, delta=0.1)
    assert body["scale"] == 36
    assert body["decision"]["policy"] == "accuracy_drop"
    assert body["decision"]["certified"] is True
    assert body["decision"]["reason"].startswith(
        "accuracy drop 0.03 (regret, delta 0.1), snapped from 0.03 to 0.02 and from delta 0.1 to 0.05: the "
        "certified setting (regret at most 0.02, from 1250 images, 40 visual tokens on average, "
    )
    assert routed(accuracy_drop=0.05, loss="net")["scale"] == 9


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"accuracy_drop": 0.01}, "nothing cheaper passed for a drop of 0.01 on 1250 images"),
        ({"accuracy_drop": 0.001}, f"no certificate of this router covers that{REGRET}"),
        ({"accuracy_drop": 0.02, "delta": 0.01}, f"no certificate of this router covers that{REGRET}"),
        ({"accuracy_drop": 0.3, "loss": "agreement"}, "no certificate of this router covers that"),
    ],
)
def test_what_is_not_certified_gets_the_full_scale_with_the_reason(fields: dict[str, Any], why: str) -> None:
    body = routed(**fields)
    assert body["scale"] == 576
    assert body["decision"]["certified"] is False
    assert body["decision"]["reason"].endswith(f"the largest scale allowed, because {why}")


@pytest.mark.parametrize(
    "more", [{"min_scale": 9}, {"max_visual_tokens": 144}, {"scale": 36}, {"max_visual_tokens": 576}]
)
def test_floors_ceilings_and_forced_scales_are_not_certified(more: dict[str, Any]) -> None:
    assert routed(accuracy_drop=0.02, **more)["decision"]["certified"] is False


def test_a_token_budget_with_a_delta_keeps_to_its_bound() -> None:
    empirical, bounded = routed(token_budget=50), routed(token_budget=50, delta=0.05)
    assert (empirical["scale"], empirical["decision"]["certified"]) == (36, False)
    assert (bounded["scale"], bounded["decision"]["certified"]) == (1, True)


def test_the_operator_sets_the_drop_of_requests_that_name_no_target() -> None:
    body = routed({"accuracy_drop": 0.05, "loss": "net", "delta": 0.1})
    assert (body["scale"], body["decision"]["certified"]) == (9, True)
    assert "(net, delta 0.1)" in body["decision"]["reason"]
    assert routed({"accuracy_drop": 0.05}, token_budget=50)["decision"]["policy"] == "token_budget"
    assert routed({"token_budget": 50}, accuracy_drop=0.02)["decision"]["policy"] == "accuracy_drop"
    assert routed({"delta": 0.01}, accuracy_drop=0.02)["scale"] == 576


def test_an_operator_may_set_one_target() -> None:
    with pytest.raises(SettingsError, match=r"^M3_PRICE and M3_ACCURACY_DROP are both set\. Set one of them"):
        Settings.load(price=0.1, accuracy_drop=0.1)
    with pytest.raises(SettingsError, match=r"M3_TOKEN_BUDGET, M3_PRICE and M3_ACCURACY_DROP are all set"):
        Settings.load(token_budget=9, price=0.1, accuracy_drop=0.1)
    with pytest.raises(SettingsError, match="M3_LOSS has value 'harm'"):
        Settings.load(loss="harm")


def test_answers_in_another_dtype_than_the_calibrations_are_not_certified_and_the_reason_says_so() -> None:
    asked: tuple[dict[str, Any], ...] = ({"accuracy_drop": 0.02}, {"token_budget": 50, "delta": 0.05})
    for fields in asked:
        there, here = routed(**fields), routed({"dtype": "bfloat16"}, **fields)
        assert (here["scale"], there["decision"]["certified"]) == (there["scale"], True)
        assert here["decision"]["certified"] is False
        assert "not certified of answers in bfloat16, only in float32" in here["decision"]["reason"]


def test_what_vllm_is_told_may_change_the_numbers_of_answers_and_then_nothing_is_certified() -> None:
    for engine, told, certified in (
        ("vllm", "seed=1 tensor_parallel_size=2", True),
        ("vllm", "seed=1 quantization=fp8", False),
        ("torch", "quantization=fp8", True),  # nobody is told
    ):
        decision = routed({"engine": engine, "vllm": told}, accuracy_drop=0.02)["decision"]
        assert decision["certified"] is certified
        why = "not certified of answers in float32 with quantization=fp8, only in float32"
        assert (why in decision["reason"]) is not certified


def test_answers_that_may_be_cut_shorter_than_the_calibrations_are_not_certified() -> None:
    assert routed({"max_new_tokens": 16}, accuracy_drop=0.02)["decision"]["certified"] is True
    assert routed({"max_new_tokens": 15}, accuracy_drop=0.02)["decision"]["certified"] is False


def test_without_a_router_a_drop_is_the_full_scale() -> None:
    with talking(app_of()) as http:
        body = http.answer(accuracy_drop=0.02).json()
    assert body["scale"] == 576
    assert body["decision"]["certified"] is False


def test_a_form_takes_the_same_fields() -> None:
    with talking(app_of(router=ROUTER)) as http:
        response = http.post(
            "/v1/answer",
            files={"image": picture()},
            data={"question": "What colour?", "accuracy_drop": "0.02", "delta": "0.05", "loss": "regret"},
        )
    assert response.json()["decision"]["certified"] is True, response.text


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"accuracy_drop": 0}, "invalid_accuracy_drop", "accuracy_drop"),
        ({"accuracy_drop": 1.0}, "invalid_accuracy_drop", "accuracy_drop"),
        ({"accuracy_drop": "0.02"}, "invalid_accuracy_drop", "accuracy_drop"),
        ({"accuracy_drop": True}, "invalid_accuracy_drop", "accuracy_drop"),
        ({"accuracy_drop": 0.02, "delta": -0.5}, "invalid_delta", "delta"),
        ({"accuracy_drop": 0.02, "loss": "harm"}, "invalid_loss", "loss"),
        ({"accuracy_drop": 0.02, "loss": ["net"]}, "invalid_loss", "loss"),
        ({"accuracy_drop": 0.02, "token_budget": 36}, "invalid_constraint", "token_budget"),
        ({"delta": 0.05}, "invalid_constraint", "delta"),
        ({"loss": "net"}, "invalid_constraint", "loss"),
    ],
)
def test_a_drop_that_means_nothing_is_refused_by_name(fields: dict[str, Any], code: str, param: str) -> None:
    with talking(app_of(router=ROUTER)) as http:
        response = http.answer(**fields)
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize(
    ("more", "certified", "scale"),
    [
        ({}, "true", 36),
        ({"temperature": 0, "max_tokens": 16}, "true", 36),
        ({"temperature": 0.5}, "false", 36),
        ({"stop": "."}, "false", 36),
        ({"max_tokens": 8}, "false", 36),
    ],
)
def test_a_chat_is_certified_when_it_is_greedy_and_whole(
    more: dict[str, Any], certified: str, scale: int
) -> None:
    with talking(app_of(router=ROUTER)) as http:
        response = chat(http, m3={"accuracy_drop": 0.02}, **more)
    assert response.headers["x-m3-certified"] == certified, response.text
    assert response.headers["x-m3-decision"] == "accuracy_drop"
    assert int(response.headers["x-m3-scale"]) == scale


def test_other_kinds_of_prompts_than_one_question_about_one_image_get_the_full_scale() -> None:
    several: list[list[dict[str, Any]]] = [
        [{"role": "system", "content": "Be brief."}, user()],
        [user(), {"role": "assistant", "content": "Red."}, {"role": "user", "content": "And this?"}],
        [user(image_part(), image_part())],
    ]
    with talking(app_of(router=ROUTER)) as http:
        for messages in several:
            response = chat(http, messages=messages, m3={"accuracy_drop": 0.02})
            assert response.headers["x-m3-certified"] == "false", response.text
            assert response.headers["x-m3-scale"] == "576"
            assert "one question about one image" in response.json()["m3_routing"]["reason"]
