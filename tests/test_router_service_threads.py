"""The threads in which images are decoded and routers run."""

from __future__ import annotations

import asyncio
import threading

import pytest

from router.service.threads import Busy, Threads
from tests.serving import ScriptedRouter, app_of, settings, talking


def test_calls_run_beside_the_loop_and_give_values_and_exceptions() -> None:
    async def both() -> None:
        threads = Threads(1, waiting=4, name="test")
        assert await threads.run(divmod, 7, 2) == (3, 1)
        assert await threads.run(threading.current_thread) is not threading.current_thread()
        with pytest.raises(ZeroDivisionError):
            await threads.run(divmod, 1, 0)
        threads.close()

    asyncio.run(both())


def test_a_call_that_hangs_keeps_neither_the_process_nor_the_others_for_ever() -> None:
    started, release = threading.Event(), threading.Event()
    ran: list[int] = []

    def stick() -> None:
        started.set()
        release.wait()

    async def hang() -> None:
        threads = Threads(1, waiting=2, name="test")
        stuck = asyncio.ensure_future(threads.run(stick))
        assert await asyncio.to_thread(started.wait, 60)
        waiting = [asyncio.ensure_future(threads.run(ran.append, i)) for i in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await threads.run(ran.append, 2)
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        release.set()
        await asyncio.gather(stuck, waiting[1])
        threads.close()

    asyncio.run(hang())
    assert ran == [1]
    assert all(t.daemon for t in threading.enumerate() if t.name.startswith("test-"))


def test_behind_a_router_that_hangs_every_request_is_answered_and_the_queue_stays_bounded() -> None:
    release = threading.Event()

    def hang() -> None:
        release.wait(600)

    router = ScriptedRouter(before=hang)
    app = app_of(router=router, config=settings(route_timeout_s=0.01))
    with talking(app) as http:
        try:
            for _ in range(100):
                body = http.answer().json()
                assert (body["scale"], bool(body["decision"]["fallback"])) == (576, True)
        finally:
            release.set()
