"""Certified cascades over HTTP: what may be asked for together, and what is no longer what was certified."""

from __future__ import annotations

from typing import Any

import pytest

from m3_backbone.fake import FakeEngine
from router.settings import Settings, SettingsError
from tests.chatting import chat, events_of
from tests.serving import app_of, error_of, good, settings, talking
from tests.test_router_service_cascade import Thinking
from tests.test_router_service_certified import CERTIFICATES

DROP = {"cascade": True, "accuracy_drop": 0.02}


def thinking(**more: Any) -> Thinking:
    return Thinking(certificates=CERTIFICATES, **more)


def test_a_cascade_under_a_drop_is_certified_in_its_last_decision_too() -> None:
    with talking(app_of(router=thinking())) as http:
        body = http.answer(**DROP).json()
        told = chat(http, m3=DROP)
    assert [each["scale"] for each in body["passes"]] == [36, 144]
    assert (body["decision"]["policy"], body["decision"]["certified"]) == ("cascade", True)
    assert told.headers["x-m3-certified"] == "true"


def test_its_stream_is_held_back_whole_and_certified() -> None:
    with talking(app_of(router=thinking(), config=settings(stream_buffer=2))) as http:
        response = chat(http, stream=True, m3=DROP)
    assert response.headers["x-m3-certified"] == "true"
    assert response.headers["x-m3-decision"] == "cascade"
    assert len(events_of(response)[-1]["m3_routing"]["passes"]) == 2


def test_a_second_look_that_fails_is_not_what_was_certified() -> None:
    def fails() -> None:
        raise RuntimeError("xyzzy")

    with talking(app_of(router=thinking(between=fails))) as http:
        body = http.answer(**DROP).json()
    assert [each["scale"] for each in body["passes"]] == [36]
    assert (body["decision"]["policy"], body["decision"]["certified"]) == ("cascade", False)
    assert body["decision"]["reason"].endswith("; not certified, because the second look failed or was late")


def test_a_later_pass_that_fails_is_not_what_was_certified() -> None:
    with talking(app_of(FakeEngine(context_tokens=120), thinking())) as http:
        body = http.answer(**DROP).json()
    assert [each["scale"] for each in body["passes"]] == [36]
    assert body["decision"]["certified"] is False
    assert body["decision"]["reason"].endswith("; not certified, because another pass failed")


def test_the_first_decision_of_a_cascade_alone_is_not_certified() -> None:
    with talking(app_of(router=thinking())) as http:
        first = http.post("/v1/route", json=good(**DROP)).json()["decision"]
        once = http.post("/v1/route", json=good(accuracy_drop=0.02)).json()["decision"]
    assert (first["policy"], first["certified"]) == ("cascade", False)
    assert first["reason"] == once["reason"] + "; not certified, because no answer is thought over"
    assert (once["policy"], once["certified"]) == ("accuracy_drop", True)


@pytest.mark.parametrize(
    "fields",
    [
        {"cascade": 0.8, "accuracy_drop": 0.02},
        {"cascade": 0.8, "token_budget": 50},
        {"cascade": True, "token_budget": 50, "delta": 0.05},
    ],
)
def test_what_a_cascade_cannot_keep_is_refused(fields: dict[str, Any]) -> None:
    with talking(app_of(router=thinking())) as http:
        error = error_of(http.answer(**fields))
    assert (error["code"], error["param"]) == ("conflicting_constraints", "cascade")


def test_an_operator_may_have_all_requests_thought_over_under_a_drop() -> None:
    usual = settings(cascade=True, accuracy_drop=0.02)
    with talking(app_of(router=thinking(), config=usual)) as http:
        for fields, policy, certified in (
            ({}, "cascade", True),
            ({"cascade": True}, "cascade", True),
            ({"cascade": False}, "accuracy_drop", True),
            ({"cascade": 0.5}, "cascade", False),
            ({"accuracy_drop": 0.02}, "accuracy_drop", True),
        ):
            decision = http.answer(**fields).json()["decision"]
            assert (decision["policy"], decision["certified"]) == (policy, certified), fields


def test_an_operators_drop_holds_for_who_asks_for_a_cascade_but_for_no_threshold_of_his_own() -> None:
    with talking(app_of(router=thinking(), config=settings(accuracy_drop=0.02))) as http:
        kept = http.answer(cascade=True).json()["decision"]
        other = http.answer(cascade=0.5).json()["decision"]
        told = chat(http, m3={"cascade": True})
    assert (kept["policy"], kept["certified"]) == ("cascade", True)
    assert (other["policy"], other["certified"]) == ("cascade", False)
    assert told.headers["x-m3-certified"] == "true"


def test_an_operators_threshold_is_not_for_requests_with_a_budget_and_no_operator_may_set_both() -> None:
    with talking(app_of(router=thinking(), config=settings(cascade=0.999))) as http:
        assert http.answer(token_budget=50).json()["decision"]["policy"] == "token_budget"
        assert http.answer().json()["decision"]["policy"] == "cascade"
    with talking(app_of(router=thinking(), config=settings(token_budget=50))) as http:
        assert http.answer(cascade=0.999).json()["decision"]["policy"] == "cascade"
        assert http.answer(cascade=True).json()["decision"]["policy"] == "cascade"
    with talking(app_of(router=thinking(), config=settings(token_budget=50, cascade=True))) as http:
        assert http.answer(delta=0.05).json()["decision"]["policy"] == "token_budget"
    for more in ({"accuracy_drop": 0.02}, {"token_budget": 50.0}):
        with pytest.raises(SettingsError, match="M3_CASCADE is a threshold"):
            Settings.load(cascade=0.8, **more)
