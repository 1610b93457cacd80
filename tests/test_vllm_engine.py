"""The engine on vLLM passes what every engine must, and vLLM's death is survived."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from m3_backbone import load_backbone
from m3_backbone.host import Host
from m3_backbone.model import M3Model
from m3_backbone.types import EngineUnavailable, Generation
from m3_backbone.vllm_engine import VllmEngine
from tests.backbones import write_checkpoint
from tests.engine_conformance import EngineConformance, Make
from tests.engine_talk import answer, asks, during, picture, until
from tests.vllm_running import NEEDS_VLLM, running

pytestmark = NEEDS_VLLM
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}  # of a size that vLLM has


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> M3Model:
    return load_backbone(write_checkpoint(tmp_path_factory.mktemp("engine") / "m3", **HEADS))


@pytest.fixture(scope="module")
def host(backbone: M3Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with running(backbone, tmp_path_factory.mktemp("cache")) as host:
        yield host


def making(backbone: M3Model, host: Host) -> Make:
    def make(**settings: Any) -> VllmEngine:
        return VllmEngine(backbone, host, **settings)

    return make


@pytest.fixture
def make(backbone: M3Model, host: Host) -> Make:
    return making(backbone, host)


class TestVllmEngine(EngineConformance):
    @pytest.fixture
    def make(self, backbone: M3Model, host: Host) -> Make:
        return making(backbone, host)


def test_an_aborted_request_that_runs_ends_with_what_it_has(make: Make) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        request = asks(image, engine.ladder.smallest, max_new_tokens=150, request_id="a")
        async with aclosing(engine.generate(request)) as stream:
            first = await anext(stream)
            await engine.abort("a")
            last = [event async for event in stream][-1].generation
        assert isinstance(last, Generation)
        assert last.token_ids[0] == first.token_id
        assert last.finish_reason == "abort" or len(last.token_ids) == 150

    during(make(), talk)


def test_a_seed_gives_the_same_sample_again_and_another_one_another(make: Make) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        drawn = [
            (await answer(engine, asks(image, 1, max_new_tokens=30, temperature=1.5, seed=seed))).token_ids
            for seed in (1, 1, 2, -1)
        ]
        assert drawn[0] == drawn[1]
        assert len(set(drawn)) == 3
        best = await answer(engine, asks(image, 1, max_new_tokens=9, temperature=1.5, top_p=0.0))
        assert best.token_ids == (await answer(engine, asks(image, 1, max_new_tokens=9))).token_ids

    during(make(), talk)


def test_vllm_that_is_killed_is_started_again(make: Make) -> None:
    async def talk(engine: Any) -> None:
        image = await engine.encode(picture())
        before = await answer(engine, asks(image, engine.ladder.smallest))
        running = [
            asyncio.create_task(answer(engine, asks(image, engine.ladder.smallest, max_new_tokens=200)))
            for _ in range(3)
        ]
        await until(lambda: engine.health().running == 3)
        for process in multiprocessing.active_children():
            if process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)
        for failed in await asyncio.gather(*running, return_exceptions=True):
            assert isinstance(failed, EngineUnavailable)
        assert not engine.health().ready
        while not engine.health().ready:  # a start takes a while; pytest's own limit ends this
            await asyncio.sleep(0.1)
        assert engine.health().restarts >= 1
        assert (await answer(engine, asks(image, engine.ladder.smallest))).token_ids == before.token_ids

    async def whole() -> None:
        engine = make(restart_s=0.1)
        await engine.start()
        try:
            await talk(engine)
        finally:
            await engine.close()

    asyncio.run(whole())
