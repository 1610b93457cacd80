"""The queue under pressure: batching, deadlines, cancellation, faults, hangs, closing. Scripted runners."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from m3_backbone.engine import QueueEngine
from m3_backbone.fake import FakeEngine, FakeRunner
from m3_backbone.fake_image import FakeImage
from m3_backbone.types import (
    DeadlineExceeded,
    EncodedImage,
    Engine,
    EngineError,
    EngineUnavailable,
    Generation,
    GenerationRequest,
    OutOfMemory,
    QueueFull,
    RouteInputs,
    TokenEvent,
)
from tests.engine_conformance import answer, asks, during, events_of, picture, until


class Gate(FakeRunner):
    """The fake runner, which waits at every batch until it is let through; counts what it ran."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.open = threading.Event()
        self.asked: list[list[str]] = []
        self.stopped: list[bool] = []

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_token: Callable[[int, TokenEvent], None],
        cancelled: Callable[[int], bool],
    ) -> list[Generation | Exception]:
        self.asked.append([request.turns[-1] for request in requests])
        while not self.open.wait(0.005):
            for index in range(len(requests)):
                cancelled(index)
        results = super().generate(requests, on_token, cancelled)
        self.stopped += [isinstance(r, Generation) and r.finish_reason == "abort" for r in results]
        return results


def engine_of(runner: Any, **settings: Any) -> QueueEngine:
    fake = FakeRunner()
    return QueueEngine(runner, name="scripted", fingerprint="fake", ladder=fake.ladder, **settings)


def text(question: str, **more: Any) -> GenerationRequest:
    return GenerationRequest((question,), **more)


async def closed(stream: AsyncIterator[TokenEvent]) -> None:
    await stream.aclose()  # type: ignore[attr-defined]


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
    engine = FakeEngine(answer_tokens=40, token_delay_s=0.005)

    async def talk(engine: Engine) -> None:
        slow = asyncio.create_task(answer(engine, text("long", max_new_tokens=41)))
        quick = asyncio.create_task(answer(engine, text("short", max_new_tokens=1)))
        await quick
        assert not slow.done()
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


# Deadlines and cancellation


def test_a_deadline_that_passes_in_the_queue_is_kept_and_the_request_never_run() -> None:
    gate = Gate()

    async def talk(engine: Engine) -> None:
        first = asyncio.create_task(answer(engine, text("first")))
        await until(lambda: bool(gate.asked))
        begin = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await answer(engine, text("late"), deadline=begin + 0.05)
        assert time.monotonic() - begin < 2
        assert engine.health().queued == 0
        gate.open.set()
        await first
        assert await answer(engine, text("next"))
        assert gate.asked == [["first"], ["next"]]

    during(engine_of(gate, batch_size=1), talk)


def test_a_deadline_that_passes_while_running_stops_the_request() -> None:
    engine = FakeEngine(answer_tokens=1000, token_delay_s=0.005)

    async def talk(engine: Engine) -> None:
        received: list[TokenEvent] = []

        async def read() -> None:
            request = text("long", max_new_tokens=1500)
            async for event in engine.generate(request, deadline=time.monotonic() + 0.15):
                received.append(event)

        with pytest.raises(DeadlineExceeded):
            await read()
        assert received
        await until(lambda: engine.health().running == 0)

    begin = time.monotonic()
    during(engine, talk)
    assert time.monotonic() - begin < 3


def test_the_caller_of_a_runner_that_hangs_is_told_at_the_deadline() -> None:
    gate = Gate()

    async def talk(engine: Engine) -> None:
        begin = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await answer(engine, text("a"), deadline=begin + 0.05)
        assert time.monotonic() - begin < 2
        gate.open.set()

    during(engine_of(gate), talk)


def test_closing_the_iterator_stops_the_request_in_the_runner() -> None:
    engine = FakeEngine(answer_tokens=2000, token_delay_s=0.002, batch_size=1)

    async def talk(engine: Engine) -> None:
        stream = engine.generate(text("long", max_new_tokens=2001 - 100))
        assert (await anext(stream)).text
        await closed(stream)
        await until(lambda: engine.health().running == 0)
        assert await answer(engine, text("next", max_new_tokens=1))

    begin = time.monotonic()
    during(engine, talk)
    assert time.monotonic() - begin < 3


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
        assert 3 <= len(generation.token_ids) < 100
        assert "".join(event.text for event in received) == generation.text

    during(FakeEngine(answer_tokens=1400, token_delay_s=0.005), talk)


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


# Faults of the runner


Step = Callable[[Sequence[GenerationRequest], Any, Any], Any]


@dataclass
class Scripted:
    """A runner whose batches are scripted, one function per call; the last one is kept."""

    script: list[Step]
    fake: FakeRunner = field(default_factory=FakeRunner)
    fault: BaseException | None = None

    def encode(self, pixels: Any) -> FakeImage:
        if self.fault is not None:
            raise self.fault
        return self.fake.encode(pixels)

    def summarise(self, image: EncodedImage, turns: Sequence[str]) -> RouteInputs:
        if self.fault is not None:
            raise self.fault
        return self.fake.summarise(image, turns)

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_token: Callable[[int, TokenEvent], None],
        cancelled: Callable[[int], bool],
    ) -> Any:
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return step(requests, on_token, cancelled)

    def flops(self, **sizes: int) -> int:
        return self.fake.flops(**sizes)


def good(requests: Sequence[GenerationRequest], on_token: Any, cancelled: Any) -> Any:
    return FakeRunner().generate(requests, on_token, cancelled)


