"""What waits in an engine's queue: requests that stream tokens, and calls that give one value."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from m3_backbone.image_cache import Key
from m3_backbone.types import (
    DeadlineExceeded,
    EngineError,
    Generation,
    GenerationRequest,
    OutOfMemory,
    TokenEvent,
)


def as_engine_error(error: BaseException) -> EngineError:
    """``error`` as one request's error; what an unknown exception says is kept as its cause only."""
    if isinstance(error, EngineError):
        return error
    if isinstance(error, MemoryError):
        wrapped: EngineError = OutOfMemory("The request does not fit in memory.")
    else:
        wrapped = EngineError(f"The model failed on this request ({type(error).__name__}).")
    wrapped.__cause__ = error
    return wrapped


@dataclass(eq=False, slots=True)
class Call:
    """An encoding, a summary, or other work for the runner's thread.

    Several callers may wait for one encoding; ``key`` is where that is kept.
    """

    run: Callable[[], Any]
    key: Key | None = None
    _waiters: list[asyncio.Future[Any]] = field(default_factory=list)

    @property
    def awaited(self) -> bool:
        """Whether a caller waits for it."""
        return bool(self._waiters)

    async def value(self) -> Any:
        """What it gives, for one more caller; the others do not notice when this one leaves."""
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        finally:
            self._waiters.remove(waiter)
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # read: else one that left just then would be logged as an oversight
            del waiter  # its error holds this frame, and with it the picture of the caller

    def succeed(self, value: Any) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(value)

    def fail(self, error: EngineError) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)


@dataclass(eq=False, slots=True)
class Job:
    """A request and the events on their way to its caller. Changed by the event loop's thread alone;
    the worker's thread reads `stopped`."""

    request: GenerationRequest
    deadline: float | None  # time.monotonic
    cancelled: bool = False
    done: bool = False
    _text: str = ""
    _events: asyncio.Queue[TokenEvent | EngineError] = field(default_factory=asyncio.Queue)

    @property
    def late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    @property
    def pending(self) -> bool:
        """Events wait to be read."""
        return not self._events.empty()

    @property
    def stopped(self) -> bool:
        """Nobody waits for more tokens."""
        return self.cancelled or self.late

    async def next(self) -> TokenEvent:
        """The next event; raises what `fail` was given, or `DeadlineExceeded` at the deadline."""
        if self.pending:  # nothing to wait for
            event = self._events.get_nowait()
        else:
            event = await self._come()
        if isinstance(event, EngineError):
            try:
                raise event
            finally:
                del event  # it holds this frame, and with it the caller's request
        return event

    async def _come(self) -> TokenEvent | EngineError:
        try:
            async with asyncio.timeout(None if self.deadline is None else self.deadline - time.monotonic()):
                return await self._events.get()
        except TimeoutError:
            raise DeadlineExceeded("The request's deadline passed before its answer was complete.") from None

    def push(self, event: TokenEvent) -> None:
        """A token. With a generation it is the last one, and brings what was not streamed of the text."""
        if self.done:
            return
        generation = event.generation
        if generation is not None:
            self.done = True
            if generation.finish_reason == "abort" and self.late:
                self._events.put_nowait(DeadlineExceeded("The request's deadline passed while it ran."))
                return
            if generation.text.startswith(self._text + event.text):
                event = replace(event, text=generation.text[len(self._text) :])
        self._text += event.text
        self._events.put_nowait(event)

    def finish(self, result: Generation | Exception) -> None:
        """The runner's result; no news when the last token brought it already."""
        if isinstance(result, Exception):
            self.fail(as_engine_error(result))
        else:
            self.push(TokenEvent(text="", generation=result))

    def fail(self, error: EngineError) -> None:
        if not self.done:
            self.done = True
            self._events.put_nowait(error)

    def abort(self) -> None:
        """Ends a request that did not run."""
        nothing = Generation(
            text="",
            token_ids=(),
            logprobs=(),
            first_margin=0.0,
            finish_reason="abort",
            prompt_tokens=0,
            visual_tokens=0,
        )
        self.cancelled = True
        self.push(TokenEvent(text="", generation=nothing))
