"""What a chat asks of the router: by its body, a header, the model's name, and each image's ``detail``.

Several images have each its share of the request's limits on tokens. The operator's budget is no limit of the
client's, and holds for each image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from m3_backbone.scales import Ladder
from router.constraints import Constraints
from router.errors import ConstraintError, InvalidRequest
from router.service.schemas import ChatExtras, constraints_of
from router.service.text import clean, shown
from router.settings import Settings

LOW_DETAIL = 9
"""The largest scale of an image with ``detail: low``."""


class UnknownModel(InvalidRequest):
    code = "model_not_found"
    status = 404
    param = "model"


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


def constraints(
    fields: dict[str, Any],
    suffix: int | None,
    headers: Sequence[str],
    ladder: Ladder,
    settings: Settings,
) -> Constraints:
    """What body, headers and model name ask for together."""
    extras = object_in(fields, "m3")
    for name in extras:
        if name not in ChatExtras.model_fields:
            raise InvalidRequest(
                f"Unknown key '{clean(name)}' in 'm3'. Known: {', '.join(ChatExtras.model_fields)}.",
                code="unknown_field",
                param=f"m3.{clean(name)}",
            )
    asked = constraints_of(extras, ladder, settings)
    named = [_scale_in_text(header.strip(), "x-m3-scale", ladder) for header in headers]
    forced = {scale for scale in (asked.scale, *named, suffix) if scale is not None}
    if len(forced) > 1:
        raise ConstraintError(
            f"Scales {', '.join(map(str, sorted(forced)))} are forced at once: by 'm3', by the header "
            "x-m3-scale or by the model's name. Force one.",
            code="conflicting_scale",
            param="scale",
        )
    return replace(asked, scale=forced.pop() if forced else None)


SHARED = ("max_visual_tokens", "token_budget")
"""Limits on a whole request's tokens."""


def shared_limits(fields: dict[str, Any]) -> tuple[str, ...]:
    """Names of the limits on a whole request's tokens that the client itself has set."""
    extras = object_in(fields, "m3")
    return tuple(name for name in SHARED if extras.get(name) is not None)


def share_of(asked: Constraints, shared: tuple[str, ...], images: int, ladder: Ladder) -> Constraints:
    """``asked`` for one of several images: the limits ``shared`` are divided evenly. A forced scale wins."""
    if asked.scale is not None:
        return asked
    ceiling, budget = asked.max_visual_tokens, asked.token_budget
    if ceiling is not None and ceiling < images * ladder.smallest:
        raise ConstraintError(
            f"max_visual_tokens {ceiling} cannot be met by {images} images of at least {ladder.smallest} "
            "tokens each.",
            param="max_visual_tokens",
        )
    return replace(
        asked,
        max_visual_tokens=ceiling // images if ceiling is not None else None,
        token_budget=budget / images if budget is not None and "token_budget" in shared else budget,
    )


@contextmanager
def naming_shares(shared: Sequence[str], images: int) -> Iterator[None]:
    """Has a `ConstraintError` that names one of the limits ``shared`` say that it is a share's number."""
    try:
        yield
    except ConstraintError as error:
        named = [limit for limit in shared if limit in error.message]
        if not named:
            raise
        raise ConstraintError(
            f"{error.message} Each of {images} images has its share of {' and '.join(named)}.",
            code=error.code,
            param=error.param,
        ) from None


def of_image(asked: Constraints, detail: str, ladder: Ladder, settings: Settings) -> Constraints:
    """``asked`` for an image with this ``detail``. Raises `ConstraintError` for a floor above ``low``."""
    scale = asked.scale
    if scale is None and detail == "high" and settings.detail_high == "full":
        scale = ladder.full
    max_scale = max(LOW_DETAIL, ladder.smallest) if detail == "low" and scale is None else None
    if max_scale is not None and asked.min_scale is not None and asked.min_scale > max_scale:
        raise ConstraintError(
            f"min_scale {asked.min_scale} is above {max_scale}, the most that detail 'low' allows.",
            code="conflicting_constraints",
            param="min_scale",
        )
    return replace(asked, scale=scale, max_scale=max_scale)


def object_in(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """The object under ``name``, empty where there is none; raises `InvalidRequest` for something else."""
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"The field '{name}' must be an object.", code="invalid_type", param=name)
    return value
