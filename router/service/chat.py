"""A body of OpenAI's chat completions -> what is asked of the pipeline.

Fields that are not known are ignored, as OpenAI's own service does; those whose neglect would change the
answer are refused (`_UNSUPPORTED`). Our own are in ``m3``, where unknown keys are refused.

Several images are routed one by one, each under its share of the request's limits on tokens; the engine puts
them all before the first words. A conversation without an image has nothing to route.

Not covered: tools, audio, several answers, formats.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from m3_backbone.scales import Ladder
from router.constraints import Constraints
from router.errors import ConstraintError, InvalidRequest
from router.service.body import image_bytes
from router.service.sampling import Sampling, sampling_of
from router.service.schemas import ChatExtras, constraints_of, question_of
from router.service.text import clean, shown
from router.settings import Settings

LOW_DETAIL = 9
"""The largest scale of an image with ``detail: low``."""

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_DETAILS = ("auto", "low", "high")
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "response_format": ({"type": "text"},),
}
"""Field -> the values that change nothing (null never does); others are refused."""


class UnknownModel(InvalidRequest):
    code = "model_not_found"
    status = 404
    param = "model"


@dataclass(frozen=True, slots=True)
class Chat:
    """A validated request. turns: user, assistant, ..., user. images: in the order of the messages."""

    turns: tuple[str, ...]
    images: tuple[tuple[bytes, Constraints], ...]
    sampling: Sampling
    stream: bool
    include_usage: bool


def chat_of(
    fields: dict[str, Any], scale_header: str | None, *, model: str, ladder: Ladder, settings: Settings
) -> Chat:
    """``fields`` of the body and the header ``x-m3-scale``, checked. Raises `InvalidRequest`."""
    suffix = scale_of_model(fields.get("model"), model, ladder)
    for name, harmless in _UNSUPPORTED.items():
        value = fields.get(name)
        if value is not None and not any(type(value) is type(v) and value == v for v in harmless):
            raise InvalidRequest(
                f"{name} has value {shown(value)}, which is not supported. Leave it out.",
                code="unsupported_parameter",
                param=name,
            )
    turns, pictures = _conversation(fields.get("messages"), settings)
    options = _object(fields, "stream_options")
    asked = _constraints(fields, suffix, scale_header, ladder, settings)
    return Chat(
        turns=turns,
        images=tuple(
            (image, _of_image(asked, detail, len(pictures), ladder, settings)) for image, detail in pictures
        ),
        sampling=sampling_of(fields, settings),
        stream=_flag(fields, "stream"),
        include_usage=_flag(options, "include_usage"),
    )


def scale_of_model(given: Any, model: str, ladder: Ladder) -> int | None:
    """The scale that a model's name forces (``NAME@36``); None for ``NAME`` and ``NAME@auto``.

    Raises `UnknownModel` for another name, `ConstraintError` for a scale that is not on the ladder.
    """
    if given is None:
        raise InvalidRequest("The field 'model' is missing.", code="missing_field", param="model")
    if not isinstance(given, str):
        raise InvalidRequest("The field 'model' must be a string.", code="invalid_type", param="model")
    names = [f"{model}{suffix}" for suffix in ("", "@auto", *(f"@{scale}" for scale in ladder))]
    if given in names[:2]:
        return None
    name, _, suffix = given.rpartition("@")
    if name != model or not suffix:
        raise UnknownModel(f"The model {shown(given)} is not served here. Served: {', '.join(names)}.")
    return _scale_in_text(suffix, "model", ladder)


def _scale_in_text(text: str, where: str, ladder: Ladder) -> int:
    for scale in ladder:
        if text == str(scale):
            return scale
    raise ConstraintError(
        f"{where} asks for scale '{clean(text)}'. Valid scales: {', '.join(map(str, ladder))}.",
        code="invalid_scale",
        param=where,
    )


def _constraints(
    fields: dict[str, Any],
    suffix: int | None,
    header: str | None,
    ladder: Ladder,
    settings: Settings,
) -> Constraints:
    """What body, header and model name ask for together."""
    extras = _object(fields, "m3")
    for name in extras:
        if name not in ChatExtras.model_fields:
            raise InvalidRequest(
                f"Unknown key '{clean(name)}' in 'm3'. Known: {', '.join(ChatExtras.model_fields)}.",
                code="unknown_field",
                param=f"m3.{clean(name)}",
            )
    asked = constraints_of(extras, ladder, settings)
    named = None if header is None else _scale_in_text(header.strip(), "x-m3-scale", ladder)
    forced = {scale for scale in (asked.scale, named, suffix) if scale is not None}
    if len(forced) > 1:
        raise ConstraintError(
            f"Scales {', '.join(map(str, sorted(forced)))} are forced at once: by 'm3', by the header "
            "x-m3-scale or by the model's name. Force one.",
            code="conflicting_scale",
            param="scale",
        )
    return replace(asked, scale=forced.pop() if forced else None)


def _of_image(
    asked: Constraints, detail: str, images: int, ladder: Ladder, settings: Settings
) -> Constraints:
    """``asked`` for one of ``images`` images: limits on a request's tokens are shared evenly."""
    scale, ceiling, budget = asked.scale, asked.max_visual_tokens, asked.token_budget
    if ceiling is not None and ceiling < images * ladder.smallest:
        raise ConstraintError(
            f"max_visual_tokens {ceiling} cannot be met by {images} images of at least {ladder.smallest} "
            "tokens each.",
            param="max_visual_tokens",
        )
    if scale is None and detail == "high" and settings.detail_high == "full":
        scale = ladder.full
    max_scale = max(LOW_DETAIL, ladder.smallest) if detail == "low" and scale is None else None
    if max_scale is not None and asked.min_scale is not None and asked.min_scale > max_scale:
        raise ConstraintError(
            f"min_scale {asked.min_scale} is above {max_scale}, the most that detail 'low' allows.",
            code="conflicting_constraints",
            param="min_scale",
        )
    return replace(
        asked,
        scale=scale,
        max_scale=max_scale,
        max_visual_tokens=None if ceiling is None else ceiling // images,
        token_budget=None if budget is None else budget / images,
    )


