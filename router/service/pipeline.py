"""From an image and a question to an answer at the scale they need: decode, encode, route, generate.

The one path that the service, the command line and the benchmark all take. HTTP is not known here.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from m3_backbone.images import ImageLimits
from m3_backbone.types import (
    EncodedImage,
    Engine,
    EngineError,
    Generation,
    GenerationRequest,
    QueueFull,
    TokenEvent,
)
from router.constraints import Constraints
from router.passes import cascades
from router.service.cascading import in_passes
from router.service.costing import cost_of_answer, cost_of_prompt, cost_of_runs
from router.service.deciding import Decider, Routes
from router.service.pictures import Pictures
from router.service.results import Answered, Cost, Picture, Routed, Run, Slots, Turns
from router.service.sampling import Sampling
from router.service.stopping import Stopping
from router.service.threads import Busy, Threads
from router.service.timing import Stopwatch, until
from router.service.token_room import TokenRoom
from router.settings import Settings

__all__ = ["KeepsApart", "Pipeline", "Slots", "Turns"]


@runtime_checkable
class KeepsApart(Protocol):
    """An engine that keeps encoded images, each owner's by themselves. digest: `images.content_hash`."""

    async def encode_in(self, namespace: str, pixels: Any, digest: str | None = None) -> EncodedImage: ...


