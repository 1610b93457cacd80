"""What the engine makes of runners that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from m3_backbone.fake import FakeRunner
from m3_backbone.fake_image import FakeImage
from m3_backbone.types import (
    EncodedImage,
    Engine,
    EngineError,
    EngineUnavailable,
    Generation,
    GenerationRequest,
    OutOfMemory,
    RouteInputs,
    TokenEvent,
)
from tests.engine_talk import answer, during, events_of, picture
from tests.gated import engine_of, text

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
def test_a_runner_that_dies_fails_everyone_and_nothing_is_accepted(error: BaseException) -> None:
    async def talk(engine: Engine) -> None:
        results = await asyncio.gather(*(answer(engine, text(q)) for q in "abc"), return_exceptions=True)
        assert [type(result) for result in results] == [EngineUnavailable] * 3
        assert not engine.health().ready
        assert "died" in engine.health().reason
        with pytest.raises(EngineUnavailable):
            await answer(engine, text("next"))

    during(engine_of(Scripted([raises(error), good]), batch_size=2, restart_s=3600), talk)


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

    during(engine_of(runner, restart_s=3600), talk)


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


def test_what_cannot_be_kept_fails_its_callers_and_leaves_none_waiting() -> None:
    class Runner(Scripted):
        def encode(self, pixels: Any) -> Any:
            return object()  # which has no size

    async def talk(engine: Engine) -> None:
        first, second = await asyncio.gather(
            engine.encode(picture()), engine.encode(picture(1)), return_exceptions=True
        )
        assert isinstance(first, EngineUnavailable)
        assert isinstance(second, EngineUnavailable)
        assert "dispatcher failed" in engine.health().reason

    during(engine_of(Runner([good]), restart_s=3600), talk)
