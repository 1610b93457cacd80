"""The engine by itself in a process on the server's core: the same requests, all at hand, no HTTP, no router.

What is timed is what an answer takes at a scale that is known: an encoding and a generation, in batches of
the engine's making. Pictures are decoded before. The summary for a router is part of routing, and so the
service's own cost; with it is timed beside, to tell how much of the difference it is.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from m3_backbone.images import decode
from m3_backbone.types import Engine, GenerationRequest
from training.bench.service.asks import Asked
from training.bench.service.cores import one_thread, stay_on

_AT_HAND = 64
"""Requests that the engine has at a time: more would only keep their pictures in memory."""

_STATE: dict[str, Any] = {}  # of the worker process


@dataclass(frozen=True, slots=True)
class Offline:
    """The worker process with a loaded engine."""

    pool: ProcessPoolExecutor

    def answer(
        self, asks: Sequence[Asked], scale: int, *, summary: bool = False
    ) -> tuple[float, tuple[str, ...]]:
        """(seconds, answers) of all ``asks`` at one scale. summary: made too, as for a router."""
        return self.pool.submit(_answer, tuple(asks), scale, summary).result()


@contextmanager
def engine_alone(core: int | None, settings: dict[str, Any]) -> Iterator[Offline]:
    """settings: fields of `router.settings.Settings`; the environment is not read."""
    pool = ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=_load, initargs=(core, settings)
    )
    try:
        pool.submit(len, ()).result()  # it loads now, and not while something is timed
        yield Offline(pool)
        pool.submit(_close).result()
    finally:
        pool.shutdown(cancel_futures=True)


def _load(core: int | None, settings: dict[str, Any]) -> None:
    for name in [name for name in os.environ if name.startswith("M3_")]:
        del os.environ[name]
    os.environ.update(one_thread())  # before torch is imported
    stay_on(core)

    from router.cli.loading import load_engine
    from router.settings import Settings

    loaded = Settings.load(**settings, queue_size=_AT_HAND)
    runner, engine = asyncio.Runner(), load_engine(loaded, routed=False)
    runner.run(engine.start())
    _STATE.update(runner=runner, engine=engine, max_new_tokens=loaded.max_new_tokens)


def _answer(asks: Sequence[Asked], scale: int, summary: bool) -> tuple[float, tuple[str, ...]]:
    pictures = [decode(asked.image) for asked in asks]
    engine: Engine = _STATE["engine"]
    places = asyncio.Semaphore(_AT_HAND)

    async def one(picture: Any, question: str) -> str:
        async with places:
            image = await engine.encode(picture)
            if summary:
                await engine.summarise(image, (question,))
            request = GenerationRequest((question,), ((image, scale),), _STATE["max_new_tokens"])
            async for event in engine.generate(request):
                if event.generation is not None:
                    return event.generation.text
        raise AssertionError("an engine's last event has the generation")

    async def every() -> tuple[str, ...]:
        pairs = zip(pictures, asks, strict=True)
        return tuple(await asyncio.gather(*(one(picture, asked.question) for picture, asked in pairs)))

    begin = time.perf_counter()
    answers = _STATE["runner"].run(every())
    return time.perf_counter() - begin, answers


def _close() -> None:
    _STATE["runner"].run(_STATE["engine"].close())
    _STATE["runner"].close()
