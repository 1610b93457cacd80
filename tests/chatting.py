"""Chats as OpenAI's clients send them."""

from __future__ import annotations

import json
from typing import Any

import httpx

from m3_backbone.fake import FakeEngine
from tests.serving import Talk, data_uri, picture

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
