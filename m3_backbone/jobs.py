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
    """An encoding or a summary. Several callers may wait for one encoding; ``key`` is where it is kept."""

    run: Callable[[], Any]
    future: asyncio.Future[Any]
    key: Key | None = None
    waiters: int = 0

    def succeed(self, value: Any) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: EngineError) -> None:
        if self.future.done():
            return
        if self.waiters:
            self.future.set_exception(error)
        else:
            self.future.cancel()  # an exception that nobody reads would be logged as an oversight


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
        try:
            async with asyncio.timeout(None if self.deadline is None else self.deadline - time.monotonic()):
                event = await self._events.get()
        except TimeoutError:
            raise DeadlineExceeded("The request's deadline passed before its answer was complete.") from None
        if isinstance(event, EngineError):
            raise event
        return event

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
