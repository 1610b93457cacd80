"""`Engine` with the language model elsewhere: requests join and leave its batch whenever they come and go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

from m3_backbone.engine import QueueEngine
from m3_backbone.host import Host
from m3_backbone.jobs import Job, as_engine_error
from m3_backbone.language_model import CUT_SHORT, LanguageModelDied, Picked, Prefix
from m3_backbone.model import M3Model
from m3_backbone.revival import Revival
from m3_backbone.torch_runner import TorchRunner
from m3_backbone.types import (
    Aspect,
    DeadlineExceeded,
    EngineError,
    EngineUnavailable,
    Generation,
    GenerationRequest,
    Health,
    TokenEvent,
)

logger = logging.getLogger("m3_backbone")

READY = GenerationRequest(("Ready?",), max_new_tokens=1)
_LOOKS = 4  # times that the language model is looked at while it may be silent


class VisionRunner(TorchRunner):
    """What is left in this process: tower, projector, embeddings. ``backbone`` may have no layers."""

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_token: Callable[[int, TokenEvent], None],
        cancelled: Callable[[int], bool],
    ) -> list[Generation | Exception]:
        raise EngineError("The language model runs elsewhere.")

    def revive(self) -> None:
        """Embeds a word, for nobody."""
        self.hand_over(READY)


class VllmEngine(QueueEngine):
    """Images and prompts in the worker thread of `QueueEngine`, then every request in a stream of its own.

    batch_size: requests that the language model has at once. The other settings are those of `QueueEngine`;
    stall_s and restart_s count for the language model too, which is opened again when it died or hangs.
    """

    def __init__(self, backbone: M3Model, host: Host, *, restart_s: float = 1.0, **settings: Any) -> None:
        self._vision = VisionRunner(backbone)
        super().__init__(
            self._vision,
            name=backbone.name,
            fingerprint=backbone.fingerprint,
            ladder=backbone.ladder,
            aspect=cast(Aspect, backbone.config.aspect),
            context_tokens=backbone.context_tokens,
            restart_s=restart_s,
            **settings,
        )
        self.backbone = backbone
        self.host = host
        self._waiting: deque[Job] = deque()
        self._running: dict[Job, asyncio.Task[None]] = {}
        self._idle = asyncio.Event()
        self._revival = Revival(restart_s)
        self._lost = ""  # why the language model has to be opened again
        self._asked: float | None = None  # since when it owes a token
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the language model where that was not done yet; raises `EngineUnavailable` if it fails."""
        if self._keeper is not None:
            return
        await asyncio.to_thread(self.host.open)
        await super().start()
        self._idle = asyncio.Event()
        self._idle.set()
        self._lost, self._asked = "", None
        self._keeper = asyncio.create_task(self._keep(), name=f"m3-{self.name}-keeper")

    async def close(self) -> None:
        """Refuses what is new, finishes what was accepted for at most ``drain_s``, fails the rest."""
        if self._keeper is None:
            return
        keeper, self._keeper = self._keeper, None
        self._state = "closing"
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._drain_s):
                    await self._idle.wait()
        finally:  # also when the caller has no patience for the drain
            keeper.cancel()
            self._fail_all("The engine was closed.")
            await asyncio.gather(keeper, *self._running.values(), return_exceptions=True)
            await super().close()
            await asyncio.to_thread(self.host.close)

    def health(self) -> Health:
        vision = super().health()
        return replace(
            vision,
            queued=vision.queued + len(self._waiting),
            running=vision.running + len(self._running),
            restarts=vision.restarts + self._revival.restarts,
        )

    async def generate(
        self, request: GenerationRequest, *, deadline: float | None = None
    ) -> AsyncIterator[TokenEvent]:
        """As `QueueEngine.generate`, but a request for which there is room starts at once."""
        for _, scale in request.images:
            self._ladder.validate(scale)
        self._available()
        job = Job(request, deadline)
        if job.late:
            raise DeadlineExceeded("The request's deadline had passed when it came.")
        self._check_room(len(self._waiting) + len(self._running))
        self._waiting.append(job)
        self._idle.clear()
        self._fill()
        try:
            while not job.done or job.pending:
                yield await job.next()
        finally:
            self._stop(job)

    async def abort(self, request_id: str) -> None:
        """Ends all requests of this id with ``finish_reason="abort"``; an unknown or empty id is no fault."""
        for job in (*self._waiting, *self._running):
            if request_id and job.request.request_id == request_id:
                self._stop(job)

    # Requests

    def _fill(self) -> None:
        """Whoever waits runs, as long as there is room."""
        while self._waiting and len(self._running) < self._capacity.batch_size:
            job = self._waiting.popleft()
            if not job.stopped:  # late: its caller is told by a clock of its own
                task = asyncio.create_task(self._run(job))
                self._running[job] = task
                task.add_done_callback(partial(self._ended, job))
        if not self._waiting and not self._running:
            self._idle.set()

    def _stop(self, job: Job) -> None:
        """Nobody wants more of ``job``; who still listens gets what there is."""
        job.cancelled = True
        if job in self._running:
            self._running[job].cancel()
        elif job in self._waiting:
            self._waiting.remove(job)
            job.abort()
            self._fill()

    async def _run(self, job: Job) -> None:
        try:
            await self._answer(job)
        except LanguageModelDied as error:
            job.fail(error)
            self._lose("the model died")
        except Exception as error:
            job.fail(as_engine_error(error))

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        if not job.done:
            job.abort()  # stopped before there was an answer
        del self._running[job]
        self._fill()

    async def _answer(self, job: Job) -> None:
        embeds, answer = await self.call(partial(self._vision.hand_over, job.request))
        prefix = Prefix.of(embeds, self.backbone.stop_ids, job.request)
        try:
            async with aclosing(self._picks(prefix)) as picks:
                async for picked in picks:
                    if job.stopped:
                        break
                    text = answer.add(picked.token, picked.logprob, picked.margin, stream=True)
                    done = answer.generation() if answer.finished else None
                    job.push(TokenEvent(text, picked.token, picked.logprob, done))
        except asyncio.CancelledError:
            job.finish(answer.generation())
            raise
        if not answer.finished and not job.stopped:
            raise EngineError(CUT_SHORT)
        job.finish(answer.generation())

    async def _picks(self, prefix: Prefix) -> AsyncGenerator[Picked, None]:
        self._asked = self._asked or time.monotonic()
        try:
            async with aclosing(self.host.stream(prefix)) as stream:
                async for picked in stream:
                    self._asked = time.monotonic()
                    yield picked
        except Exception:  # an answer too. Who is cancelled had none: `_keep` looks whether the model hangs
            self._settle()
            raise
        self._settle()

    def _settle(self) -> None:
        """One has its answer; where it was the only one, nothing is owed."""
        if len(self._running) <= 1:
            self._asked = None

    # The language model's life

    def _unavailable(self) -> str:
        died = "the model died" if self.host.dead else ""
        return super()._unavailable() or self._lost or died or self._stalled()

    @property
    def _silent_s(self) -> float:
        """Seconds since the language model was asked, or last gave a token; 0 when it owes none."""
        return 0.0 if self._asked is None else time.monotonic() - self._asked

    def _stalled(self) -> str:
        silent = self._silent_s
        return f"the model has not moved for {silent:.0f} s" if silent >= self._stall_s else ""

    async def _keep(self) -> None:
        """Looks after the language model, and opens it again when it died or hangs."""
        sign: asyncio.Task[None] | None = None
        while True:
            await asyncio.sleep(min(1.0, self._stall_s / _LOOKS))
            if self.host.dead:
                self._lose("the model died")
            elif self._silent_s >= 2 * self._stall_s:
                self._lose("the model hangs")
            elif self._silent_s >= self._stall_s / 2 and not self._running and sign is None:
                sign = asyncio.create_task(self._ask_for_a_sign())  # all who asked have left: it may be well
            if sign is not None and (sign.done() or self._lost):
                sign.cancel()
                sign = None
            if self._lost:
                await self._open_again()

    async def _ask_for_a_sign(self) -> None:
        with suppress(EngineError):  # `_keep` sees what it means
            embeds, _ = await self.call(partial(self._vision.hand_over, READY))
            async for _ in self._picks(Prefix.of(embeds, self.backbone.stop_ids, READY)):
                pass

    def _lose(self, reason: str) -> None:
        if not self._lost:
            self._lost = reason
            logger.error("The language model is lost: %s.", reason)
            self._fail_all(f"The engine is not ready: {reason}.")

    async def _open_again(self) -> None:
        await self._revival.pause(0.0)
        try:
            await asyncio.to_thread(self.host.reopen)
        except Exception as error:  # also CheckpointError: one elsewhere may serve the right model later
            logger.error("The model did not come back: %s", error)
            return
        self._revival.restarts += 1
        self._lost, self._asked = "", None
        logger.warning("The model works again; requests are accepted.")

    def _fail_all(self, message: str) -> None:
        for job in (*self._waiting, *self._running):
            job.fail(EngineUnavailable(message))
            self._stop(job)
