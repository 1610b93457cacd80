"""What the endpoints share: work that ends when its client leaves, and how often a request changes hands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from m3_backbone.worker import Worker
from router.service.failures import ClientGone
from router.service.state import while_connected
from router.service.threads import Threads
from tests.serving import ScriptedRouter, app_of, talking


def request(left: asyncio.Event) -> Request:
    """Its client leaves when ``left`` is set."""

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http"}, receive)


def test_work_of_a_client_who_stays_is_done() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    async def talk() -> None:
        assert await while_connected(request(asyncio.Event()), work()) == 7
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}  # nobody listens on

    asyncio.run(talk())


def test_work_of_a_client_who_leaves_is_cancelled_and_the_task_goes_on() -> None:
    left, ended = asyncio.Event(), list[str]()

    async def work() -> None:
        left.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # it has time to clear up
            ended.append("work")

    async def talk() -> None:
        with pytest.raises(ClientGone):
            await while_connected(request(left), work())
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        ended.append("task")

    asyncio.run(talk())
    assert ended == ["work", "task"]


def test_who_is_cancelled_while_the_client_leaves_is_cancelled() -> None:
    async def talk() -> None:
        left = asyncio.Event()

        async def work() -> None:
            await asyncio.Event().wait()

        task = asyncio.create_task(while_connected(request(left), work()))
        await asyncio.sleep(0)
        left.set()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(talk())


def test_an_answer_that_is_there_when_the_client_leaves_is_kept() -> None:
    async def talk() -> None:
        left = asyncio.Event()

        async def work() -> int:
            try:
                left.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
            return 7

        assert await while_connected(request(left), work()) == 7
        await asyncio.sleep(0)

    asyncio.run(talk())


def test_a_request_about_a_known_picture_changes_threads_four_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding and hashing in one, the summary, the router and the answer in one each: what a hand-over costs
    is most of what the service costs."""
    handed: list[str] = []

    def noting(kind: Any, name: str, told: str) -> None:
        method: Callable[..., Any] = getattr(kind, name)

        def noted(*values: Any, **more: Any) -> Any:
            handed.append(told)
            return method(*values, **more)

        monkeypatch.setattr(kind, name, noted)

    with talking(app_of(router=ScriptedRouter())) as http:
        first = http.answer().json()
        noting(Threads, "run", "service")
        noting(Worker, "submit", "engine")
        noting(asyncio, "to_thread", "asyncio")
        noting(asyncio.BaseEventLoop, "run_in_executor", "asyncio")
        assert http.answer().json()["answer"] == first["answer"]
    assert handed == ["service", "engine", "service", "engine"]
