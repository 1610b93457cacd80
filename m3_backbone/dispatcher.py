"""The one task that hands work to a runner's thread: takes what waits, watches over it, tells the callers.

A runner that died, or hangs for good, is started again in a thread of its own (`revival`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from m3_backbone.jobs import Call, Job, as_engine_error
from m3_backbone.revival import Revival
from m3_backbone.runner import Runner
from m3_backbone.types import EngineError, EngineUnavailable, TokenEvent
from m3_backbone.worker import Outcome, Worker

logger = logging.getLogger("m3_backbone")


_CALLERS_TURNS = 2
"""Turns of the loop in which a caller that was just told of its encoding comes back with its request."""


class Dispatcher:
    """Calls that wait, then one batch of generations, then the calls that wait by then, and so on.

    Calls that come meanwhile are run too as long as they can feed the batch: requests that came together
    are answered together, and not in as many batches as their encodings happened to end in.

    Made in the event loop whose callers it serves; used from that loop's thread alone.

    stall_s: of silence, after which a runner is taken for hung; after twice as long it is started again.
    restart_s: before the first such start. called: is told every call that ended, with its value or None,
    before its callers are.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        name: str,
        batch_size: int,
        stall_s: float,
        restart_s: float,
        called: Callable[[Call, Any], None],
    ) -> None:
        self._runner = runner
        self._name = name
        self._batch_size = batch_size
        self._stall_s = stall_s
        self._called = called
        self.calls: deque[Call] = deque()
        self.waiting: deque[Job] = deque()
        self.running: list[Job] = []
        self.current: Call | None = None
        self.dead = ""  # why the runner has to be started again
        self._revival = Revival(restart_s)
        self._stalled = False
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._worker = Worker(name)
        self._loop = asyncio.get_running_loop()
        self._watched: asyncio.Future[Outcome] | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._task = asyncio.create_task(self._dispatch(), name=f"{name}-dispatch")

    @property
    def unavailable(self) -> str:
        """Why nothing can be done; empty when the runner works."""
        silent = self._worker.silent_s
        if not self.dead and (self._stalled or silent >= self._stall_s):
            return f"the model has not moved for {silent:.0f} s"
        return self.dead

    @property
    def restarts(self) -> int:
        """How often the runner was started again."""
        return self._revival.restarts

    def add(self, work: Call | Job) -> None:
        if isinstance(work, Call):
            self.calls.append(work)
        else:
            self.waiting.append(work)
        self._idle.clear()
        self._work.set()

    async def drained(self) -> None:
        """Returns when nothing waits or runs any more."""
        await self._idle.wait()

    async def stop(self, message: str) -> None:
        """Fails what is left with ``message``; a call that hangs is left behind in its thread."""
        self._task.cancel()
        if self._next_look is not None:
            self._next_look.cancel()
        self._fail_all(message)
        self._worker.stop()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _dispatch(self) -> None:
        while True:
            try:
                if self.dead:
                    await self._revive()
                    continue
                await self._work.wait()
                self._work.clear()
                while (self.calls or self.waiting) and not self.dead:
                    await self._run_calls()
                    await self._run_batch()
                self._idle.set()
            except Exception as error:  # ours, not the runner's: better refused than waited for without end
                logger.error("The dispatcher failed with %s.", type(error).__name__, exc_info=True)
                self._die("its dispatcher failed")

    async def _run_calls(self) -> None:
        """Those that wait by now; then what comes meanwhile, until the next batch is full.

        A request brings an encoding and a summary: beyond two calls each, what waits goes first.
        """
        due, more = len(self.calls), 2 * self._batch_size
        while not self.dead:
            for _ in range(_CALLERS_TURNS):
                if not self.calls:
                    await asyncio.sleep(0)
            full = more <= 0 or len(self.waiting) >= self._batch_size
            if not self.calls or (due <= 0 and full):
                return
            await self._run_call(self.calls.popleft())
            due, more = due - 1, more - 1

    async def _run_call(self, call: Call) -> None:
        def tell(outcome: Outcome) -> None:
            self._called(call, outcome.value)
            self.current = None  # not before: a fault of what is called must not leave its callers waiting
            if outcome.error is None:
                call.succeed(outcome.value)
            else:
                call.fail(as_engine_error(outcome.error))

        self.current = call
        await self._outcome(call.run, tell)

    async def _run_batch(self) -> None:
        jobs: list[Job] = []
        while self.waiting and len(jobs) < self._batch_size:
            job = self.waiting.popleft()
            if not job.stopped:  # late: its caller is told by a clock of its own
                jobs.append(job)
        if not jobs:
            return
        self.running = jobs
        shown: set[Job] = set()
        error = await self._answer(jobs, shown)
        if error is not None:
            # One request may have spoilt the batch. Those that showed nothing yet are tried alone.
            for job in jobs:
                alone = job not in shown and len(jobs) > 1 and not job.stopped and not self.dead
                fault = await self._answer([job], shown) if alone else error
                if fault is not None:
                    job.fail(as_engine_error(fault))
        self.running = []

    async def _answer(self, jobs: Sequence[Job], shown: set[Job]) -> BaseException | None:
        """Runs ``jobs`` as one batch; the exception of the batch as a whole, None when there is none."""

        worker = self._worker  # a thread that was left behind must not speak for the next one

        def on_token(index: int, event: TokenEvent) -> None:
            shown.add(jobs[index])
            worker.post(jobs[index].push, event)

        def cancelled(index: int) -> bool:
            worker.beat()
            return jobs[index].stopped

        requests = [job.request for job in jobs]
        outcome = await self._outcome(lambda: self._runner.generate(requests, on_token, cancelled))
        if outcome.error is not None:
            return outcome.error
        if len(outcome.value) != len(jobs):
            return EngineError(f"The runner gave {len(outcome.value)} results for {len(jobs)} requests.")
        for job, result in zip(jobs, outcome.value, strict=True):
            job.finish(result)
        return None

    async def _outcome(
        self, call: Callable[[], Any], tell: Callable[[Outcome], None] | None = None
    ) -> Outcome:
        """What ``call`` gives in the runner's thread, which is watched over meanwhile.

        tell: is told it at once, and not a turn of the loop later as whoever awaits it.
        """

        def came(outcome: Outcome) -> None:
            self._came(outcome)
            if tell is not None:
                tell(outcome)

        self._watched = self._worker.submit(call, came)
        self._look_in(self._stall_s)
        try:
            return await self._watched
        finally:
            self._watched = None  # what it gave may be large

    def _came(self, outcome: Outcome) -> None:
        """What it says of the runner."""
        if self._stalled:
            logger.warning("The model moves again; requests are accepted.")
            self._stalled = False
        if outcome.error is not None:
            logger.warning("The model failed with %s.", type(outcome.error).__name__)
            if isinstance(outcome.error, EngineUnavailable) or not isinstance(outcome.error, Exception):
                self._die("the model died")

    def _look_in(self, seconds: float) -> None:
        """Looks after the runner in ``seconds``, or sooner where that is due anyway: one look serves all the
        calls until then."""
        due = self._loop.time() + seconds
        if self._next_look is not None:
            if self._next_look.when() <= due:
                return
            self._next_look.cancel()
        self._next_look = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        """Whether the call that runs has been silent for too long."""
        self._next_look = None
        watched, silent = self._watched, self._worker.silent_s
        if watched is None or watched.done():
            return
        patience = self._stall_s * (2 if self._stalled else 1)
        if silent < patience:
            self._look_in(max(0.001, patience - silent))
            return
        try:
            if self._stalled:
                self._die("the model hangs")
                watched.set_result(Outcome(error=EngineUnavailable(self.dead)))
                return
            logger.error("The model has not moved for %.0f s; requests are refused.", silent)
            self._stalled = True
            self._fail_all("The model does not respond.")
            self._look_in(self._stall_s)
        except Exception as error:
            watched.set_exception(error)

    async def _revive(self) -> None:
        """Starts the runner again after a pause; `dead` says why not, when it does not come back."""
        await self._revival.pause(self._worker.silent_s)
        worker = self._revival.replace(self._worker, self._name)
        if worker is None:
            return
        self._worker = worker
        if await self._revival.revive(self._runner, worker, self._stall_s):
            self.dead, self._stalled = "", False

    def _die(self, reason: str) -> None:
        self.dead = reason
        self._fail_all(f"The engine is not ready: {reason}.")

    def _fail_all(self, message: str) -> None:
        """Tells every caller; what still runs in the runner's thread has no listener any more."""
        for job in (*self.running, *self.waiting):
            job.cancelled = True
            job.fail(EngineUnavailable(message))
        for call in (*self.calls, *([self.current] if self.current else [])):
            self._called(call, None)
            call.fail(EngineUnavailable(message))
        self.running, self.current = [], None
        self.waiting.clear()
        self.calls.clear()
        self._idle.set()
