"""A few threads that run calls for an event loop, with a bounded queue in front of them.

Daemon threads, unlike those of `concurrent.futures`: a predictor that hangs must not keep the process from
ending. The queue is bounded because whoever gave a call up leaves it there until a thread comes by.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Busy(Exception):
    """As many calls as may wait do wait already."""


class Threads:
    """``n`` threads, started by the first call; at most ``waiting`` calls wait for one."""

    def __init__(self, n: int, *, waiting: int, name: str) -> None:
        self._n = n
        self._waiting = waiting
        self._name = name
        self._calls: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._started = False

    async def run(self, function: Callable[..., T], *values: Any) -> T:
        """What ``function(*values)`` gives. Raises `Busy`; cancelled, a call that still waits never runs."""
        if self._calls.qsize() >= self._waiting:
            raise Busy
        if not self._started:
            self._started = True
            for i in range(self._n):
                threading.Thread(target=self._work, name=f"{self._name}-{i}", daemon=True).start()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put((partial(function, *values), future))
        try:
            return await future
        finally:
            del future  # its error holds this frame, and with it what the function was given

    def close(self) -> None:
        """Ends the threads after the calls that they have; one that hangs is left behind."""
        for _ in range(self._n):
            self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, future = item
            if not future.cancelled():
                try:
                    settle = partial(_succeed, future, call())
                except BaseException as error:
                    settle = partial(_fail, future, error)
                with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                    future.get_loop().call_soon_threadsafe(settle)
                del settle
            del item, call, future  # a decoded picture must not be kept until the next one comes


def _succeed(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
