"""The engine whose language model is elsewhere passes what every engine must, and outlives that model.

Here the model is torch's in another thread; `tests/test_vllm.py` has vLLM's.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from m3_backbone import load_backbone
from m3_backbone.host import Host
from m3_backbone.model import M3Model
from m3_backbone.types import EngineError, EngineUnavailable, Generation, GenerationRequest
from m3_backbone.vllm_engine import VllmEngine
from tests.backbones import write_checkpoint
from tests.engine_conformance import EngineConformance, Make
from tests.engine_talk import answer, asks, during, events_of, picture, until
from tests.language_models import TorchClient


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("engine") / "m3")


@pytest.fixture
def client(whole: M3Model) -> TorchClient:
    return TorchClient(whole)


@pytest.fixture(scope="module")
def whole(checkpoint: Path) -> M3Model:
    return load_backbone(checkpoint)


@pytest.fixture(scope="module")
def backbone(checkpoint: Path) -> M3Model:
    """Without its language model, as in a service."""
    backbone = load_backbone(checkpoint)
    backbone.decoder.drop_layers()
    return backbone


class TestVllmEngine(EngineConformance):
    @pytest.fixture
    def make(self, backbone: M3Model, client: TorchClient) -> Make:
        return making(backbone, client)


def making(backbone: M3Model, client: TorchClient) -> Make:
    def make(**settings: Any) -> VllmEngine:
        return VllmEngine(backbone, Host(client), **settings)

    return make


@pytest.fixture
def make(backbone: M3Model, client: TorchClient) -> Make:
    return making(backbone, client)


def test_answers_are_those_of_the_whole_model(make: Make, whole: M3Model) -> None:
    image = whole.encode_image(picture())
    turns = (("What is this?",), ("What?", "A cat.", "And its colour?"))
    scales = whole.ladder.scales
    expected = whole.generate([GenerationRequest(t, ((image, s),), 12) for t in turns for s in scales])

    async def talk(engine: Any) -> list[Generation]:
        own = await engine.encode(picture())
        requests = [GenerationRequest(t, ((own, s),), 12) for t in turns for s in scales]
        return await asyncio.gather(*(answer(engine, request) for request in requests))

    for mine, theirs in zip(during(make(), talk), expected, strict=True):
        assert mine.token_ids == theirs.token_ids
        assert (mine.text, mine.finish_reason) == (theirs.text, theirs.finish_reason)
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)
        assert mine.first_margin == pytest.approx(theirs.first_margin, abs=1e-4)


def test_a_request_joins_those_that_run(make: Make, client: TorchClient) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        long = asks(image, engine.ladder.smallest, max_new_tokens=100)
        async with aclosing(engine.generate(long)) as stream:
            await anext(stream)
            client.hangs = True  # no step without both
            other = asyncio.create_task(answer(engine, asks(image, engine.ladder.smallest)))
            await until(lambda: client.streams == 2)
            client.hangs = False
            assert (await other).token_ids

    during(make(batch_size=2), talk)


def test_leaving_a_stream_cancels_it_elsewhere(make: Make, client: TorchClient) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        client.hangs = True
        task = asyncio.create_task(answer(engine, asks(image, engine.ladder.smallest)))
        await until(lambda: client.streams == 1)
        task.cancel()
        await until(lambda: client.streams == 0)
        client.hangs = False

    during(make(), talk)


def test_an_aborted_request_that_runs_ends_with_what_it_has(make: Make, client: TorchClient) -> None:
    async def talk(engine: Any) -> Generation:
        image = await engine.encode(picture())
        request = asks(image, engine.ladder.smallest, max_new_tokens=50, request_id="a")
        async with aclosing(engine.generate(request)) as stream:
            first = await anext(stream)
            client.hangs = True
            await engine.abort("a")
            last = [event async for event in stream][-1]
            assert isinstance(last.generation, Generation)
            assert last.generation.token_ids[0] == first.token_id
            client.hangs = False
            return last.generation

    assert during(make(), talk).finish_reason == "abort"


def test_a_model_that_dies_fails_who_waits_and_is_opened_again(make: Make, client: TorchClient) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        before = await answer(engine, asks(image, engine.ladder.smallest))
        client.hangs = True
        running = [asyncio.create_task(answer(engine, asks(image, engine.ladder.smallest))) for _ in range(3)]
        await until(lambda: client.streams == 2)
        client.broken = True  # so that there is time to look
        client.kill()
        client.hangs = False
        for failed in await asyncio.gather(*running, return_exceptions=True):
            assert isinstance(failed, EngineUnavailable)
        assert not engine.health().ready
        with pytest.raises(EngineUnavailable):
            await answer(engine, asks(image, engine.ladder.smallest))
        client.broken = False
        await until(lambda: engine.health().ready)
        assert engine.health().restarts == 1
        assert (await answer(engine, asks(image, engine.ladder.smallest))).token_ids == before.token_ids

    during(make(batch_size=2, restart_s=0.01), talk)


def test_a_model_that_dies_while_nobody_asks_is_seen_and_opened_again(
    make: Make, client: TorchClient
) -> None:
    async def talk(engine: Any) -> None:
        client.kill()
        assert not engine.health().ready
        await until(lambda: engine.health().ready)
        assert engine.health().restarts == 1

    during(make(restart_s=0.01, stall_s=0.1), talk)


def test_a_model_that_hangs_is_opened_again_even_when_all_have_left(make: Make, client: TorchClient) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        client.hangs = True
        task = asyncio.create_task(answer(engine, asks(image, engine.ladder.smallest)))
        await until(lambda: client.streams == 1)
        task.cancel()
        await until(lambda: not engine.health().ready)
        await until(lambda: engine.health().restarts > 0)
        client.hangs = False
        await until(lambda: engine.health().ready)
        assert (await answer(engine, asks(image, engine.ladder.smallest))).token_ids

    during(make(restart_s=0.01, stall_s=1.0), talk)


def test_a_model_that_all_have_left_is_asked_for_a_sign_and_stays(make: Make, client: TorchClient) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        async with aclosing(engine.generate(asks(image, 1, max_new_tokens=50))) as stream:
            await anext(stream)
        asked = client.asked
        await until(lambda: client.asked > asked)
        await until(lambda: client.streams == 0)
        assert engine.health().ready
        assert engine.health().restarts == 0

    during(make(stall_s=8.0), talk)


def test_a_request_that_the_model_fails_leaves_nothing_owed(make: Make, client: TorchClient) -> None:
    stall_s = 0.5

    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        client.refuses = True
        with pytest.raises(EngineError, match="refuses"):
            await answer(engine, asks(image, engine.ladder.smallest))
        asked = client.asked
        await asyncio.sleep(3 * stall_s)  # a model that owes a token is asked for a sign, and opened again
        assert (client.asked, client.opened) == (asked, 1)
        assert engine.health().ready

    during(make(restart_s=0.01, stall_s=stall_s), talk)


def test_an_engine_whose_model_does_not_open_does_not_start(make: Make, client: TorchClient) -> None:
    client.broken = True
    with pytest.raises(EngineUnavailable, match="does not open"):
        during(make(), lambda engine: asyncio.sleep(0))


def test_closing_has_patience_for_what_runs_and_then_none(make: Make, client: TorchClient) -> None:
    async def talk() -> None:
        engine = make(drain_s=0.05)
        await engine.start()
        image = await engine.encode(picture())
        client.hangs = True
        task = asyncio.create_task(events_of(engine, asks(image, engine.ladder.smallest)))
        await until(lambda: client.streams == 1)
        start = time.monotonic()
        await engine.close()
        assert time.monotonic() - start >= 0.05
        with pytest.raises(EngineUnavailable, match="closed"):
            await task
        assert client.streams == 0

    asyncio.run(talk())
