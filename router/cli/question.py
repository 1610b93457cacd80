"""A question about an image as the command line gives it; `ask` and `route` put it to a pipeline."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from router.cli.loading import MADE_UP, running
from router.constraints import Constraints
from router.errors import InvalidRequest
from router.service.pipeline import Pipeline
from router.service.schemas import constraints_of, question_of
from router.settings import Settings


@dataclass(frozen=True, slots=True)
class Posed:
    """A question, checked as the service checks it, and the pipeline that answers it."""

    pipeline: Pipeline
    image: bytes
    turns: tuple[str]
    constraints: Constraints


@asynccontextmanager
async def posed(
    settings: Settings, image: Path, question: str, **constraints: float | str | None
) -> AsyncIterator[Posed]:
    """Reads ``image``, loads what ``settings`` name, and checks the rest. Raises `M3Error`.

    constraints: the fields of a request of that name, None where they are not given.
    """
    data = read_image(image, settings.max_body_bytes)
    async with running(settings) as pipeline:
        checked = constraints_of(constraints, pipeline.engine.ladder, settings)
        yield Posed(pipeline, data, (question_of(question, settings),), checked)
    if settings.engine == "fake":
        typer.echo(MADE_UP, err=True)


def read_image(path: Path, max_bytes: int) -> bytes:
    """The file's bytes; raises `InvalidRequest` when it cannot be read or has more than ``max_bytes``."""
    try:
        with path.open("rb") as file:  # up to the limit: the path may be a device that never ends
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise InvalidRequest(
            f"IMAGE has value '{path}'. It cannot be read ({error.strerror}).", code="unreadable_image"
        ) from error
    if len(data) > max_bytes:
        raise InvalidRequest(
            f"IMAGE has value '{path}'. It has more than {max_bytes} bytes (M3_MAX_BODY_BYTES).",
            code="image_too_large",
        )
    return data
