"""The thread that runs calls: what it says, in what order, and to whom."""

from __future__ import annotations

import asyncio
import threading
import weakref
from functools import partial
from typing import Any

import pytest

from m3_backbone.worker import Outcome, Worker


def test_what_is_posted_comes_in_order_and_before_the_outcome() -> None:
    said: list[Any] = []

    async def talk() -> None:
        worker = Worker("test")

        def call() -> str:
            for number in range(100):
                worker.post(said.append, number)
            return "done"

        outcome = await worker.submit(call, said.append)
        assert said == [*range(100), outcome]
        assert outcome == Outcome("done")
        worker.stop()

    asyncio.run(talk())


def test_a_listener_that_raises_keeps_nothing_from_the_others() -> None:
    said: list[int] = []
    raised: list[dict[str, Any]] = []

    def fails() -> None:
        raise RuntimeError("of one listener")

    async def talk() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
        worker = Worker("test")

        def call() -> None:
            worker.post(said.append, 1)
            worker.post(fails)
            worker.post(said.append, 2)

        assert (await worker.submit(call)).error is None
        worker.stop()

    asyncio.run(talk())
    assert said == [1, 2]
    assert [type(context["exception"]) for context in raised] == [RuntimeError]


def test_who_is_told_first_and_raises_is_heard_by_who_awaits() -> None:
    def fails(outcome: Outcome) -> None:
        raise KeyError(outcome.value)

    async def talk() -> None:
        worker = Worker("test")
        with pytest.raises(KeyError, match="7"):
            await worker.submit(lambda: 7, fails)
        assert (await worker.submit(lambda: 8)).value == 8
        worker.stop()

    asyncio.run(talk())


def test_a_call_that_was_given_up_tells_nobody() -> None:
    go, told = threading.Event(), list[Outcome]()

    async def talk() -> None:
        worker = Worker("test")
        future = worker.submit(go.wait, told.append)
        future.cancel()
        go.set()
        assert (await worker.submit(lambda: "next")).value == "next"
        worker.stop()

    asyncio.run(talk())
    assert told == []


def test_neither_a_call_nor_what_it_gave_is_kept_until_the_next_one_comes() -> None:
    class Large:
        """A picture."""

    kept: list[weakref.ref[Large]] = []

    async def talk() -> None:
        worker = Worker("test")

        def large(*_: Large) -> Large:
            made = Large()
            kept.append(weakref.ref(made))
            return made

        asked_with = large()
        assert (await worker.submit(partial(large, asked_with))).error is None
        del asked_with
        await asyncio.sleep(0)  # the loop holds what woke this task, until it goes on
        while worker.busy:
            await asyncio.sleep(0.001)
        assert [each() for each in kept] == [None, None]
        worker.stop()

    asyncio.run(talk())
