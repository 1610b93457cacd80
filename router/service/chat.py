"""A body of OpenAI's chat completions -> what is asked of the pipeline.

Fields that are not known are ignored, as OpenAI's own service does; those whose neglect would change the
answer are refused (`_UNSUPPORTED`). Our own are in ``m3``, where unknown keys are refused.

Several images are routed one by one; the engine puts them all before the first words. A conversation without
an image has nothing to route.

Not covered: tools, audio, several answers, formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from m3_backbone.scales import Ladder
from router.constraints import Constraints
from router.errors import InvalidRequest
from router.service.body import picture_in
from router.service.chat_constraints import (
    constraints,
    object_in,
    of_image,
    scale_of_model,
    share_of,
    shared_limits,
)
from router.service.fetching import Fetcher
from router.service.results import Picture
from router.service.sampling import Sampling, sampling_of
from router.service.schemas import question_of
from router.service.text import shown
from router.settings import Settings

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_DETAILS = ("auto", "low", "high")
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "response_format": ({"type": "text"},),
}
"""Field -> the values that change nothing (null never does); others are refused."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A validated request. turns: user, assistant, ..., user. images: in the order of the messages.

    shared: the limits of which each of several images has its share.
    """

    turns: tuple[str, ...]
    images: tuple[tuple[Picture, Constraints], ...]
    sampling: Sampling
    stream: bool
    include_usage: bool
    shared: tuple[str, ...]


def chat_of(
    fields: dict[str, Any],
    scale_headers: Sequence[str],
    *,
    model: str,
    ladder: Ladder,
    settings: Settings,
    fetcher: Fetcher | None = None,
) -> Chat:
    """``fields`` of the body and every header ``x-m3-scale``, checked. Raises `InvalidRequest`.

    fetcher: of images by address; None: there are none.
    """
    suffix = scale_of_model(fields.get("model"), model, ladder)
    for name, harmless in _UNSUPPORTED.items():
        value = fields.get(name)
        if value is not None and not any(type(value) is type(v) and value == v for v in harmless):
            raise InvalidRequest(
                f"{name} has value {shown(value)}, which is not supported. Leave it out.",
                code="unsupported_parameter",
                param=name,
            )
    turns, pictures = _conversation(fields.get("messages"), settings, fetcher)
    options = object_in(fields, "stream_options")
    sampling = sampling_of(fields, settings)
    asked = replace(
        constraints(fields, suffix, scale_headers, ladder, settings),
        greedy=sampling.whole,
        kind="question" if len(fields["messages"]) == len(pictures) == 1 else "conversation",
        max_new_tokens=sampling.max_new_tokens,
    )
    shared = shared_limits(fields) if len(pictures) > 1 else ()
    if len(pictures) > 1:
        asked = share_of(asked, shared, len(pictures), ladder)
    return Chat(
        turns=turns,
        images=tuple((image, of_image(asked, detail, ladder, settings)) for image, detail in pictures),
        sampling=sampling,
        stream=_flag(fields, "stream"),
        include_usage=_flag(options, "include_usage"),
        shared=shared,
    )


def _conversation(
    messages: Any, settings: Settings, fetcher: Fetcher | None
) -> tuple[tuple[str, ...], list[tuple[Picture, str]]]:
    """(turns, images with their detail). What a system says stands before the user's first words."""
    if not isinstance(messages, list) or not messages:
        raise _wrong("The field 'messages' must be a list of at least one message.", "missing_field")
    said: list[tuple[str, list[str]]] = []  # (role, texts); what one role says in a row is one turn
    system: list[str] = []
    pictures: list[tuple[Picture, str]] = []
    for message in messages:
        role = _role(message)
        if role is None:
            raise _wrong(f"Every message needs a role: {', '.join(_ROLES)}.", "invalid_role")
        text, images = _content(message.get("content"), role, fetcher)
        pictures += images
        if len(pictures) > settings.max_images:
            most = settings.max_images
            raise _wrong(f"A conversation may hold {most} image{'s' * (most > 1)}.", "too_many_images")
        if role == "system":
            system.append(text)
        elif said and said[-1][0] == role:
            said[-1][1].append(text)
        else:
            said.append((role, [text]))
    if not said or said[0][0] != "user" or said[-1][0] != "user":
        raise _wrong("The first and the last message must be the user's.", "invalid_role")
    turns = [_joined(texts) for _, texts in said]  # once for each: a body may hold thousands of messages
    question_of(turns[-1], settings, "messages")
    turns[0] = _joined((*system, turns[0]))
    question_of("\n".join(turns), settings, "messages")  # the limit is on all of them together
    return tuple(turns), pictures


def _role(message: Any) -> str | None:
    name = message.get("role") if isinstance(message, dict) else None
    return _ROLES.get(name) if isinstance(name, str) else None


def _content(content: Any, role: str, fetcher: Fetcher | None) -> tuple[str, list[tuple[Picture, str]]]:
    if isinstance(content, str):
        return content, []
    if content is None and role == "assistant":
        return "", []
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise _wrong("A message's content must be a string or a list of parts.", "invalid_type")
    texts, images = [], []
    for part in content:
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif part.get("type") == "image_url" and role == "user":
            images.append(_image(part.get("image_url"), fetcher))
        else:
            raise _wrong(
                f"A part of type {shown(part.get('type'))} cannot be read here. Send 'text' with a string, "
                "or 'image_url' in a message of the user.",
                "invalid_content",
            )
    return _joined(texts), images


def _image(value: Any, fetcher: Fetcher | None) -> tuple[Picture, str]:
    url, detail = (value.get("url"), value.get("detail")) if isinstance(value, dict) else (value, None)
    if detail is not None and detail not in _DETAILS:
        raise _wrong(f"detail has value {shown(detail)}. Valid: {', '.join(_DETAILS)}.", "invalid_detail")
    if not isinstance(url, str):
        raise _wrong("An image_url must hold 'url', a data URI.", "invalid_type")
    return picture_in(url, fetcher), detail or "auto"


def _joined(texts: Iterable[str]) -> str:
    return "\n".join(text for text in texts if text)


def _flag(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"The field '{name}' must be true or false.", code="invalid_type", param=name)
    return bool(value)


def _wrong(message: str, code: str) -> InvalidRequest:
    return InvalidRequest(message, code=code, param="messages")
