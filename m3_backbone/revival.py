"""Starting a runner again that died or hangs: in a new thread, with the weights that are there.

Not covered: what only a new process repairs (a CUDA context that was lost). It is tried all the same, and the
engine is not ready until it succeeds: `M3_GIVE_UP_S` ends the process for a supervisor.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from m3_backbone.runner import Revives, Runner
from m3_backbone.worker import Worker

logger = logging.getLogger("m3_backbone")

LONGEST_S = 60.0
"""Between two attempts."""

LEFT_BEHIND = 3
"""Threads that hang, at most, beside the one in use: each may hold a batch in memory."""


class Revival:
    """Attempts to start one runner again, each after twice the pause of the one before.

    A runner that has worked for twice `LONGEST_S` since the last attempt counts as healthy: the next pause is
    the first one again.
    """

    def __init__(self, first_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.restarts = 0
        self._first_s = first_s
        self._clock = clock
        self._attempts = 0
        self._last: float | None = None
        self._left: list[Worker] = []

    def next_pause_s(self, hung_s: float = 0.0) -> float:
        """Seconds until the next attempt, which is counted. hung_s: of silence until now; it was no work."""
        if self._last is not None and self._clock() - self._last - hung_s > 2 * LONGEST_S:
            self._attempts = 0
        pause = min(LONGEST_S, self._first_s * (1 << min(self._attempts, 16)))
        self._attempts += 1
        self._last = self._clock() + pause
        return pause

    async def pause(self, hung_s: float) -> None:
        pause = self.next_pause_s(hung_s)
        logger.error("The model is started again in %g s; requests are refused.", pause)
        await asyncio.sleep(pause)

    def replace(self, worker: Worker, name: str) -> Worker | None:
        """A new thread instead of ``worker``, which is left behind when it hangs; None: too many do."""
        self._left = [each for each in self._left if each.busy]
        if worker.busy and len(self._left) >= LEFT_BEHIND:
            logger.error("%d threads of the model hang; no other is started.", len(self._left) + 1)
            return None
        worker.stop()
        if worker.busy:
            self._left.append(worker)
        return Worker(name)

    async def revive(self, runner: Runner, worker: Worker, patience_s: float) -> bool:
        """Whether ``runner`` works again in the thread of ``worker``; it may be silent for ``patience_s``."""
        future = worker.submit(runner.revive if isinstance(runner, Revives) else _nothing)
        while not future.done() and worker.silent_s < patience_s:
            await asyncio.wait({future}, timeout=max(0.001, patience_s - worker.silent_s))
        if not future.done():
            logger.error("The model did not come back: it hangs.")
            return False
        if (error := future.result().error) is not None:
            logger.error("The model did not come back: %s.", type(error).__name__)
            return False
        self.restarts += 1
        logger.warning("The model works again; requests are accepted.")
        return True


def _nothing() -> None:
    """A runner without `Revives` is taken as it is."""
