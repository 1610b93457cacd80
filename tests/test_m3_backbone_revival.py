"""Runners that died or hang are started again: when, how often, and what callers see meanwhile."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from m3_backbone.fake import MARKERS, FakeEngine, FakeRunner
from m3_backbone.revival import LEFT_BEHIND, LONGEST_S, Revival
from m3_backbone.types import Engine, EngineUnavailable
from tests.engine_talk import answer, asks, during, picture, until
from tests.gated import engine_of, have_patience, text
from tests.test_m3_backbone_engine_faults import Scripted, good, raises


def test_each_attempt_waits_twice_as_long_until_the_model_was_well_for_a_while() -> None:
    now = [0.0]
    revival = Revival(1.0, clock=lambda: now[0])
    pauses = []
    for _ in range(9):
        pauses.append(revival.next_pause_s())
        now[0] += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_S, LONGEST_S, LONGEST_S]
    now[0] += 2 * LONGEST_S
    assert revival.next_pause_s() == LONGEST_S
    now[0] += LONGEST_S + 2 * LONGEST_S + 1
    assert revival.next_pause_s() == 1


def test_time_in_which_the_model_hung_is_no_time_in_which_it_was_well() -> None:
    now = [0.0]
    revival = Revival(1.0, clock=lambda: now[0])
    pauses = []
    for _ in range(4):
        pauses.append(revival.next_pause_s(hung_s=5 * LONGEST_S))
        now[0] += pauses[-1] + 5 * LONGEST_S
    assert pauses == [1, 2, 4, 8]


@pytest.mark.parametrize("error", [SystemExit(3), EngineUnavailable("lost")])
def test_a_runner_that_died_is_started_again_and_answers(error: BaseException) -> None:
    threads: list[str | int | None] = []

    class Runner(Scripted):
        def revive(self) -> None:
            threads.append(threading.get_ident())

    queue = engine_of(Runner([raises(error), good]), restart_s=0.01)

    async def talk(engine: Engine) -> None:
        with pytest.raises(EngineUnavailable):
            await answer(engine, text("a"))
        assert not engine.health().ready
        await until(lambda: engine.health().ready)
        assert engine.health().restarts == 1
        assert (await answer(engine, text("b"))).text
        assert len(threads) == 1
        assert threads != [threading.get_ident()]

    during(queue, talk)


def test_a_runner_that_cannot_be_asked_is_taken_as_it_is() -> None:
    async def talk(engine: Engine) -> None:
        with pytest.raises(EngineUnavailable):
            await answer(engine, text("a"))
        await until(lambda: engine.health().ready)
        assert (await answer(engine, text("b"))).text

    during(engine_of(Scripted([raises(SystemExit(3)), good]), restart_s=0.01), talk)


def test_images_that_were_encoded_before_a_death_are_of_use_after_it() -> None:
    async def talk(engine: Engine) -> None:
        image = await engine.encode(picture())
        before = await answer(engine, asks(image, 9, "What?"))
        with pytest.raises(EngineUnavailable):
            await answer(engine, asks(image, 9, "[death]"))
        await until(lambda: engine.health().ready)
        assert await engine.encode(picture()) is image
        assert await answer(engine, asks(image, 9, "What?")) == before

    during(FakeEngine(faults=MARKERS, restart_s=0.01), talk)


def test_a_death_while_encoding_is_survived_too() -> None:
    runner = Scripted([good], fault=EngineUnavailable("lost"))

    async def talk(engine: Engine) -> None:
        results = await asyncio.gather(
            engine.encode(picture()), engine.encode(picture(1)), return_exceptions=True
        )
        assert [type(result) for result in results] == [EngineUnavailable] * 2
        runner.fault = None
        await until(lambda: engine.health().ready)
        assert await engine.encode(picture())

    during(engine_of(runner, restart_s=0.01), talk)


def test_while_the_model_does_not_come_back_nothing_is_accepted(caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine(faults=MARKERS, mortal=True, restart_s=0.001)

    async def talk(_: Engine) -> None:
        with pytest.raises(EngineUnavailable):
            await answer(engine, text("[death]"))
        await until(lambda: caplog.text.count("did not come back") > 2)
        assert not engine.health().ready
        with pytest.raises(EngineUnavailable, match="the model died"):
            await answer(engine, text("a"))
        engine.fake.mortal = False
        await until(lambda: engine.health().ready)
        assert (await answer(engine, text("a"))).text

    with caplog.at_level(logging.WARNING):
        during(engine, talk)
    assert "as asked" not in caplog.text


def test_a_runner_that_hangs_for_good_is_left_behind_and_its_thread_speaks_for_nobody() -> None:
    engine = FakeEngine(faults=MARKERS, restart_s=0.01)

    async def talk(_: Engine) -> None:
        image = await engine.encode(picture())
        expected = await answer(engine, asks(image, 9, "What?"))
        have_patience(engine, 0.05)
        with pytest.raises(EngineUnavailable, match="does not respond"):
            await answer(engine, asks(image, 9, "[hang]"))
        assert not engine.health().ready
        await until(lambda: engine.health().restarts == 1)
        have_patience(engine, 60)
        assert engine.health().ready
        assert await answer(engine, asks(image, 9, "What?")) == expected
        engine.fake.released.set()  # the thread that was left behind goes on, and has nothing to say
        assert await answer(engine, asks(image, 9, "What?")) == expected
        await until(lambda: engine.health().running == 0)
        assert engine.health().ready

    during(engine, talk)


def test_threads_that_hang_are_left_behind_up_to_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine(faults=MARKERS, restart_s=0.001)
    before = set(threading.enumerate())  # of an engine before, which may not have ended yet

    async def talk(_: Engine) -> None:
        have_patience(engine, 0.05)
        for times in range(1, LEFT_BEHIND + 1):
            with pytest.raises(EngineUnavailable):
                await answer(engine, text("[hang]"))
            await until(lambda times=times: engine.health().restarts == times)  # type: ignore[misc]
        with pytest.raises(EngineUnavailable):
            await answer(engine, text("[hang]"))
        await until(lambda: "no other is started" in caplog.text)
        assert not engine.health().ready
        mine = set(threading.enumerate()) - before
        assert sum("m3-fake" in thread.name for thread in mine) == LEFT_BEHIND + 1
        engine.fake.released.set()
        await until(lambda: engine.health().ready)
        have_patience(engine, 60)
        assert (await answer(engine, text("a"))).text

    during(engine, talk)


def test_an_engine_whose_revival_hangs_tries_another_thread() -> None:
    class Runner(FakeRunner):
        tried = 0

        def revive(self) -> None:
            self.tried += 1
            if self.tried == 1:
                self.released.wait()

    runner = Runner(faults=MARKERS)
    queue = engine_of(runner, restart_s=0.001)

    async def talk(engine: Engine) -> None:
        with pytest.raises(EngineUnavailable):
            await answer(engine, text("[death]"))
        have_patience(queue, 0.05)
        await until(lambda: engine.health().ready)
        have_patience(queue, 60)
        assert runner.tried == 2
        assert (await answer(engine, text("a"))).text
        runner.released.set()

    during(queue, talk)


def test_closing_while_the_model_is_dead_does_not_wait_for_it() -> None:
    engine = FakeEngine(faults=MARKERS, mortal=True, restart_s=3600)

    async def talk(_: Engine) -> None:
        with pytest.raises(EngineUnavailable):
            await answer(engine, text("[death]"))

    during(engine, talk)
    assert engine.health().reason == "closed"