class Pipeline:
    """Answers requests with one engine and one router; ``router`` None means: always the full scale."""

    def __init__(self, settings: Settings, engine: Engine, router: Routes | None) -> None:
        self.settings = settings
        self.engine = engine
        self._keeping = engine if isinstance(engine, KeepsApart) else None
        limits = ImageLimits(max_bytes=settings.max_body_bytes, max_pixels=settings.max_image_pixels)
        self._pictures = Pictures(limits, hashed=self._keeping is not None)
        # Two pools, so that a predictor that hangs cannot keep images from being decoded; a small one
        # for images, because every decoded image may take max_image_pixels x 3 bytes.
        waiting = engine.capacity.queue_size + engine.capacity.batch_size
        self._decoders = Threads(2, waiting=waiting, name="m3-decode")
        self._routers = Threads(2, waiting=waiting, name="m3-route")
        self._room = TokenRoom(settings.queue_tokens)
        self.use(router)

    def use(self, router: Routes | None) -> None:
        """``router`` decides from the next request on; those under way keep the one they began with."""
        self._decider = Decider(router, self._routers, self.settings.route_timeout_s)

    @property
    def decider(self) -> Decider:
        """The router in use, for all decisions about one request."""
        return self._decider

    @property
    def router(self) -> Routes | None:
        return self._decider.router

    @property
    def router_version(self) -> str | None:
        return self._decider.version

    def close(self) -> None:
        self._decoders.close()
        self._routers.close()

    async def route(
        self,
        image: Picture,
        turns: Turns,
        constraints: Constraints,
        *,
        watch: Stopwatch,
        deadline: float,
        owner: str = "",
        decider: Decider | None = None,
    ) -> Routed:
        """Decode, encode, summarise, decide. Raises `ImageError`, `ConstraintError`, `EngineError`.

        owner: whose image it is. Encodings are kept, and used again for the same owner only: else the time
        of an answer would tell whether somebody else has sent that picture. decider: the one in use now.
        """
        decider = decider or self._decider
        async with until(deadline):
            encoded = await self._encode(image, watch, owner)
            with watch.stage("route"):
                inputs = await self.engine.summarise(encoded, turns)
                decision, fallback = await decider.decide(inputs, constraints)
        cost = cost_of_prompt(self.engine, [(encoded, decision.scale)], inputs.text_tokens, new_tokens=1)
        return Routed(encoded, inputs, decision, fallback, cost, watch.read(), decider.version)

    async def route_each(
        self,
        images: Sequence[tuple[Picture, Constraints]],
        turns: Turns,
        *,
        watch: Stopwatch,
        deadline: float,
        owner: str = "",
        decider: Decider | None = None,
    ) -> tuple[Routed, ...]:
        """`route` for each of several images of one prompt, or for none; with one router for all of them."""
        decider = decider or self._decider
        common: Any = {"watch": watch, "deadline": deadline, "owner": owner, "decider": decider}
        return tuple([await self.route(image, turns, limits, **common) for image, limits in images])

    async def answer(
        self,
        image: Picture,
        turns: Turns,
        constraints: Constraints,
        *,
        deadline: float,
        request_id: str,
        sampling: Sampling | None = None,
        owner: str = "",
    ) -> Answered:
        """`route`, then generate at the chosen scale. Raises what `route` raises, and `EngineError`."""
        return await self.answer_each(
            [(image, constraints)],
            turns,
            deadline=deadline,
            request_id=request_id,
            sampling=sampling,
            owner=owner,
        )

    async def answer_each(
        self,
        images: Sequence[tuple[Picture, Constraints]],
        turns: Turns,
        *,
        deadline: float,
        request_id: str,
        sampling: Sampling | None = None,
        owner: str = "",
    ) -> Answered:
        """`answer` for a prompt with several images, or with none. About one image there may be passes."""
        watch, decider = Stopwatch(), self._decider
        parts = await self.route_each(
            images, turns, watch=watch, deadline=deadline, owner=owner, decider=decider
        )
        common: Any = {"deadline": deadline, "request_id": request_id}
        if len(parts) == 1 and cascades(images[0][1]):
            runs = await in_passes(
                self, decider, parts[0], turns, images[0][1], sampling, watch=watch, **common
            )
            return self.answered_in(runs, watch)
        with watch.stage("generate"):
            generation = await self.generation(
                [part.slot for part in parts], turns, sampling, watch=watch, **common
            )
        return self.answered(parts, generation, watch)

    async def answer_at(self, image: Picture, turns: Turns, scale: int, *, deadline: float) -> Answered:
        """Decode, encode, generate at ``scale``: the path without a router, for comparisons."""
        watch = Stopwatch()
        async with until(deadline):
            encoded = await self._encode(image, watch)
        with watch.stage("generate"):
            generation = await self.generation([(encoded, scale)], turns, deadline=deadline)
        return Answered(scale, generation, self.cost_of([(encoded, scale)], generation), watch.read())

    async def generation(
        self,
        slots: Slots,
        turns: Turns,
        sampling: Sampling | None = None,
        *,
        deadline: float,
        request_id: str = "",
        watch: Stopwatch | None = None,
    ) -> Generation:
        """What `tokens` ends with. watch: is told of the first token. Raises `EngineError`."""
        events = self._events(slots, turns, sampling, deadline, request_id)
        first = True
        async with until(deadline), aclosing(events):
            async for event in events:
                if first and watch is not None:
                    watch.first_token()
                first = False
                if event.generation is not None:
                    return event.generation
        raise AssertionError("`_events` ends with a generation or an exception")

    async def tokens(
        self,
        slots: Slots,
        turns: Turns,
        sampling: Sampling | None = None,
        *,
        deadline: float,
        request_id: str = "",
    ) -> AsyncGenerator[TokenEvent, None]:
        """The answer as it is made; the last event has the generation. Greedy by default.

        Closing it aborts what is still running: a client that left. Raises `EngineError`.
        """
        events = self._events(slots, turns, sampling, deadline, request_id)
        async with aclosing(events):
            while True:
                # A deadline for each step: steps may be taken by different tasks.
                async with until(deadline):
                    event = await anext(events)
                yield event
                if event.generation is not None:
                    return

    async def _events(
        self, slots: Slots, turns: Turns, sampling: Sampling | None, deadline: float, request_id: str
    ) -> AsyncGenerator[TokenEvent, None]:
        """`tokens`, for who keeps to the deadline himself."""
        how = sampling or Sampling(self.settings.max_new_tokens)
        request = GenerationRequest(
            turns=tuple(turns),
            images=tuple(slots),
            max_new_tokens=how.max_new_tokens,
            temperature=how.temperature,
            top_p=how.top_p,
            seed=how.seed,
            # A client may use one id for several requests: only this one must stop at its text.
            request_id=f"{request_id}/{uuid.uuid4().hex}" if how.stop else request_id,
        )
        with self._room.take(request.visual_tokens + request.max_new_tokens):
            events = self.engine.generate(request, deadline=deadline)
            stopping = Stopping(how.stop) if how.stop else None
            try:
                async for event in events:
                    if stopping is not None:
                        before, event = stopping.stopped, stopping.cut(event)
                        if stopping.stopped and not before:
                            # Not closed but aborted: the engine then tells what it has done so far.
                            await self.engine.abort(request.request_id)
                    yield event
                    if event.generation is not None:
                        return
                raise EngineError("The engine ended its stream without an answer.")
            finally:
                if (close := getattr(events, "aclose", None)) is not None:
                    await close()

    def answered(self, parts: tuple[Routed, ...], generation: Generation, watch: Stopwatch) -> Answered:
        """``generation`` with what it cost, and the times until now."""
        return self.answered_in([Run(parts, generation)], watch)

    def answered_in(self, runs: Sequence[Run], watch: Stopwatch) -> Answered:
        """The last of ``runs``, charged for all of them, and the times until now."""
        cost, passes = cost_of_runs(self.engine, runs)
        last, parts = runs[-1], runs[-1].parts
        if len(runs) > 1:  # about one image
            parts = (replace(parts[0], cost=cost),)
        return Answered(last.scale, last.generation, cost, watch.read(), parts, passes, watch.first_token_ms)

    async def _encode(self, image: Picture, watch: Stopwatch, owner: str = "") -> EncodedImage:
        if not isinstance(image, bytes):
            with watch.stage("fetch"):
                image = await image.read()
        with watch.stage("decode"):
            try:
                pixels, digest = await self._decoders.run(self._pictures.decode, image, owner)
            except Busy:
                raise QueueFull("Too many images wait to be decoded. Try again later.") from None
        with watch.stage("encode"):
            if self._keeping is not None:
                return await self._keeping.encode_in(owner, pixels, digest)
            return await self.engine.encode(pixels)

    def cost_of(self, slots: Slots, generation: Generation) -> Cost:
        """What ``generation`` from these images cost, encoding included."""
        return cost_of_answer(self.engine, slots, generation)
