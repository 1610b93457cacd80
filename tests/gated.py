"""A runner that waits until a test lets it go on, and an engine in front of it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from m3_backbone.engine import QueueEngine
from m3_backbone.fake import FakeRunner
from m3_backbone.types import (
    Generation,
    GenerationRequest,
    TokenEvent,
)


class Gate(FakeRunner):
    """The fake runner, which waits at every batch until it is let through; counts what it ran."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.open = threading.Event()
        self.asked: list[list[str]] = []
        self.stopped: list[bool] = []

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_token: Callable[[int, TokenEvent], None],
        cancelled: Callable[[int], bool],
    ) -> list[Generation | Exception]:
        self.asked.append([request.turns[-1] for request in requests])
        while not self.open.wait(0.005):
            for index in range(len(requests)):
                cancelled(index)
        results = super().generate(requests, on_token, cancelled)
        self.stopped += [isinstance(r, Generation) and r.finish_reason == "abort" for r in results]
        return results


def engine_of(runner: Any, **settings: Any) -> QueueEngine:
    fake = FakeRunner()
    return QueueEngine(runner, name="scripted", fingerprint="fake", ladder=fake.ladder, **settings)


def text(question: str, **more: Any) -> GenerationRequest:
    return GenerationRequest((question,), **more)


def have_patience(engine: QueueEngine, stall_s: float) -> None:
    """From now on a runner that is silent for ``stall_s`` is taken for hung."""
    assert engine._dispatcher is not None
    engine._dispatcher._stall_s = stall_s


async def closed(stream: AsyncIterator[TokenEvent]) -> None:
    await stream.aclose()  # type: ignore[attr-defined]
