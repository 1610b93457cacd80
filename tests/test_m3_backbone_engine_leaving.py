"""Deadlines, cancellation and abort: requests that end early."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from m3_backbone.fake import FakeEngine
from m3_backbone.types import (
    DeadlineExceeded,
    Engine,
    TokenEvent,
)
from tests.engine_talk import answer, during, until
from tests.gated import Gate, closed, engine_of, text

# Deadlines and cancellation


def flowing(**settings: Any) -> Gate:
    """A runner that waits for nobody and notes which of its answers were stopped."""
    gate = Gate(**settings)
    gate.open.set()
    return gate


def test_a_deadline_that_passes_in_the_queue_is_kept_and_the_request_never_run() -> None:
    gate = Gate()

    async def talk(engine: Engine) -> None:
        first = asyncio.create_task(answer(engine, text("first")))
        await until(lambda: bool(gate.asked))
        with pytest.raises(DeadlineExceeded):
            await answer(engine, text("late"), deadline=time.monotonic() + 0.05)
        assert not first.done()
        assert engine.health().queued == 0
        gate.open.set()
        await first
        assert await answer(engine, text("next"))
        assert gate.asked == [["first"], ["next"]]

    during(engine_of(gate, batch_size=1), talk)


def test_a_deadline_that_passes_while_running_stops_the_request() -> None:
    runner = flowing(answer_tokens=2000, token_delay_s=0.005)

    async def talk(engine: Engine) -> None:
        received: list[TokenEvent] = []

        async def read() -> None:
            request = text("long", max_new_tokens=1500)
            async for event in engine.generate(request, deadline=time.monotonic() + 1):
                received.append(event)

        with pytest.raises(DeadlineExceeded):
            await read()
        assert received
        await until(lambda: engine.health().running == 0)

    during(engine_of(runner), talk)
    assert runner.stopped == [True]


def test_the_caller_of_a_runner_that_hangs_is_told_at_the_deadline() -> None:
    gate = Gate()

    async def talk(engine: Engine) -> None:
        asking = asyncio.create_task(answer(engine, text("a"), deadline=time.monotonic() + 1))
        await until(lambda: bool(gate.asked))
        with pytest.raises(DeadlineExceeded):
            await asking
        assert engine.health().running == 1
        gate.open.set()

    during(engine_of(gate), talk)


def test_closing_the_iterator_stops_the_request_in_the_runner() -> None:
    runner = flowing(answer_tokens=2000, token_delay_s=0.005)

    async def talk(engine: Engine) -> None:
        stream = engine.generate(text("long", max_new_tokens=2001 - 100))
        assert (await anext(stream)).text
        await closed(stream)
        await until(lambda: engine.health().running == 0)
        assert await answer(engine, text("next", max_new_tokens=1))

    during(engine_of(runner, batch_size=1), talk)
    assert runner.stopped == [True, False]


def test_a_caller_that_is_cancelled_leaves_the_queue() -> None:
    gate = Gate()

    async def talk(engine: Engine) -> None:
        first = asyncio.create_task(answer(engine, text("first")))
        await until(lambda: bool(gate.asked))
        waiting = asyncio.create_task(answer(engine, text("leaves")))
        await until(lambda: engine.health().queued == 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert engine.health().queued == 0
        gate.open.set()
        await first
        await answer(engine, text("next"))
        assert gate.asked == [["first"], ["next"]]

    during(engine_of(gate, batch_size=1), talk)


def test_abort_ends_a_waiting_request_without_running_it() -> None:
    gate = Gate()

    async def talk(engine: Engine) -> None:
        first = asyncio.create_task(answer(engine, text("first", request_id="1")))
        await until(lambda: bool(gate.asked))
        second = asyncio.create_task(answer(engine, text("second", request_id="2")))
        await until(lambda: engine.health().queued == 1)
        await engine.abort("2")
        aborted = await second
        assert (aborted.finish_reason, aborted.text, aborted.token_ids) == ("abort", "", ())
        gate.open.set()
        assert (await first).finish_reason != "abort"
        assert gate.asked == [["first"]]

    during(engine_of(gate, batch_size=1), talk)


def test_abort_cuts_a_running_request_and_gives_what_was_made() -> None:
    async def talk(engine: Engine) -> None:
        request = text("long", max_new_tokens=1500, request_id="1")
        received: list[TokenEvent] = []
        async for event in engine.generate(request):
            received.append(event)
            if len(received) == 3:
                await engine.abort("1")
        generation = received[-1].generation
        assert generation is not None
        assert generation.finish_reason == "abort"
        assert 3 <= len(generation.token_ids) < 1400
        assert "".join(event.text for event in received) == generation.text

    during(FakeEngine(answer_tokens=1400, token_delay_s=0.005), talk)
