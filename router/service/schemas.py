"""Requests of our own endpoints. Unknown fields are refused (OpenAI's endpoints ignore them).

Types are strict: ``"36"`` and ``true`` are no scales. Whether a number is a scale depends on the
checkpoint's ladder, so that check is `constraints_of`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from m3_backbone.scales import Ladder
from router.constraints import LOSSES, Constraints, LossName
from router.errors import ConstraintError, InvalidRequest
from router.service.text import clean, shown
from router.settings import Settings

_SCALE_HELP = "A scale of the model's ladder, see `scales` in /ready"
_DROP_HELP = "Expected loss against the full scale, as certified for the router"
_DELTA_HELP = "Chance that a certificate is wrong, of `accuracy_drop` or `token_budget`"
_CASCADE_HELP = (
    "Look at the answer, and answer again at a larger scale where that pays: true, as the router learned; "
    "a number above 0 and below 1, where the answer's tokens are less likely than that on average"
)
_Probability = Annotated[float, Field(gt=0, lt=1)]
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_LOSS_HELP = "What `accuracy_drop` counts: score lost, score lost less won, or answers that differ"


class AskBody(BaseModel):
    """The body of /v1/answer, /v1/route and /v1/compare: JSON, or multipart with ``image`` as a file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    image: Annotated[str, Field(description="A data URI or plain base64 of a JPEG, PNG, WEBP or GIF file")]
    question: Annotated[str, Field(description="Plain text; `<image>` and `</s>` in it stay text")]
    scale: Annotated[int | None, Field(description=f"Forced. {_SCALE_HELP}")] = None
    min_scale: Annotated[int | None, Field(description=f"Floor. {_SCALE_HELP}")] = None
    max_visual_tokens: Annotated[int | None, Field(description="Ceiling on this request's tokens")] = None
    token_budget: Annotated[float | None, Field(description="Mean visual tokens per request")] = None
    accuracy_drop: Annotated[float | None, Field(gt=0, lt=1, description=_DROP_HELP)] = None
    delta: Annotated[float | None, Field(gt=0, lt=1, description=_DELTA_HELP)] = None
    loss: Annotated[LossName | None, Field(description=_LOSS_HELP)] = None
    cascade: Annotated[bool | _Probability | None, Field(description=_CASCADE_HELP)] = None


class ChatExtras(BaseModel):
    """What a chat completion may say in ``m3``; a scale may also be forced by header or model name."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    scale: Annotated[int | None, Field(description=f"Forced. {_SCALE_HELP}")] = None
    min_scale: Annotated[int | None, Field(description=f"Floor. {_SCALE_HELP}")] = None
    max_visual_tokens: Annotated[int | None, Field(description="Ceiling on this request's tokens")] = None
    token_budget: Annotated[float | None, Field(description="Mean visual tokens per request")] = None
    accuracy_drop: Annotated[float | None, Field(gt=0, lt=1, description=_DROP_HELP)] = None
    delta: Annotated[float | None, Field(gt=0, lt=1, description=_DELTA_HELP)] = None
    loss: Annotated[LossName | None, Field(description=_LOSS_HELP)] = None
    cascade: Annotated[bool | _Probability | None, Field(description=_CASCADE_HELP)] = None


class ChatBody(BaseModel):
    """OpenAI's chat completions, as far as they are read here; other fields are ignored."""

    model: Annotated[str, Field(description="NAME, NAME@auto or NAME@SCALE, see /v1/models")]
    messages: Annotated[
        list[dict[str, Any]],
        Field(min_length=1, description="Text and image_url parts (data URIs; detail auto, low or high)"),
    ]
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Annotated[float | None, Field(ge=0, le=2, description="Greedy when left out")] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    seed: int | None = None
    stop: Annotated[
        str | list[str] | None, Field(description="Up to 4 texts; the answer ends before the first of them")
    ] = None
    m3: ChatExtras | None = None


