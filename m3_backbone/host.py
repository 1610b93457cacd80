"""A thread with an event loop of its own for a language model that runs elsewhere.

The model outlives the loops of its callers, and its work on every token does not hold up theirs. Torch-free.
"""

from __future__ import annotations

import asyncio
import atexit
import signal
import threading
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from m3_backbone.language_model import Client, LanguageModelDied, Picked, Prefix

T = TypeVar("T")
_CLOSING_S = 30.0  # for a client to close, after a start that it is in; then its thread is left behind


class Host:
    """Keeps a `Client` open between `open` and `close`, and asks it for callers in any thread or loop."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._change = threading.Lock()  # one opens or closes at a time

    @property
    def dead(self) -> bool:
        """Whether it must be opened again."""
        return self._loop is None or self.client.dead

    def open(self) -> None:
        """Blocks until the model answers; nothing happens when it does. Raises what `Client.open` does."""
        with self._change:
            if self.dead:
                self._open()

    def reopen(self) -> None:
        """`open` of a new one, whatever the old one is up to."""
        with self._change:  # over both: who closes meanwhile closes the new one
            self._open()

    def _open(self) -> None:
        self._close()
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(loop,), name="m3-language-model", daemon=True)
        self._thread.start()
        self._loop = loop
        atexit.register(self.close)  # of a process that ends on an error, too
        try:
            self.run(self.client.open())
        except BaseException:
            self._close()
            raise

    def close(self) -> None:
        """Ends the model; what still runs ends with `LanguageModelDied`. It may be opened again."""
        with self._change:
            self._close()

    def _close(self) -> None:
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None  # first: nobody asks from now on
        atexit.unregister(self.close)
        end = time.monotonic() + _CLOSING_S
        try:
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._end(), loop).result(_CLOSING_S)
        finally:  # also when the client cannot close
            loop.call_soon_threadsafe(loop.stop)
            thread.join(max(0.0, end - time.monotonic()))

    async def _end(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        streams = [task for task in others if task.get_name() == _STREAM]
        for task in streams:
            task.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        await self.client.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """``work`` in the model's loop; blocks. An interrupt of the caller cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._there())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def answer_all(self, prefixes: Sequence[Prefix]) -> list[list[Picked] | Exception]:
        """Every prefix to its end, together; blocks. One result per prefix, in order."""

        async def one(prefix: Prefix) -> list[Picked]:
            async with aclosing(self.client.stream(prefix)) as stream:
                return [picked async for picked in stream]

        async def everything() -> list[list[Picked] | BaseException]:
            tasks = [asyncio.create_task(one(prefix), name=_STREAM) for prefix in prefixes]
            return await asyncio.gather(*tasks, return_exceptions=True)

        results: list[list[Picked] | Exception] = []
        for result in self.run(everything()):
            if isinstance(result, BaseException) and not isinstance(result, Exception):
                result = LanguageModelDied("The language model was closed.")
            results.append(result)
        return results

    async def stream(self, prefix: Prefix) -> AsyncGenerator[Picked, None]:
        """`Client.stream` for a caller in another loop; closing the iterator cancels at once."""
        here, there = asyncio.get_running_loop(), self._there()
        arrived: asyncio.Queue[Picked | BaseException | None] = asyncio.Queue()

        def tell(item: Picked | BaseException | None) -> None:
            with suppress(RuntimeError):  # the caller's loop is closed: nobody listens any more
                here.call_soon_threadsafe(arrived.put_nowait, item)

        async def work() -> None:
            try:
                async with aclosing(self.client.stream(prefix)) as stream:
                    async for picked in stream:
                        tell(picked)
            except asyncio.CancelledError:
                tell(LanguageModelDied("The language model was closed."))
                raise
            except BaseException as error:
                tell(error)
            else:
                tell(None)

        started: list[asyncio.Task[None]] = []
        there.call_soon_threadsafe(lambda: started.append(there.create_task(work(), name=_STREAM)))
        try:
            while (item := await arrived.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            with suppress(RuntimeError):
                there.call_soon_threadsafe(lambda: started[0].cancel())

    def _there(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise LanguageModelDied("The language model is not open.")
        return self._loop


_STREAM = "m3-stream"


def _run(loop: asyncio.AbstractEventLoop) -> None:
    # Ctrl-C in a terminal reaches every process in it. This one ends the model after the drain; what the
    # model starts from this thread must not end itself before.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
