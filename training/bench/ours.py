"""Our way to answer the same: one request alone, or several that wait, through the model or its engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from m3_backbone.engine import QueueEngine
from m3_backbone.model import M3Model
from m3_backbone.types import GenerationRequest
from training.bench.reference import Ask

Ids = tuple[int, ...]


@contextmanager
def without_end(backbone: M3Model, endless: bool = True) -> Iterator[None]:
    """Answers go on to ``max_new_tokens``: what is measured is then the same on every checkpoint."""
    stop_ids = backbone.stop_ids
    if endless:
        backbone.stop_ids = frozenset()
    try:
        yield
    finally:
        backbone.stop_ids = stop_ids


def answer(backbone: M3Model, ask: Ask) -> Ids:
    """One cold request: nothing about its picture is known."""
    return answer_together(backbone, [ask])[0]


def answer_together(backbone: M3Model, asks: Sequence[Ask]) -> list[Ids]:
    """Several requests in one call of the model, none of whose pictures was seen before."""
    images = backbone.encode_images([ask.picture for ask in asks])
    requests = [
        GenerationRequest((ask.question,), ((image, ask.scale),), ask.new_tokens)
        for ask, image in zip(asks, images, strict=True)
    ]
    return [generation.token_ids for generation in backbone.generate(requests)]


async def answer_waiting(engine: QueueEngine, asks: Sequence[Ask]) -> list[Ids]:
    """All of ``asks`` handed to the engine at once, as a server's callers do."""

    async def one(ask: Ask) -> Ids:
        image = await engine.encode(ask.picture)
        request = GenerationRequest((ask.question,), ((image, ask.scale),), ask.new_tokens)
        async for event in engine.generate(request):
            if event.generation is not None:
                return event.generation.token_ids
        raise AssertionError("an engine's last event has the generation")

    return await asyncio.gather(*map(one, asks))
