"""The description of the API: committed, complete, and true of the app."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from m3_backbone.fake import FakeEngine
from router.cli.openapi import document
from router.service import bodies
from router.service.chat_bodies import ChatCompletion
from router.service.keys import OPEN
from tests.chatting import chat
from tests.commandline import runner
from tests.serving import ScriptedRouter, app_of, talking

COMMITTED = Path(__file__).parents[1] / "docs" / "openapi.json"


@cache
def api() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(document())
    return parsed


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in api()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_the_committed_description_is_that_of_the_app() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == document(), (
        "The HTTP API has changed. If that is meant, run `make openapi` and commit docs/openapi.json."
    )


def test_the_command_prints_it_whatever_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner(monkeypatch, capsys)
    monkeypatch.setenv("M3_DECISION_LOG", "/nowhere/decisions.jsonl")
    monkeypatch.setenv("M3_PORT", "no number")
    assert run("openapi").out == document()


def test_headers_that_clients_send_and_read_are_told() -> None:
    for _, _, operation in operations():
        for status, response in operation["responses"].items():
            assert "x-request-id" in response["headers"]
            assert ("Retry-After" in response["headers"]) == (status in ("429", "503"))
    operation = api()["paths"]["/v1/chat/completions"]["post"]
    assert [(each["in"], each["name"]) for each in operation["parameters"]] == [("header", "x-m3-scale")]
    with talking(app_of(router=ScriptedRouter())) as http:
        given = {name for name in chat(http).headers if name.startswith("x-m3-")}
    assert given == {name for name in operation["responses"]["200"]["headers"] if name.startswith("x-m3-")}


def test_every_endpoint_says_what_it_does_gives_and_may_refuse() -> None:
    for _, path, operation in operations():
        assert operation["summary"]
        assert operation.get("description"), path
        for status, response in operation["responses"].items():
            assert response["description"]
            (content,) = [c for t, c in response["content"].items() if t != "text/event-stream"]
            assert status != "422"
            if status >= "400":
                assert content["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
            elif path not in ("/metrics", "/health"):
                assert content["schema"]["$ref"]
        needed = {"400", "431", "500"} | (set() if path in OPEN else {"401", "429", "503"})
        assert needed <= set(operation["responses"]), path
        assert ("security" in operation) == (path not in OPEN)


def test_every_reference_can_be_followed_and_nothing_is_described_in_vain() -> None:
    names = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', document()))
    assert names == set(api()["components"]["schemas"])


def test_every_example_of_a_request_is_answered_with_what_is_described() -> None:
    tried = 0
    with talking(app_of(FakeEngine(name="tiny"), ScriptedRouter())) as http:
        for method, path, operation in operations():
            content = operation.get("requestBody", {}).get("content", {})
            for example in content.get("application/json", {}).get("examples", {}).values():
                assert example["summary"]
                response = http.request(method, path, json=example["value"])
                assert response.status_code == 200, (path, response.text)
                assert response.json().get("failed", 0) == 0
                tried += 1
    assert tried >= 11


def test_every_example_of_a_response_is_one() -> None:
    tried = 0
    for name, schema in api()["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            model = getattr(bodies, name)
            assert model.model_validate_json(json.dumps(example)).model_dump() == example
            tried += 1
    assert tried >= 6


@pytest.mark.parametrize("messages", ["an image", "no image"])
def test_a_chat_is_answered_in_the_shape_that_is_described(messages: str) -> None:
    text: dict[str, Any] = {"messages": [{"role": "user", "content": "What?"}]}
    with talking(app_of(router=ScriptedRouter())) as http:
        body = chat(http, **(text if messages == "no image" else {})).json()
    assert ChatCompletion.model_validate(body).model_dump() == body


def test_what_is_answered_otherwise_is_described_too() -> None:
    with talking(app_of(router=ScriptedRouter())) as http:
        for path, model in (("/ready", bodies.ReadyBody), ("/v1/models", bodies.ModelsBody)):
            body = http.get(path).json()
            assert model.model_validate(body).model_dump() == body
