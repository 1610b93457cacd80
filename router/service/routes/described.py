"""What OpenAPI says of the bodies that routes read themselves, and of the errors that these may give.

Routes read their bodies with `router.service.body` (limits, duplicate keys, our error codes), so FastAPI
does not know them.
"""

from __future__ import annotations

from typing import Any

from router.service.bodies import ErrorBody
from router.service.schemas import AnswersRequest, AskBody, ChatBody

EXAMPLE_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQMAAAD+wSzIAAAAA1BMVEXIHh4WiPieAAAAC0lEQVR42mNg"
    "QAUAABAAAaoZ+IIAAAAASUVORK5CYII="
)
"""A red square."""

_QUESTION = "What colour is this?"
_PLAIN: dict[str, Any] = {"image": EXAMPLE_IMAGE, "question": _QUESTION}
_ASKING: dict[str, Any] = {
    "routed": {"summary": "The router chooses the scale", "value": _PLAIN},
    "limited": {"summary": "At most 36 visual tokens", "value": {**_PLAIN, "max_visual_tokens": 36}},
    "forced": {"summary": "At scale 9, whatever the router says", "value": {**_PLAIN, "scale": 9}},
}
_ITEMS: dict[str, Any] = {
    "two": {"summary": "Two questions", "value": {"items": [_PLAIN, {**_PLAIN, "question": "Is it round?"}]}}
}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A form has no null: there a field is given or left out."""
    if "anyOf" not in schema:
        return schema
    kinds = [kind for kind in schema["anyOf"] if kind != {"type": "null"}]
    given = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    return {**given, **{key: value for key, value in schema.items() if key not in ("anyOf", "default")}}


def _json(schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema, "examples": examples}}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


_FIELDS = AskBody.model_json_schema()
_UPLOAD = {
    **_FIELDS,
    "properties": {
        **{name: _without_null(schema) for name, schema in _FIELDS["properties"].items()},
        "image": {"type": "string", "format": "binary"},
    },
}
_BATCH = AnswersRequest.model_json_schema()
del _BATCH["$defs"]  # in place: nothing at the root of the document refers to it
_BATCH["properties"]["items"]["items"] = _FIELDS
_CHAT = ChatBody.model_json_schema()
_CHAT["properties"]["m3"] = {"anyOf": [_CHAT.pop("$defs")["ChatExtras"], {"type": "null"}], "default": None}

ASK = _body({**_json(_FIELDS, _ASKING), "multipart/form-data": {"schema": _UPLOAD}})
"""``openapi_extra`` of whatever takes one question about one image."""

BATCH = _body(_json(_BATCH, _ITEMS))
CHAT = {
    "parameters": [
        {
            "name": "x-m3-scale",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "Forces a scale, as `m3.scale` and NAME@SCALE do; two different ones are refused",
        }
    ],
    **_body(
        _json(
            _CHAT,
            {
                "image": {
                    "summary": "A question about an image",
                    "value": {
                        "model": "tiny",
                        "messages": [
                            {
                                "role": "user",
                                "content": [
                                    {"type": "text", "text": _QUESTION},
                                    {"type": "image_url", "image_url": {"url": EXAMPLE_IMAGE}},
                                ],
                            }
                        ],
                        "m3": {"max_visual_tokens": 144},
                    },
                }
            },
        )
    ),
}

CHAT_HEADERS: dict[str, Any] = {
    name: {"description": what, "schema": {"type": "string"}}
    for name, what in {
        "x-m3-scale": "The scale; of several images the largest, without one 0",
        "x-m3-visual-tokens": "Visual tokens",
        "x-m3-decision": "The policy that chose the scale",
        "x-m3-certified": "Whether what was asked for is proven of requests like this one",
        "x-m3-router-version": "The router that decided, or none",
    }.items()
}
"""Routing facts of a chat completion, streamed or not."""

ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorBody} for status in (408, 413, 415, 504)}
"""Of endpoints that read a body and ask the engine; `router.service.description` adds what all may give."""
