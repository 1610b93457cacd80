"""Talking to engines in tests, as the service does: through the `Engine` protocol alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from m3_backbone.scales import Ladder
from m3_backbone.types import (
    EncodedImage,
    Engine,
    Generation,
    GenerationRequest,
    TokenEvent,
)

T = TypeVar("T")
PATIENCE_S = 60.0


def during(engine: Engine, talk: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
    """Starts ``engine``, talks with it, closes it."""

    async def whole() -> T:
        await engine.start()
        try:
            return await asyncio.wait_for(talk(engine), PATIENCE_S)
        finally:
            await engine.close()

    return asyncio.run(whole())


def picture(seed: int = 0, size: tuple[int, int] = (60, 40)) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BILINEAR)


def asks(image: EncodedImage, scale: int, question: str = "What is this?", **more: Any) -> GenerationRequest:
    return GenerationRequest((question,), ((image, scale),), **{"max_new_tokens": 4, **more})


async def events_of(engine: Engine, request: GenerationRequest, **more: Any) -> list[TokenEvent]:
    return [event async for event in engine.generate(request, **more)]


async def answer(engine: Engine, request: GenerationRequest, **more: Any) -> Generation:
    generation = (await events_of(engine, request, **more))[-1].generation
    assert generation is not None
    return generation


async def until(condition: Callable[[], bool]) -> None:
    """Waits for ``condition``, with a limit that fails the test."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.002)


class Foreign:
    """An encoded image of nobody's."""

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.size = (4, 4)
        self.views = 1
        self.content_hash = "0" * 64
        self.nbytes = 0

    def n_tokens(self, scale: int) -> int:
        return self.ladder.validate(scale)

    def tokens(self, scale: int) -> Any:
        return np.zeros((scale, 4), np.float32)
