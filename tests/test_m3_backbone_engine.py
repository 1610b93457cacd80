"""The queue: what is taken together and in what order, its bounds, its images."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from PIL import Image

from m3_backbone.engine import QueueEngine
from m3_backbone.fake import FakeEngine, FakeRunner
from m3_backbone.fake_image import FakeImage
from m3_backbone.images import content_hash
from m3_backbone.types import (
    Engine,
    QueueFull,
)
from tests.engine_talk import answer, during, picture, until
from tests.gated import Gate, engine_of, text

# Batches


def test_what_waits_together_is_answered_together_up_to_the_batch_size() -> None:
    gate = Gate()

    async def talk(engine: Engine) -> None:
        tasks = [asyncio.create_task(answer(engine, text("0")))]
        await until(lambda: gate.asked == [["0"]])
        tasks += [asyncio.create_task(answer(engine, text(str(i)))) for i in range(1, 6)]
        await until(lambda: engine.health().queued == 5)
        assert engine.health().running == 1
        gate.open.set()
        await asyncio.gather(*tasks)
        assert gate.asked == [["0"], ["1", "2", "3"], ["4", "5"]]

    during(engine_of(gate, batch_size=3), talk)


def test_a_short_answer_does_not_wait_for_the_longest_of_its_batch() -> None:
    engine = FakeEngine(answer_tokens=1000, token_delay_s=0.005)

    async def talk(engine: Engine) -> None:
        slow = asyncio.create_task(answer(engine, text("long", max_new_tokens=1000, request_id="long")))
        quick = asyncio.create_task(answer(engine, text("short", max_new_tokens=1)))
        await quick
        assert not slow.done()
        await engine.abort("long")
        await slow

    during(engine, talk)
    assert engine.fake.batches == [2]


def test_encodings_come_between_batches() -> None:
    gate = Gate()
    gate.open.set()
    order: list[str] = []

    async def talk(engine: Engine) -> None:
        async def note(name: str, work: Any) -> None:
            await work
            order.append(name)

        gate.open.clear()
        first = asyncio.create_task(note("first", answer(engine, text("a"))))
        await until(lambda: bool(gate.asked))
        second = asyncio.create_task(note("second", answer(engine, text("b"))))
        image = asyncio.create_task(note("image", engine.encode(picture())))
        await until(lambda: engine.health().queued == 2)
        gate.open.set()
        await asyncio.gather(first, second, image)
        assert order == ["first", "image", "second"]

    during(engine_of(gate, batch_size=1), talk)


def test_requests_whose_images_came_together_are_answered_together() -> None:
    class Encoder(Gate):
        def encode(self, pixels: Any) -> FakeImage:
            self.encoding.wait()
            return super().encode(pixels)

        encoding = threading.Event()

    gate = Encoder()
    gate.open.set()

    async def talk(engine: Engine) -> None:
        async def one(number: int) -> None:
            image = await engine.encode(picture(number))
            await answer(engine, text(str(number), images=((image, 9),)))

        tasks = [asyncio.create_task(one(number)) for number in range(6)]
        await until(lambda: engine.health().queued == 5)
        gate.encoding.set()
        await asyncio.gather(*tasks)
        assert sorted(gate.asked[0]) == list("012345")

    during(engine_of(gate, batch_size=6), talk)


def test_a_full_batch_does_not_wait_for_encodings_without_end() -> None:
    gate = Gate()
    gate.open.set()
    done = asyncio.Event()

    async def talk(engine: Engine) -> None:
        async def encode_on(number: int) -> None:
            while not done.is_set():
                await engine.encode(picture(number))

        crowd = [asyncio.create_task(encode_on(number)) for number in range(4)]
        await answer(engine, text("through"))
        done.set()
        await asyncio.gather(*crowd)

    during(engine_of(gate, batch_size=2, image_cache_bytes=0), talk)


def test_the_queue_is_bounded_for_images_too() -> None:
    gate = Gate()

    async def talk(engine: Engine) -> None:
        first = asyncio.create_task(answer(engine, text("first")))
        await until(lambda: bool(gate.asked))
        tasks = [asyncio.create_task(engine.encode(picture(seed))) for seed in range(5)]
        await until(lambda: sum(task.done() for task in tasks) == 2)
        gate.open.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(result, QueueFull) for result in results) == 2
        await first

    during(engine_of(gate, batch_size=1, queue_size=2), talk)


# Sharing encodings


def test_an_encoding_goes_on_while_one_of_its_callers_still_waits() -> None:
    gate = Gate()

    async def talk(engine: Engine) -> None:
        first = asyncio.create_task(answer(engine, text("first")))
        await until(lambda: bool(gate.asked))
        leaving, staying = (asyncio.create_task(engine.encode(picture())) for _ in range(2))
        await until(lambda: engine.health().queued == 1)
        await asyncio.sleep(0.02)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        gate.open.set()
        assert (await staying).size == (60, 40)
        assert gate.encoded == 1
        await first

    during(engine_of(gate), talk)


def test_an_encoding_that_nobody_waits_for_is_dropped() -> None:
    gate = Gate()

    async def talk(engine: Engine) -> None:
        first = asyncio.create_task(answer(engine, text("first")))
        await until(lambda: bool(gate.asked))
        leaving = asyncio.create_task(engine.encode(picture()))
        await until(lambda: engine.health().queued == 1)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert engine.health().queued == 0
        gate.open.set()
        await first
        assert gate.encoded == 0
        assert await engine.encode(picture())

    during(engine_of(gate), talk)


def test_namespaces_do_not_share_images() -> None:
    async def talk(engine: Engine) -> None:
        assert isinstance(engine, QueueEngine)
        mine = await engine.encode_in("me", picture())
        yours = await engine.encode_in("you", picture())
        assert mine is not yours
        assert await engine.encode_in("me", picture()) is mine
        assert await engine.encode_in("me", picture(), content_hash(picture())) is mine
        assert engine.health().cached_images == 2

    during(FakeEngine(), talk)


def test_an_image_that_is_not_rgb_is_refused() -> None:
    async def talk(engine: Engine) -> None:
        with pytest.raises(ValueError, match="got mode 'L'"):
            await engine.encode(Image.new("L", (4, 4)))

    during(FakeEngine(), talk)


@pytest.mark.parametrize("name", ["batch_size", "queue_size", "context_tokens"])
def test_limits_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        engine_of(FakeRunner(), **{name: 0})


class Wordless(str):
    """Text that must not be put into words: what a job holds may be many megabytes of tensors."""

    def __repr__(self) -> str:
        raise AssertionError("put into words")


def test_a_request_that_is_done_is_not_put_into_words() -> None:
    async def talk(engine: Engine) -> None:
        assert (await answer(engine, text(Wordless("What?")))).text

    during(FakeEngine(), talk)
