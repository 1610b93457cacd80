"""A request's time: how long each stage took, and until when it may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from m3_backbone.types import DeadlineExceeded


class Stopwatch:
    """Wall-clock milliseconds by stage, and in total since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, float] = {}
        self.first_token_ms: float | None = None
        """Until the first token of the answer that is given; None before there is one."""

    def first_token(self) -> None:
        """The first token is there; of several passes the last one counts."""
        self.first_token_ms = (time.perf_counter() - self._start) * 1000

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            took = (time.perf_counter() - begin) * 1000
            self._stages[name] = self._stages.get(name, 0.0) + took  # a stage may be entered again

    def read(self) -> dict[str, float]:
        """The stages so far and ``total``, in milliseconds, to the microsecond."""
        total = (time.perf_counter() - self._start) * 1000
        return {name: round(value, 3) for name, value in (*self._stages.items(), ("total", total))}


class until:  # noqa: N801 - it is used as `asyncio.timeout` is
    """Cancels its block at ``deadline`` (a `time.monotonic` instant); raises `DeadlineExceeded` then.

    A class: every step of a stream has one, and a generator made into a context costs as much again.
    """

    __slots__ = ("_timeout",)

    def __init__(self, deadline: float) -> None:
        self._timeout = asyncio.timeout(deadline - time.monotonic())

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            error = late
        if isinstance(error, TimeoutError):
            raise DeadlineExceeded("The request's deadline passed.") from error
