"""Room for tokens in the engine: waiting and running ones together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from m3_backbone.fake import FakeEngine
from m3_backbone.types import GenerationRequest, QueueFull, TokenEvent
from router.service.token_room import TokenRoom
from tests.chatting import chat
from tests.serving import Talk, app_of, data_uri, error_of, good, picture, settings, talking


def test_room_is_given_back_and_one_that_is_larger_than_all_of_it_is_let_in_alone() -> None:
    room = TokenRoom(100)
    with room.take(60):
        with pytest.raises(QueueFull), room.take(41):
            raise AssertionError("let in")
        with room.take(40):
            assert room.taken == 100
    with room.take(1000), pytest.raises(QueueFull), room.take(1):
        raise AssertionError("let in")
    assert room.taken == 0


def test_without_a_limit_there_is_always_room() -> None:
    room = TokenRoom(None)
    with room.take(10**9), room.take(10**9):
        assert room.taken == 2 * 10**9


class Held(FakeEngine):
    """The fake, but nothing is generated before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def generate(
        self, request: GenerationRequest, *, deadline: float | None = None
    ) -> AsyncIterator[TokenEvent]:
        await self.go.wait()
        async for event in super().generate(request, deadline=deadline):
            yield event


def test_small_requests_find_room_where_large_ones_do_not_and_all_of_it_comes_back() -> None:
    engine = Held()
    images = [data_uri(picture(size=(8 + i, 8))) for i in range(4)]

    async def many(http: Talk, scale: int, refused: int = 0) -> list[int]:
        """None ends before so many were refused."""
        if refused:
            engine.go.clear()
        asks = [
            asyncio.ensure_future(http.client.post("/v1/answer", json=good(image=image, scale=scale)))
            for image in images
        ]
        for first in asyncio.as_completed(asks[:]) if refused else ():
            await first
            refused -= 1
            if not refused:
                break
        engine.go.set()
        responses: list[Any] = await asyncio.gather(*asks)
        for response in responses:
            assert response.status_code == 200 or error_of(response)["code"] == "queue_full"
        return sorted(response.status_code for response in responses)

    config = settings(queue_tokens=1300, max_new_tokens=32)
    with talking(app_of(engine, config=config)) as http:
        large = http.run(many(http, 576, refused=2))
        small = http.run(many(http, 36))
        again = chat(http, stream=True, m3={"scale": 576}).status_code
        room = http.run(many(http, 576, refused=2))
    assert large == room == [200, 200, 503, 503]
    assert small == [200] * 4
    assert again == 200
