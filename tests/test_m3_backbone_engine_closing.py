"""Runners that hang, and engines that close."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest

from m3_backbone.fake import FakeEngine, FakeRunner
from m3_backbone.types import (
    Engine,
    EngineUnavailable,
    Generation,
    OutOfMemory,
    QueueFull,
)
from tests.engine_talk import PATIENCE_S, answer, asks, during, picture, until
from tests.gated import Gate, engine_of, have_patience, text

# Hangs and closing


def test_a_hang_fails_everyone_who_waits_and_is_seen_in_the_health() -> None:
    fake = FakeRunner(faults={"hang": "hang"})
    queue = engine_of(fake, batch_size=1)

    async def talk(engine: Engine) -> None:
        image = await engine.encode(picture())
        have_patience(queue, 0.1)
        work = [answer(engine, text("hang")), answer(engine, text("b")), engine.summarise(image, ("c",))]
        results = await asyncio.gather(*work, return_exceptions=True)
        assert isinstance(results[0], EngineUnavailable)
        assert isinstance(results[1], EngineUnavailable)
        assert engine.health().queued == engine.health().running == 0
        assert not engine.health().ready
        fake.released.set()
        await until(lambda: engine.health().ready)
        assert await engine.encode(picture()) is image

    during(queue, talk)


def test_a_slow_runner_that_shows_signs_of_life_is_not_taken_for_hung() -> None:
    async def talk(engine: Engine) -> None:
        generation = await answer(engine, text("long", max_new_tokens=60))
        assert generation.finish_reason == "length"

    during(FakeEngine(answer_tokens=100, token_delay_s=0.05, stall_s=2), talk)  # 3 s in all


def test_closing_leaves_a_runner_that_hangs_behind() -> None:
    class Noting(FakeRunner):
        done = threading.Event()

        def generate(self, *work: Any) -> list[Generation | Exception]:
            results = super().generate(*work)
            self.done.set()
            return results

    fake = Noting(faults={"hang": "hang"})
    engine = engine_of(fake, drain_s=0.1)

    async def talk() -> None:
        await engine.start()
        task = asyncio.create_task(answer(engine, text("hang")))
        await until(lambda: engine.health().running == 1)
        await engine.close()
        assert not fake.done.is_set()  # it hangs for as long as nobody releases it
        with pytest.raises(EngineUnavailable, match="closed"):
            await task

    asyncio.run(talk())
    fake.released.set()
    assert fake.done.wait(PATIENCE_S)


def test_a_close_that_is_cut_short_still_tells_every_caller() -> None:
    gate = Gate()
    engine = engine_of(gate)

    async def talk() -> None:
        await engine.start()
        task = asyncio.create_task(answer(engine, text("a")))
        await until(lambda: bool(gate.asked))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.close(), 0.05)
        with pytest.raises(EngineUnavailable):
            await task
        assert engine.health().reason == "closed"
        gate.open.set()

    asyncio.run(talk())


def test_while_closing_new_requests_are_refused() -> None:
    gate = Gate()
    engine = engine_of(gate)

    async def talk() -> None:
        await engine.start()
        task = asyncio.create_task(answer(engine, text("a")))
        await until(lambda: bool(gate.asked))
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        assert engine.health().reason == "closing"
        with pytest.raises(EngineUnavailable, match="closing"):
            await answer(engine, text("b"))
        gate.open.set()
        await closing
        assert (await task).text

    asyncio.run(talk())


def test_no_thread_is_left_after_closing() -> None:
    before = threading.active_count()

    async def talk(engine: Engine) -> None:
        await answer(engine, text("a"))

    for _ in range(3):
        during(FakeEngine(), talk)
    end = time.monotonic() + PATIENCE_S
    while threading.active_count() > before:  # one that was told to end may need a moment
        assert time.monotonic() < end, threading.enumerate()
        time.sleep(0.01)


def test_a_storm_of_callers_that_come_and_leave_is_survived() -> None:
    engine = FakeEngine(
        answer_tokens=5, token_delay_s=0.001, queue_size=10, batch_size=4, faults={"large": "oom"}
    )
    rng = np.random.default_rng(0)

    async def ask(engine: Engine, number: int) -> str:
        question = f"large {number}" if number % 10 == 7 else str(number)
        try:
            image = await engine.encode(picture(number % 7))
            await engine.summarise(image, (question,))
            async with asyncio.timeout(None if number % 3 else float(rng.random()) * 0.05):
                generation = await answer(engine, asks(image, 9, question, request_id=str(number)))
        except (OutOfMemory, QueueFull, TimeoutError) as error:
            return type(error).__name__
        return generation.finish_reason

    async def caller(engine: Engine, number: int) -> str:
        await asyncio.sleep(float(rng.random()) * 0.2)
        while (result := await ask(engine, number)) == "QueueFull":
            await asyncio.sleep(0.01)
        return result

    async def talk(engine: Engine) -> None:
        results = await asyncio.gather(*(caller(engine, number) for number in range(120)))
        for number, result in enumerate(results):
            expected = "OutOfMemory" if number % 10 == 7 else "length"
            assert result == expected or (number % 3 == 0 and result == "TimeoutError")
        await until(lambda: engine.health().running == 0)
        assert engine.health().ready
        assert engine.health().queued == 0

    during(engine, talk)