def _conversation(messages: Any, settings: Settings) -> tuple[tuple[str, ...], list[tuple[bytes, str]]]:
    """(turns, images with their detail). What a system says stands before the user's first words."""
    if not isinstance(messages, list) or not messages:
        raise _wrong("The field 'messages' must be a list of at least one message.", "missing_field")
    said: list[tuple[str, str]] = []  # (role, text); what one role says in a row is one turn
    system: list[str] = []
    pictures: list[tuple[bytes, str]] = []
    for message in messages:
        role = _role(message)
        if role is None:
            raise _wrong(f"Every message needs a role: {', '.join(_ROLES)}.", "invalid_role")
        text, images = _content(message.get("content"), role)
        pictures += images
        if len(pictures) > settings.max_images:
            most = settings.max_images
            raise _wrong(f"A conversation may hold {most} image{'s' * (most > 1)}.", "too_many_images")
        if role == "system":
            system.append(text)
        elif said and said[-1][0] == role:
            said[-1] = (role, _joined((said[-1][1], text)))
        else:
            said.append((role, text))
    if not said or said[0][0] != "user" or said[-1][0] != "user":
        raise _wrong("The first and the last message must be the user's.", "invalid_role")
    turns = [text for _, text in said]
    question_of(turns[-1], settings, "messages")
    turns[0] = _joined((*system, turns[0]))
    question_of("\n".join(turns), settings, "messages")  # the limit is on all of them together
    return tuple(turns), pictures


def _role(message: Any) -> str | None:
    name = message.get("role") if isinstance(message, dict) else None
    return _ROLES.get(name) if isinstance(name, str) else None


def _content(content: Any, role: str) -> tuple[str, list[tuple[bytes, str]]]:
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
            images.append(_image(part.get("image_url")))
        else:
            raise _wrong(
                f"A part of type {shown(part.get('type'))} cannot be read here. Send 'text' with a string, "
                "or 'image_url' in a message of the user.",
                "invalid_content",
            )
    return _joined(texts), images


def _image(value: Any) -> tuple[bytes, str]:
    url, detail = (value.get("url"), value.get("detail")) if isinstance(value, dict) else (value, None)
    if detail is not None and detail not in _DETAILS:
        raise _wrong(f"detail has value {shown(detail)}. Valid: {', '.join(_DETAILS)}.", "invalid_detail")
    if not isinstance(url, str):
        raise _wrong("An image_url must hold 'url', a data URI.", "invalid_type")
    return image_bytes(url), detail or "auto"


def _joined(texts: Iterable[str]) -> str:
    return "\n".join(text for text in texts if text)


def _object(fields: dict[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"The field '{name}' must be an object.", code="invalid_type", param=name)
    return value


def _flag(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"The field '{name}' must be true or false.", code="invalid_type", param=name)
    return bool(value)


def _wrong(message: str, code: str) -> InvalidRequest:
    return InvalidRequest(message, code=code, param="messages")
