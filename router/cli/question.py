"""A question about an image as the command line gives it; `ask` and `route` put it to a pipeline."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from m3_backbone.images import ImageError, ImageLimits, decode
from router.cli.loading import MADE_UP, running
from router.constraints import Constraints
from router.errors import InvalidImage, InvalidRequest
from router.service.chat_constraints import SHARED, share_of
from router.service.pipeline import Pipeline
from router.service.schemas import constraints_of, question_of
from router.settings import Settings


@dataclass(frozen=True, slots=True)
class Posed:
    """A question, checked as the service checks it, and the pipeline that answers it."""

    pipeline: Pipeline
    images: tuple[bytes, ...]
    turns: tuple[str]
    constraints: Constraints

    @property
    def image(self) -> bytes:
        return self.images[0]


@asynccontextmanager
async def posed(
    settings: Settings, images: Sequence[Path], question: str, **constraints: float | str | None
) -> AsyncIterator[Posed]:
    """Reads ``images``, loads what ``settings`` name, and checks the rest. Raises `M3Error`.

    constraints: the fields of a request of that name, None where they are not given. What limits the tokens
        of all of several images is each one's in equal shares.
    """
    limits = ImageLimits(max_bytes=settings.max_body_bytes, max_pixels=settings.max_image_pixels)
    data = tuple(read_image(image, limits) for image in images)
    async with running(settings) as pipeline:
        ladder = pipeline.engine.ladder
        checked = constraints_of(constraints, ladder, settings)
        if len(data) > 1:
            given = tuple(name for name in SHARED if constraints.get(name) is not None)
            checked = replace(share_of(checked, given, len(data), ladder), kind="conversation")
        yield Posed(pipeline, data, (question_of(question, settings),), checked)
    if settings.engine == "fake":
        typer.echo(MADE_UP, err=True)


def why(decision: Mapping[str, Any]) -> str:
    """The policy and its reason, which is named once."""
    policy, reason = str(decision["policy"]), str(decision["reason"])
    return reason if reason.startswith(policy.replace("_", " ")) else f"{policy}: {reason}"


def read_image(path: Path, limits: ImageLimits) -> bytes:
    """The file's bytes. Raises `InvalidRequest`, before a model is loaded, for what cannot be read, is too
    large, or is no image."""
    named = f"IMAGE has value '{path}'."
    try:
        with path.open("rb") as file:  # up to the limit: the path may be a device that never ends
            data = file.read(limits.max_bytes + 1)
    except OSError as error:
        raise InvalidRequest(
            f"{named} It cannot be read ({error.strerror}).", code="unreadable_image"
        ) from error
    if len(data) > limits.max_bytes:
        raise InvalidRequest(
            f"{named} It has more than {limits.max_bytes} bytes (M3_MAX_BODY_BYTES).", code="image_too_large"
        )
    try:
        decode(data, limits)
    except ImageError as error:
        raise InvalidImage(f"{named} {error.message}", code=error.code) from error
    return data
