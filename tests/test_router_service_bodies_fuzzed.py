"""Bodies that are nearly right, and some that are nothing at all: answered or refused, never a fault."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from router.errors import InvalidRequest
from router.service.body import image_bytes, parse_json
from tests.chatting import asked, image_part, user
from tests.serving import ScriptedRouter, Talk, app_of, error_of, good, talking
from tests.serving import settings as service_settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
FUZZED = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from([0, 1, 9, 36, 576, -1, 0.5, 2**63])
TEXTS = st.text(max_size=20) | st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\ud800",
        "<image>",
        "</s>",
        "data:",
        "data:image/png;base64,",
        "http://a/b.png",
        "tiny@36",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
BODIES: dict[str, Any] = {
    "/v1/answer": good(scale=9, min_scale=9, max_visual_tokens=36, token_budget=40.0),
    "/v1/route": good(token_budget=40.0),
    "/v1/compare": good(),
    "/v1/answers": {"items": [good(), good(scale=9)]},
    "/v1/chat/completions": asked(
        messages=[
            {"role": "system", "content": "Short."},
            user(image_part("low"), image_part("high")),
            {"role": "assistant", "content": "No."},
            {"role": "user", "content": "Why?"},
        ],
        m3={"min_scale": 1, "max_visual_tokens": 300},
        stream=False,
        stream_options={"include_usage": True},
        max_tokens=8,
        temperature=0.5,
        top_p=0.9,
        seed=1,
        stop=["."],
    ),
}


@pytest.fixture(scope="module")
def http() -> Iterator[Talk]:
    with talking(app_of(router=ScriptedRouter(), config=service_settings(watch_share=0.2))) as talk:
        yield talk


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside of ``value``."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


def changed(body: Any, where: float, value: Any) -> Any:
    """``body`` with ``value`` at one place; a value of Ellipsis takes away what is there."""
    body = copy.deepcopy(body)
    found = places(body)
    container, key = found[int(where * len(found))]
    if value is ...:
        del container[key]
    else:
        container[key] = value
    return body


@pytest.mark.parametrize("path", BODIES)
@given(where=st.floats(0, 1, exclude_max=True), value=VALUES | st.just(...))
@FUZZED
def test_a_body_that_is_nearly_right_is_answered_or_refused(
    http: Talk, path: str, where: float, value: Any
) -> None:
    sent = json.dumps(changed(BODIES[path], where, value))
    response = http.post(path, content=sent, headers={"content-type": "application/json"})
    if response.status_code == 200:
        assert response.content
        return
    assert response.status_code in (400, 404), (sent, response.text)
    error_of(response)


@pytest.mark.parametrize("path", BODIES)
@given(
    body=st.binary(max_size=200),
    media=st.sampled_from(["application/json", "multipart/form-data; boundary=x"]),
)
@example(
    body=b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n\r\n--x--', media="multipart/form-data"
)
@FUZZED
def test_any_bytes_are_refused_in_one_shape(http: Talk, path: str, body: bytes, media: str) -> None:
    response = http.post(path, content=body, headers={"content-type": media})
    assert response.status_code in (400, 415), response.text
    error_of(response)


@given(st.binary(max_size=300) | VALUES.map(lambda value: json.dumps(value).encode()))
@FUZZED
def test_any_bytes_are_a_json_object_or_refused(body: bytes) -> None:
    with suppress(InvalidRequest):
        assert isinstance(parse_json(body), dict)


@given(VALUES | st.text() | st.text().map(lambda text: f"data:image/png;base64,{text}"))
@FUZZED
def test_any_value_of_an_image_is_bytes_or_refused(value: Any) -> None:
    with suppress(InvalidRequest):
        assert isinstance(image_bytes(value), bytes)


def test_the_next_good_request_is_answered(http: Talk) -> None:
    assert http.answer().status_code == 200