class AnswersRequest(BaseModel):
    """The JSON body of /v1/answers. Items are checked one by one: a wrong one fails alone."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    items: Annotated[list[AskBody], Field(min_length=1, description="What /v1/answer takes, once or more")]


def question_of(value: Any, settings: Settings, param: str = "question") -> str:
    """``value`` as a question; raises `InvalidRequest` naming the field ``param`` otherwise."""
    if value is None:
        raise InvalidRequest("The field 'question' is missing.", code="missing_field", param="question")
    if not isinstance(value, str):
        raise InvalidRequest("The field 'question' must be a string.", code="invalid_type", param="question")
    if not value.strip():
        raise InvalidRequest("The question is empty.", code="empty_question", param=param)
    if len(value) > settings.max_question_chars:
        raise InvalidRequest(
            f"The question has {len(value)} characters; at most {settings.max_question_chars} are accepted.",
            code="question_too_long",
            param=param,
        )
    if _NO_TEXT.search(value):
        raise InvalidRequest(
            "The question holds a NUL or half of a surrogate pair, which no text has.",
            code="invalid_text",
            param=param,
        )
    return value


def refuse_unknown(fields: dict[str, Any], body: type[BaseModel] = AskBody) -> None:
    """Raises `InvalidRequest` naming the first field that ``body`` does not have."""
    for name in fields:
        if name not in body.model_fields:
            raise InvalidRequest(
                f"Unknown field '{clean(name)}'. Known fields: {', '.join(body.model_fields)}.",
                code="unknown_field",
                param=clean(name),
            )


def constraints_of(fields: dict[str, Any], ladder: Ladder, settings: Settings) -> Constraints:
    """The constraints that ``fields`` ask for, the operator's defaults where they ask for no target.

    A forced scale wins over floor and ceiling, and these over a budget (`router.policy`). Raises
    `ConstraintError`, listing what is valid, for a value that is wrong, or a floor above the ceiling.
    """
    scale, floor = (_on_ladder(fields, name, ladder) for name in ("scale", "min_scale"))
    ceiling = _number(fields, "max_visual_tokens", ladder, whole=True)
    budget = _number(fields, "token_budget", ladder, whole=False)
    if floor is not None and ceiling is not None and floor > ceiling:
        raise ConstraintError(
            f"The constraints exclude each other: min_scale {floor} is above max_visual_tokens {ceiling:g}.",
            code="conflicting_constraints",
            param="min_scale",
        )
    drop, delta = (_share(fields, name) for name in ("accuracy_drop", "delta"))
    loss = _loss(fields)
    price = None
    cascade = fields.get("cascade")
    if budget is None and drop is None:  # no target of its own
        budget, price, drop = settings.token_budget, settings.price, settings.accuracy_drop
        if type(cascade) is float:  # a target of its own, which goes with a price alone
            budget = drop = None
        if cascade is None:  # no cascade's budget is certified
            cascade = settings.cascade if drop is not None or delta is None else False
    elif cascade is None:
        cascade = settings.cascade is True and drop is None and delta is None
    if drop is not None:
        delta = settings.delta if delta is None else delta
        loss = settings.loss if loss is None else loss
    return Constraints(
        scale=scale,
        min_scale=floor,
        max_visual_tokens=None if ceiling is None else int(ceiling),
        token_budget=budget,
        price=price,
        accuracy_drop=drop,
        delta=delta,
        loss=loss,
        cascade=_cascade(cascade),
        max_new_tokens=settings.max_new_tokens,
        dtype=settings.computed_in,
    )


def _on_ladder(fields: dict[str, Any], name: str, ladder: Ladder) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if value not in ladder:
        raise ConstraintError(
            f"{name} has value {shown(value)}. Valid scales: {', '.join(map(str, ladder))}.",
            code="invalid_scale",
            param=name,
        )
    return int(value)


def _number(fields: dict[str, Any], name: str, ladder: Ladder, *, whole: bool) -> float | None:
    """A finite number of at least the smallest scale: no image costs fewer tokens than that."""
    value = fields.get(name)
    if value is None:
        return None
    kind = "a whole number" if whole else "a number"
    right = type(value) is int or (type(value) is float and not whole)
    if not right or not ladder.smallest <= value <= 1e9:
        raise ConstraintError(
            f"{name} has value {shown(value)}. Valid: {kind} of visual tokens from {ladder.smallest} "
            f"to 1000000000; the scales are {', '.join(map(str, ladder))}.",
            code=f"invalid_{name}",
            param=name,
        )
    return float(value)


def _share(fields: dict[str, Any], name: str) -> float | None:
    """A number above 0 and below 1."""
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not float or not 0 < value < 1:
        raise ConstraintError(
            f"{name} has value {shown(value)}. Valid: a number above 0 and below 1.",
            code=f"invalid_{name}",
            param=name,
        )
    return value


def _loss(fields: dict[str, Any]) -> LossName | None:
    value = fields.get("loss")
    if value is None:
        return None
    for loss in LOSSES:
        if value == loss:
            return loss
    raise ConstraintError(
        f"loss has value {shown(value)}. Valid: {', '.join(LOSSES)}.", code="invalid_loss", param="loss"
    )


def _cascade(value: object) -> bool | float:
    if type(value) is bool or (type(value) is float and 0 < value < 1):
        return value
    raise ConstraintError(
        f"cascade has value {shown(value)}. Valid: true, false, or a number above 0 and below 1.",
        code="invalid_cascade",
        param="cascade",
    )