def raises(error: BaseException) -> Callable[..., Any]:
    def step(*_: Any) -> Any:
        raise error

    return step


def test_a_fault_of_a_batch_fails_only_requests_that_fail_alone() -> None:
    steps: list[Step] = [raises(RuntimeError("secret")), good, raises(MemoryError()), good]

    async def talk(engine: Engine) -> None:
        results = await asyncio.gather(*(answer(engine, text(q)) for q in "abc"), return_exceptions=True)
        assert [type(result) for result in results] == [Generation, OutOfMemory, Generation]
        assert engine.health().ready

    during(engine_of(Scripted(steps)), talk)


def test_a_request_that_was_partly_streamed_is_not_run_again() -> None:
    def breaks(requests: Sequence[GenerationRequest], on_token: Any, cancelled: Any) -> Any:
        on_token(0, TokenEvent("half", 7, -0.1))
        raise RuntimeError("secret")

    async def talk(engine: Engine) -> None:
        results = await asyncio.gather(*(events_of(engine, text(q)) for q in "ab"), return_exceptions=True)
        assert isinstance(results[0], EngineError)
        assert isinstance(results[1], list)
        assert "secret" not in str(results[0])
        assert isinstance(results[0].__cause__, RuntimeError)

    during(engine_of(Scripted([breaks, good])), talk)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), EngineUnavailable("lost")])
def test_a_runner_that_dies_ends_the_engine(error: BaseException) -> None:
    async def talk(engine: Engine) -> None:
        results = await asyncio.gather(*(answer(engine, text(q)) for q in "abc"), return_exceptions=True)
        assert [type(result) for result in results] == [EngineUnavailable] * 3
        assert not engine.health().ready
        assert "died" in engine.health().reason
        with pytest.raises(EngineUnavailable):
            await answer(engine, text("next"))

    during(engine_of(Scripted([raises(error), good]), batch_size=2), talk)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (RuntimeError("secret"), EngineError),
        (MemoryError(), OutOfMemory),
        (OutOfMemory("too much"), OutOfMemory),
        (SystemExit(1), EngineUnavailable),
    ],
)
def test_faults_of_encoding_and_summaries_are_the_engines_errors(
    fault: BaseException, expected: type[Exception]
) -> None:
    runner = Scripted(script=[good])

    async def talk(engine: Engine) -> None:
        image = await engine.encode(picture())
        runner.fault = fault
        for work in (engine.encode(picture(1)), engine.summarise(image, ("a",))):
            with pytest.raises(EngineError) as caught:
                await work
            assert type(caught.value) is expected
            assert "secret" not in str(caught.value)
        runner.fault = None
        assert engine.health().ready is (expected is not EngineUnavailable)

    during(engine_of(runner), talk)


def test_a_runner_that_gives_too_few_results_fails_its_requests() -> None:
    async def talk(engine: Engine) -> None:
        with pytest.raises(EngineError, match="0 results for 1 requests"):
            await answer(engine, text("a"))
        assert await answer(engine, text("b"))

    during(engine_of(Scripted([lambda *_: [], good])), talk)


def test_text_that_was_not_streamed_comes_with_the_last_event() -> None:
    whole = Generation("résumé", (1, 2), (-0.1, -0.2), 0.5, "stop", 3, 0)

    def holds_back(requests: Sequence[GenerationRequest], on_token: Any, cancelled: Any) -> Any:
        on_token(0, TokenEvent("rés", 1, -0.1))
        on_token(0, TokenEvent("", 2, -0.2))
        return [whole]

    async def talk(engine: Engine) -> None:
        events = await events_of(engine, text("a"))
        assert [event.text for event in events] == ["rés", "", "umé"]
        assert events[-1].generation == whole

    during(engine_of(Scripted([holds_back])), talk)


# Hangs and closing


def test_a_hang_fails_everyone_who_waits_and_is_seen_in_the_health() -> None:
    fake = FakeRunner(faults={"hang": "hang"})
    engine = engine_of(fake, stall_s=0.1, batch_size=1)

    async def talk(engine: Engine) -> None:
        image = await engine.encode(picture())
        work = [answer(engine, text("hang")), answer(engine, text("b")), engine.summarise(image, ("c",))]
        results = await asyncio.gather(*work, return_exceptions=True)
        assert isinstance(results[0], EngineUnavailable)
        assert isinstance(results[1], EngineUnavailable)
        assert engine.health().queued == engine.health().running == 0
        assert not engine.health().ready
        fake.released.set()
        await until(lambda: engine.health().ready)
        assert await engine.encode(picture()) is image

    during(engine, talk)


def test_a_slow_runner_that_shows_signs_of_life_is_not_taken_for_hung() -> None:
    async def talk(engine: Engine) -> None:
        generation = await answer(engine, text("long", max_new_tokens=20))
        assert generation.finish_reason == "length"

    during(FakeEngine(answer_tokens=100, token_delay_s=0.05, stall_s=0.8), talk)


def test_closing_leaves_a_runner_that_hangs_behind() -> None:
    fake = FakeRunner(faults={"hang": "hang"})
    engine = engine_of(fake, drain_s=0.1)

    async def talk() -> None:
        await engine.start()
        task = asyncio.create_task(answer(engine, text("hang")))
        await until(lambda: engine.health().running == 1)
        begin = time.monotonic()
        await engine.close()
        assert time.monotonic() - begin < 2
        with pytest.raises(EngineUnavailable, match="closed"):
            await task

    asyncio.run(talk())
    fake.released.set()


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
    assert threading.active_count() <= before


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
