"""One thread that runs synchronous calls for an event loop, and shows whether it is alive.

A daemon thread, unlike those of `concurrent.futures`: a call that hangs must not keep the process from
ending.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call gave: a value, or the exception that it raised (SystemExit and the like included)."""

    value: Any = None
    error: BaseException | None = None


class Worker:
    """Runs calls one after the other. Made in the thread of the event loop that awaits the outcomes."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[tuple[Callable[[], Any], Callable[[Outcome], None]] | None] = SimpleQueue()
        self._last_sign: float | None = None
        self._posted: deque[Callable[[], None]] = deque()
        self._woken = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(
        self, call: Callable[[], Any], then: Callable[[Outcome], None] | None = None
    ) -> asyncio.Future[Outcome]:
        """The outcome of ``call``. then: is told it in the event loop, before whoever awaits the future, but
        not when that was given up; what it raises is the future's exception."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._calls.put((call, partial(_settle, future, then)))
        return future

    def post(self, callback: Callable[..., None], *values: Any) -> None:
        """From within a call: runs ``callback`` in the event loop, and counts as a sign of life."""
        self.beat()
        self._posted.append(partial(callback, *values))
        if self._woken:  # for what was posted before, and takes this along
            return
        self._woken = True
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        """Runs, in the event loop, what was posted. To wake the loop costs more than most of that."""
        self._woken = False  # before the first is taken: what comes from now on wakes again
        try:
            while self._posted:
                self._posted.popleft()()
        finally:
            if self._posted:  # one has raised: the others are not its callers
                self._loop.call_soon(self._deliver)

    def beat(self) -> None:
        """From within a call: a sign of life."""
        self._last_sign = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds since the last sign of life of the call that runs; 0 when none does."""
        sign = self._last_sign
        return 0.0 if sign is None else time.monotonic() - sign

    @property
    def busy(self) -> bool:
        """Whether a call runs: one that never ends is a hang."""
        return self._last_sign is not None

    def stop(self, wait_s: float = 1.0) -> None:
        """Ends the thread after the calls that it has; one that hangs is left behind."""
        self._calls.put(None)
        if not self.busy:
            self._thread.join(wait_s)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, settle = item
            self.beat()
            try:
                outcome = Outcome(value=call())
            except BaseException as error:
                outcome = Outcome(error=error)
            self.post(settle, outcome)
            del item, call, settle, outcome  # a picture must not be kept until the next call comes
            self._last_sign = None


def _settle(
    future: asyncio.Future[Outcome], then: Callable[[Outcome], None] | None, outcome: Outcome
) -> None:
    if future.done():
        return
    try:
        if then is not None:
            then(outcome)
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(outcome)
