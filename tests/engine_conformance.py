"""What every engine must do. A test class derives from `EngineConformance` and gives the fixture `make`.

Engines are used as the service uses them: through the `Engine` protocol alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing

import numpy as np
import pytest

from m3_backbone.images import content_hash
from m3_backbone.scales import ScaleError
from m3_backbone.types import (
    DeadlineExceeded,
    EncodedImage,
    Engine,
    EngineError,
    EngineUnavailable,
    Generation,
    GenerationRequest,
    PromptTooLong,
    QueueFull,
)
from tests.engine_talk import PATIENCE_S, Foreign, answer, asks, during, events_of, picture, until

Make = Callable[..., Engine]
"""Makes an engine that is not started; keywords are those of `QueueEngine`."""


class EngineConformance:
    """Derive, and give the fixture ``make``."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    # Life

    def test_it_says_what_it_is(self, make: Make) -> None:
        engine = make(batch_size=3, queue_size=5)
        assert engine.name
        assert engine.fingerprint == make().fingerprint
        assert len(engine.ladder) > 1
        assert (engine.capacity.batch_size, engine.capacity.queue_size) == (3, 5)
        assert engine.capacity.context_tokens > engine.ladder.smallest

    def test_it_is_ready_from_start_to_close_and_refuses_work_otherwise(self, make: Make) -> None:
        engine = make()

        async def refused() -> None:
            with pytest.raises(EngineUnavailable):
                await engine.encode(picture())
            with pytest.raises(EngineUnavailable):
                await answer(engine, GenerationRequest(("Hello?",)))

        async def life() -> None:
            assert not engine.health().ready
            assert engine.health().reason
            await refused()
            await engine.close()  # nothing to close is no fault
            await engine.start()
            await engine.start()
            assert engine.health().ready
            assert engine.health().reason == ""
            await engine.encode(picture())
            await engine.close()
            assert not engine.health().ready
            await refused()
            await engine.close()

        asyncio.run(life())

    def test_a_closed_engine_may_be_started_again_in_another_loop(self, make: Make) -> None:
        engine = make()

        async def talk(engine: Engine) -> tuple[int, ...]:
            image = await engine.encode(picture())
            return (await answer(engine, asks(image, engine.ladder.smallest))).token_ids

        assert during(engine, talk) == during(engine, talk)

    def test_closing_finishes_what_was_accepted(self, make: Make) -> None:
        engine = make(batch_size=1)

        async def talk() -> list[Generation]:
            await engine.start()
            image = await engine.encode(picture())
            asked = [asks(image, scale) for scale in engine.ladder.scales[:3]]
            answers = [asyncio.create_task(answer(engine, request)) for request in asked]
            await asyncio.sleep(0)  # all three are accepted; with batches of one, two of them wait
            await engine.close()
            return await asyncio.gather(*answers)

        assert all(generation.token_ids for generation in asyncio.run(talk()))

    # Images

    def test_an_encoded_image_describes_itself_and_has_tokens_at_every_scale(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            assert isinstance(image, EncodedImage)
            assert image.ladder == engine.ladder
            assert image.size == (60, 40)
            assert image.content_hash == content_hash(picture())
            assert image.views >= 1
            assert image.nbytes > 0
            widths = set()
            for scale in engine.ladder:
                tokens = image.tokens(scale)
                assert tokens.shape[0] == image.n_tokens(scale) >= scale
                widths.add(tokens.shape[1])
            assert len(widths) == 1
            with pytest.raises(ScaleError):
                image.n_tokens(37)

        during(make(), talk)

    def test_the_same_picture_is_encoded_once(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            together = await asyncio.gather(*(engine.encode(picture(1)) for _ in range(4)))
            later = await engine.encode(picture(1).copy())
            other = await engine.encode(picture(2))
            assert all(image is later for image in together)
            assert other is not later
            assert engine.health().cached_images == 2

        during(make(), talk)

    def test_without_a_cache_no_image_is_kept(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            first, second = await engine.encode(picture()), await engine.encode(picture())
            assert first is not second
            assert engine.health().cached_images == 0

        during(make(image_cache_bytes=0), talk)

    # Route inputs

    def test_route_inputs_are_finite_named_and_exact_in_float16(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            inputs = await engine.summarise(image, ("What is this?",))
            assert inputs.ladder == engine.ladder
            assert inputs.image_size == image.size
            assert inputs.views == image.views
            assert inputs.visual_tokens == tuple(image.n_tokens(scale) for scale in engine.ladder)
            assert inputs.grid_stats.shape == (len(inputs.grid_stat_names),)
            assert inputs.interaction.shape == (len(inputs.interaction_names),)
            assert inputs.pooled.shape[0] == sum(scale for scale in engine.ladder if scale <= 9)
            finest = max((scale for scale in engine.ladder if 9 < scale <= 36), default=0)
            assert inputs.fine.shape == (finest, inputs.pooled.shape[1])
            assert inputs.question.ndim == 1
            assert inputs.question_tokens.dtype == np.int32
            for array in (inputs.grid_stats, inputs.pooled, inputs.fine, inputs.question, inputs.interaction):
                assert array.dtype == np.float32
                assert np.isfinite(array).all()
                assert np.array_equal(array, array.astype(np.float16).astype(np.float32))

        during(make(), talk)

    def test_route_inputs_have_one_width_and_follow_image_and_question(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            images = [
                await engine.encode(picture(seed, size)) for seed, size in ((1, (60, 40)), (2, (9, 300)))
            ]
            a, b = [await engine.summarise(image, ("What is this?",)) for image in images]
            c = await engine.summarise(images[0], ("How many words are on the large sign?",))
            again = await engine.summarise(images[0], ("What is this?",))
            for name in ("grid_stats", "pooled", "question", "interaction"):
                assert len({getattr(inputs, name).shape for inputs in (a, b, c)}) == 1
                assert np.array_equal(getattr(a, name), getattr(again, name))
            assert a.grid_stat_names == b.grid_stat_names == c.grid_stat_names
            assert not np.array_equal(a.grid_stats, b.grid_stats)
            assert not np.array_equal(a.pooled, b.pooled)
            assert np.array_equal(a.grid_stats, c.grid_stats)
            assert not np.array_equal(a.question, c.question)

        during(make(), talk)

    def test_text_tokens_of_the_route_inputs_are_those_of_the_prompt(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            for turns in (("What is this?",), ("What?", "A cat.", "And its colour, and why?")):
                inputs = await engine.summarise(image, turns)
                for scale, visual in zip(engine.ladder, inputs.visual_tokens, strict=True):
                    request = GenerationRequest(turns, ((image, scale),), max_new_tokens=1)
                    try:
                        generation = await answer(engine, request)
                    except PromptTooLong:
                        continue
                    assert generation.visual_tokens == visual == request.visual_tokens
                    assert generation.prompt_tokens == visual + inputs.text_tokens

        during(make(), talk)

    # Answers

    def test_the_stream_adds_up_to_the_generation(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            for scale in engine.ladder.scales[:3]:
                events = await events_of(engine, asks(image, scale, max_new_tokens=6))
                generation = events[-1].generation
                assert generation is not None
                assert all(event.generation is None for event in events[:-1])
                assert "".join(event.text for event in events) == generation.text
                tokens = [event for event in events if event.token_id is not None]
                assert tuple(event.token_id for event in tokens) == generation.token_ids
                assert tuple(event.logprob for event in tokens) == pytest.approx(generation.logprobs)
                assert 1 <= len(generation.token_ids) == len(generation.logprobs) <= 6
                assert all(logprob <= 0 for logprob in generation.logprobs)
                assert 0 <= generation.first_margin <= 1
                assert generation.finish_reason in {"stop", "length"}

        during(make(), talk)

    def test_at_most_max_new_tokens_are_made(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            request = asks(image, engine.ladder.smallest, max_new_tokens=1)
            generation = await answer(engine, request)
            assert len(generation.token_ids) == 1
            longer = await answer(engine, asks(image, engine.ladder.smallest, max_new_tokens=5))
            assert longer.token_ids[:1] == generation.token_ids

        during(make(), talk)

    def test_an_answer_is_the_same_alone_and_in_any_company(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            images = [await engine.encode(picture(seed)) for seed in range(3)]
            asked = [
                asks(image, scale, question)
                for image in images
                for scale in engine.ladder.scales[:3]
                for question in ("What is this?", "How many?")
            ]
            alone = [(await answer(engine, request)).token_ids for request in asked]
            together = await asyncio.gather(*(answer(engine, request) for request in asked))
            assert [generation.token_ids for generation in together] == alone
            assert len(set(alone)) > 1

        during(make(batch_size=7), talk)

    def test_a_request_may_have_no_image_or_several(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            text = await answer(engine, GenerationRequest(("Hello?",), max_new_tokens=2))
            assert text.visual_tokens == 0
            assert text.prompt_tokens > 0
            first, second = await engine.encode(picture(1)), await engine.encode(picture(2))
            small, large = engine.ladder.scales[:2]
            both = GenerationRequest(("Compare.",), ((first, small), (second, large)), max_new_tokens=2)
            assert (await answer(engine, both)).visual_tokens == both.visual_tokens

        during(make(), talk)

    @pytest.mark.parametrize("question", ["<image>", "<image>" * 3, "</s>", "USER: a ASSISTANT: b", "🙂", ""])
    def test_what_looks_like_a_marker_is_text(self, make: Make, question: str) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            request = asks(image, engine.ladder.smallest, question)
            generation = await answer(engine, request)
            assert generation.visual_tokens == request.visual_tokens
            inputs = await engine.summarise(image, (question,))
            assert generation.prompt_tokens == inputs.text_tokens + generation.visual_tokens

        during(make(), talk)

    # Faults of one request

    def test_a_scale_off_the_ladder_is_refused_and_the_next_request_is_served(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            with pytest.raises(ScaleError, match="37 is not on the ladder"):
                await answer(engine, asks(image, 37))
            assert await answer(engine, asks(image, engine.ladder.smallest))

        during(make(), talk)

    def test_a_prompt_that_is_too_long_fails_alone(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            good = asks(image, engine.ladder.smallest)
            long = asks(image, engine.ladder.smallest, "word " * engine.capacity.context_tokens)
            results = await asyncio.gather(
                *(answer(engine, request) for request in (good, long, good)), return_exceptions=True
            )
            assert isinstance(results[1], PromptTooLong)
            assert isinstance(results[0], Generation)
            assert isinstance(results[2], Generation)

        during(make(), talk)

    def test_an_image_of_another_engine_fails_alone(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            foreign = Foreign(engine.ladder)
            good, bad = asks(image, engine.ladder.smallest), asks(foreign, engine.ladder.smallest)
            results = await asyncio.gather(
                *(answer(engine, request) for request in (good, bad, good)), return_exceptions=True
            )
            assert isinstance(results[1], EngineError)
            assert isinstance(results[0], Generation)
            assert isinstance(results[2], Generation)
            with pytest.raises(EngineError):
                await engine.summarise(foreign, ("What?",))

        during(make(), talk)

    # The queue

    def test_a_deadline_that_has_passed_is_never_run(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            with pytest.raises(DeadlineExceeded):
                await answer(engine, asks(image, engine.ladder.smallest), deadline=time.monotonic() - 1)
            later = time.monotonic() + PATIENCE_S
            assert await answer(engine, asks(image, engine.ladder.smallest), deadline=later)

        during(make(), talk)

    def test_more_than_the_queue_holds_is_refused_at_once_and_the_rest_answered(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            results = await asyncio.gather(
                *(answer(engine, asks(image, engine.ladder.smallest)) for _ in range(8)),
                return_exceptions=True,
            )
            kinds = [type(result) for result in results]
            assert kinds.count(QueueFull) == 5
            assert kinds.count(Generation) == 3
            assert await answer(engine, asks(image, engine.ladder.smallest))

        during(make(batch_size=1, queue_size=2), talk)

    def test_leaving_a_stream_frees_its_place(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            for _ in range(5):
                request = asks(image, engine.ladder.smallest, max_new_tokens=20)
                async with aclosing(engine.generate(request)) as stream:  # type: ignore[type-var]
                    async for _event in stream:
                        break
            await until(lambda: engine.health().running == 0)
            assert engine.health().queued == 0
            assert await answer(engine, asks(image, engine.ladder.smallest))

        during(make(batch_size=1, queue_size=1), talk)

    def test_aborting_what_is_unknown_is_no_fault(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            await engine.abort("nobody")
            await engine.abort("")
            assert engine.health().ready

        during(make(), talk)

    def test_an_aborted_request_ends_with_what_it_has(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            requests = [asks(image, engine.ladder.smallest, request_id=name) for name in ("a", "b", "c")]
            tasks = [asyncio.create_task(answer(engine, request)) for request in requests]
            await asyncio.sleep(0)  # all three are accepted; with batches of one, c waits
            await engine.abort("c")
            a, b, c = await asyncio.gather(*tasks)
            assert c.finish_reason == "abort"
            assert a.finish_reason in {"stop", "length"}
            assert b.finish_reason in {"stop", "length"}

        during(make(batch_size=1), talk)

    def test_nothing_is_left_when_all_is_answered(self, make: Make) -> None:
        async def talk(engine: Engine) -> None:
            image = await engine.encode(picture())
            await asyncio.gather(*(answer(engine, asks(image, engine.ladder.smallest)) for _ in range(6)))
            await until(lambda: engine.health().running == 0)
            assert engine.health().queued == 0

        during(make(), talk)

    # Costs

    def test_flops_grow_with_everything_that_is_asked(self, make: Make) -> None:
        engine = make()
        size = {"views": 1, "visual_tokens": 9, "text_tokens": 20, "new_tokens": 2}
        costs = [engine.flops(**size)] + [engine.flops(**{**size, name: n + 1}) for name, n in size.items()]
        assert costs[0] > 0
        assert all(cost > costs[0] for cost in costs[1:])
