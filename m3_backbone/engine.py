"""An asyncio queue in front of a batch runner: one `Engine` for every model that can run a batch.

`Runner` is the model's side (synchronous, called from one thread), `Dispatcher` the hand between the two.

Not covered: requests that join a batch which is already decoding.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from m3_backbone.dispatcher import Dispatcher
from m3_backbone.image_cache import ImageCache, Key
from m3_backbone.images import content_hash
from m3_backbone.jobs import Call, Job
from m3_backbone.runner import Runner
from m3_backbone.scales import Ladder
from m3_backbone.types import (
    Aspect,
    Capacity,
    DeadlineExceeded,
    EncodedImage,
    EngineUnavailable,
    GenerationRequest,
    Health,
    QueueFull,
    RouteInputs,
    TokenEvent,
)

__all__ = ["QueueEngine", "Runner"]

T = TypeVar("T")


class QueueEngine:
    """`Engine` over a `Runner`: a bounded queue, one worker thread, batches of what waits together.

    Encodings and summaries take turns with batches of generations, and come first: they are short, and
    feed the next batch.

    aspect: how the runner makes pictures square.
    batch_size: requests that are answered together. queue_size: requests that may wait behind a full
        batch, and calls that may wait; one more raises `QueueFull`.
    image_cache_bytes: encoded images kept (see `ImageCache`); 0 keeps none.
    stall_s: a runner that shows no sign of life for so long is taken for hung: every request fails with
        `EngineUnavailable`, and the engine is not ready until the runner comes back. After twice as long its
        thread is left behind.
    restart_s: before a runner that died, or was left behind, is started again; each further time in a row
        after twice as long (`m3_backbone.revival`).
    drain_s: how long `close` waits for what was accepted.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        name: str,
        fingerprint: str,
        ladder: Ladder,
        aspect: Aspect = "pad",
        batch_size: int = 8,
        queue_size: int = 64,
        context_tokens: int = 2048,
        image_cache_bytes: int = 256 * 2**20,
        stall_s: float = 120.0,
        restart_s: float = 1.0,
        drain_s: float = 30.0,
    ) -> None:
        limits = {"batch_size": batch_size, "queue_size": queue_size, "context_tokens": context_tokens}
        for limit, value in limits.items():
            if value < 1:
                raise ValueError(f"{limit} must be at least 1, got {value}.")
        self.runner = runner
        self._name = name
        self._fingerprint = fingerprint
        self._ladder = ladder
        self._aspect = aspect
        self._capacity = Capacity(batch_size, queue_size, context_tokens)
        self._stall_s = stall_s
        self._restart_s = restart_s
        self._drain_s = drain_s
        self._images = ImageCache(image_cache_bytes)
        self._encoding: dict[Key, Call] = {}
        self._dispatcher: Dispatcher | None = None
        self._state = "not started"  # why there is no service; "" when there is

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def ladder(self) -> Ladder:
        return self._ladder

    @property
    def aspect(self) -> Aspect:
        return self._aspect

    @property
    def capacity(self) -> Capacity:
        return self._capacity

    def flops(self, *, views: int, visual_tokens: int, text_tokens: int, new_tokens: int) -> int:
        return self.runner.flops(
            views=views, visual_tokens=visual_tokens, text_tokens=text_tokens, new_tokens=new_tokens
        )

    def health(self) -> Health:
        reason = self._unavailable()
        work = self._dispatcher
        return Health(
            ready=not reason,
            reason=reason,
            queued=len(work.waiting) + len(work.calls) if work else 0,
            running=len(work.running) + (work.current is not None) if work else 0,
            cached_images=len(self._images),
            restarts=work.restarts if work else 0,
            details={"cached_image_bytes": str(self._images.nbytes)},
        )

    async def start(self) -> None:
        """Starts the worker; a second call does nothing. A closed engine may be started again."""
        if self._dispatcher is None:
            self._dispatcher = Dispatcher(
                self.runner,
                name=f"m3-{self._name}",
                batch_size=self._capacity.batch_size,
                stall_s=self._stall_s,
                restart_s=self._restart_s,
                called=self._called,
            )
            self._state = ""

    async def close(self) -> None:
        """Refuses what is new, finishes what was accepted for at most ``drain_s``, fails the rest."""
        if self._dispatcher is None:
            return
        dispatcher = self._dispatcher
        self._state = "closing"
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._drain_s):
                    await dispatcher.drained()
        finally:  # also when the caller has no patience for the drain
            self._dispatcher = None
            self._state = "closed"
            self._images.clear()
            await dispatcher.stop("The engine was closed.")

    async def encode(self, pixels: Any) -> EncodedImage:
        """The encoded image, from the cache when the same picture was encoded before.

        ``pixels``: an upright RGB `PIL.Image.Image`; ValueError for another mode. Callers that ask for one
        picture at the same time share one encoding.
        """
        return await self.encode_in("", pixels)

    async def encode_in(self, namespace: str, pixels: Any, digest: str | None = None) -> EncodedImage:
        """`encode` with a cache of its own: nobody outside ``namespace`` can tell by timing what is kept.

        digest: the `content_hash` of ``pixels``, of whoever has it at hand.
        """
        self._available()
        if digest is None:
            digest = await asyncio.to_thread(content_hash, pixels)
        key = (namespace, digest)
        if (image := self._images.get(key)) is not None:
            return image
        call = self._encoding.get(key)
        if call is None:
            call = self._enqueue(partial(self.runner.encode, pixels), key)
            self._encoding[key] = call
        encoded: EncodedImage = await self._result(call)
        return encoded

    async def call(self, run: Callable[[], T]) -> T:
        """What ``run`` gives in the runner's thread: for a request that was accepted already. Neither a full
        queue nor closing refuses it."""
        work = self._dispatcher
        if work is None or work.dead:
            raise EngineUnavailable("The engine is not ready.")
        call = Call(run)
        work.add(call)
        value: T = await self._result(call)
        return value

    async def summarise(self, image: EncodedImage, turns: Sequence[str]) -> RouteInputs:
        inputs: RouteInputs = await self._result(
            self._enqueue(partial(self.runner.summarise, image, tuple(turns)))
        )
        return inputs

    async def generate(
        self, request: GenerationRequest, *, deadline: float | None = None
    ) -> AsyncIterator[TokenEvent]:
        """Tokens as they come; the last event has the generation. The request is queued at the first step.

        Raises `ScaleError`, `QueueFull`, `DeadlineExceeded`, `EngineUnavailable` and what the runner raises.
        """
        for _, scale in request.images:
            self._ladder.validate(scale)
        work = self._available()
        job = Job(request, deadline)
        if job.late:
            raise DeadlineExceeded("The request's deadline had passed when it came.")
        self._check_room(len(work.waiting) + len(work.running))
        work.add(job)
        try:
            while not job.done or job.pending:
                yield await job.next()
        finally:
            job.cancelled = True
            if job in work.waiting:  # the error of `remove` would hold all of the job's tensors in words
                work.waiting.remove(job)

    async def abort(self, request_id: str) -> None:
        """Ends all requests of this id with ``finish_reason="abort"``; an unknown or empty id is no fault."""
        if self._dispatcher is None or not request_id:
            return
        waiting, running = self._dispatcher.waiting, self._dispatcher.running
        for job in [job for job in waiting if job.request.request_id == request_id]:
            waiting.remove(job)
            job.abort()
        for job in running:
            if job.request.request_id == request_id:
                job.cancelled = True

    def _unavailable(self) -> str:
        """Why nothing is accepted; empty when the engine is ready."""
        return self._state or (self._dispatcher.unavailable if self._dispatcher else "")

    def _available(self) -> Dispatcher:
        reason = self._unavailable()
        if reason or self._dispatcher is None:
            raise EngineUnavailable(f"The engine is not ready: {reason}.")
        return self._dispatcher

    def _check_room(self, accepted: int) -> None:
        if accepted >= self._capacity.queue_size + self._capacity.batch_size:
            raise QueueFull(f"{accepted} requests wait or run already. Try again later.")

    def _enqueue(self, run: Callable[[], Any], key: Key | None = None) -> Call:
        work = self._available()
        self._check_room(len(work.calls))
        call = Call(run, key)
        work.add(call)
        return call

    async def _result(self, call: Call) -> Any:
        """What ``call`` gives. A call that waits for its turn is dropped when its last caller leaves."""
        try:
            return await call.value()
        finally:
            work = self._dispatcher
            if not call.awaited and work is not None and call in work.calls:
                work.calls.remove(call)
                self._called(call, None)

    def _called(self, call: Call, value: Any) -> None:
        """Keeps an image that was encoded; from now on the cache answers for it."""
        if call.key is not None:
            self._encoding.pop(call.key, None)
            if value is not None:
                self._images.put(call.key, value)
