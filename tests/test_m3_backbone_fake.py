"""The fake engine passes what every engine must pass, and has the faults that a test asks for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from m3_backbone.fake import LADDER, MARKERS, FakeEngine
from m3_backbone.images import content_hash
from m3_backbone.scales import Ladder
from m3_backbone.types import (
    Engine,
    EngineError,
    EngineUnavailable,
    Generation,
    GenerationRequest,
    OutOfMemory,
)
from tests.engine_conformance import EngineConformance, Make
from tests.engine_talk import answer, asks, during, picture, until
from tests.gated import have_patience


class TestFakeEngine(EngineConformance):
    @pytest.fixture
    def make(self) -> Make:
        return FakeEngine


class TestFakeEngineWithViews(EngineConformance):
    """Several views and another ladder."""

    @pytest.fixture
    def make(self) -> Make:
        def make(**settings: Any) -> FakeEngine:
            return FakeEngine(ladder=Ladder((1, 4, 16)), views=5, **settings)

        return make


def test_every_image_and_question_has_a_scale_from_which_on_the_answer_stays() -> None:
    async def talk(engine: Engine) -> None:
        image = await engine.encode(picture())
        firsts = set()
        for i in range(30):
            texts = [
                (await answer(engine, asks(image, s, f"question {i}?"))).token_ids for s in engine.ladder
            ]
            first = texts.index(texts[-1])
            assert texts[first:] == texts[-1:] * (len(texts) - first)
            firsts.add(first)
        assert len(firsts) > 2

    during(FakeEngine(), talk)


def test_two_engines_give_the_same_answers() -> None:
    async def talk(engine: Engine) -> Generation:
        return await answer(engine, asks(await engine.encode(picture()), 36))

    assert during(FakeEngine(), talk) == during(FakeEngine(), talk)


def test_sampling_depends_on_the_seed_alone() -> None:
    async def talk(engine: Engine) -> None:
        image = await engine.encode(picture())
        hot = [asks(image, 576, temperature=1.0, seed=seed) for seed in range(12)]
        first = [(await answer(engine, request)).text for request in hot]
        assert first == [(await answer(engine, request)).text for request in hot]
        assert len(set(first)) > 1

    during(FakeEngine(), talk)


def test_tokens_are_the_pictures_mean_colours() -> None:
    async def talk(engine: Engine) -> None:
        image = await engine.encode(Image.new("RGB", (50, 70), (255, 0, 51)))
        for scale in LADDER:
            np.testing.assert_allclose(image.tokens(scale), np.tile([1, 0, 0.2, 0], (scale, 1)), atol=1e-5)
        left = Image.new("RGB", (48, 48))
        left.paste((255, 255, 255), (0, 0, 24, 48))
        halves = (await engine.encode(left)).tokens(36).reshape(6, 6, 4)
        np.testing.assert_allclose(halves[:, :3, :3], 1, atol=1e-5)
        np.testing.assert_allclose(halves[:, 3:], 0, atol=1e-5)

    during(FakeEngine(), talk)


def test_route_inputs_tell_a_plain_picture_from_a_busy_one() -> None:
    async def talk(engine: Engine) -> None:
        busy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8))
        plain = await engine.summarise(await engine.encode(Image.new("RGB", (96, 96), "red")), ("a",))
        full = await engine.summarise(await engine.encode(busy), ("a",))
        place = plain.grid_stat_names.index("lost_144")
        assert plain.grid_stats[place] < full.grid_stats[place]

    during(FakeEngine(), talk)


def test_without_faults_asked_for_a_marker_is_a_question() -> None:
    async def talk(engine: Engine) -> None:
        image = await engine.encode(picture())
        for marker in MARKERS:
            assert await answer(engine, asks(image, 1, marker))
            assert np.isfinite((await engine.summarise(image, (marker,))).grid_stats).all()

    during(FakeEngine(), talk)


def test_no_memory_fails_one_request() -> None:
    async def talk(engine: Engine) -> None:
        image = await engine.encode(picture())
        asked = [asks(image, 1, question) for question in ("a", "b [oom]", "c")]
        results = await asyncio.gather(*(answer(engine, r) for r in asked), return_exceptions=True)
        assert [type(result) for result in results] == [Generation, OutOfMemory, Generation]
        assert engine.health().ready

    during(FakeEngine(faults=MARKERS), talk)


def test_an_exception_of_the_runner_fails_the_request_that_caused_it() -> None:
    engine = FakeEngine(faults={"bad": "exception"})

    async def talk(engine: Engine) -> None:
        image = await engine.encode(picture())
        asked = [asks(image, 1, question) for question in ("a", "bad", "c")]
        results = await asyncio.gather(*(answer(engine, r) for r in asked), return_exceptions=True)
        assert [type(result) for result in results] == [Generation, EngineError, Generation]
        assert "as asked" not in str(results[1])
        assert engine.health().ready

    during(engine, talk)
    assert engine.fake.batches == [3, 1, 1, 1]


def test_death_ends_the_engine_and_every_request() -> None:
    async def talk(engine: Engine) -> None:
        image = await engine.encode(picture())
        asked = [asks(image, 1, question) for question in ("a", "[death]", "c")]
        results = await asyncio.gather(*(answer(engine, r) for r in asked), return_exceptions=True)
        assert [type(result) for result in results] == [EngineUnavailable] * 3
        assert not engine.health().ready
        with pytest.raises(EngineUnavailable):
            await engine.encode(picture(1))

    during(FakeEngine(faults=MARKERS, restart_s=3600), talk)


def test_a_hang_is_noticed_and_the_engine_recovers_when_it_ends() -> None:
    engine = FakeEngine(faults=MARKERS)

    async def talk(engine_: Engine) -> None:
        image = await engine.encode(picture())
        have_patience(engine, 1.0)
        with pytest.raises(EngineUnavailable, match="does not respond"):
            await answer(engine, asks(image, 1, "[hang]"))
        assert not engine.health().ready
        assert "not moved" in engine.health().reason
        with pytest.raises(EngineUnavailable):
            await answer(engine, asks(image, 1, "a"))
        have_patience(engine, 60)
        engine.fake.released.set()
        await until(lambda: engine.health().ready)
        assert await answer(engine, asks(image, 1, "a"))

    during(engine, talk)


def test_nan_spoils_the_route_inputs_of_the_question() -> None:
    async def talk(engine: Engine) -> None:
        image = await engine.encode(picture())
        assert np.isnan((await engine.summarise(image, ("[nan]",))).grid_stats).all()
        assert np.isfinite((await engine.summarise(image, ("a",))).grid_stats).all()

    during(FakeEngine(faults=MARKERS), talk)


def test_an_image_may_have_a_fault_of_its_own() -> None:
    async def talk(engine: Engine) -> None:
        with pytest.raises(OutOfMemory):
            await engine.encode(picture())
        assert await engine.encode(picture(1))

    during(FakeEngine(faults={content_hash(picture()): "oom"}), talk)


def test_an_image_of_a_fake_with_another_fingerprint_is_refused() -> None:
    async def encode(engine: Engine) -> GenerationRequest:
        return asks(await engine.encode(picture()), 1)

    async def talk(engine: Engine) -> None:
        with pytest.raises(EngineError):
            await answer(engine, request)

    request = during(FakeEngine(fingerprint="other"), encode)
    during(FakeEngine(), talk)


def test_the_length_of_answers_can_be_given() -> None:
    async def talk(engine: Engine) -> None:
        request = asks(await engine.encode(picture()), 1, max_new_tokens=100)
        whole = await answer(engine, request)
        assert (len(whole.token_ids), whole.finish_reason) == (51, "stop")
        cut = await answer(engine, replace(request, max_new_tokens=50))
        assert (len(cut.token_ids), cut.finish_reason) == (50, "length")
        assert cut.text == whole.text

    during(FakeEngine(answer_tokens=50), talk)
