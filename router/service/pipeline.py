"""From an image and a question to an answer at the scale they need: decode, encode, route, generate.

The one path that the service, the command line and the benchmark all take. HTTP is not known here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from m3_backbone import images
from m3_backbone.types import (
    DeadlineExceeded,
    EncodedImage,
    Engine,
    EngineError,
    Generation,
    GenerationRequest,
    QueueFull,
    RouteInputs,
)
from router.constraints import Constraints
from router.errors import ConstraintError
from router.policy import Decision, decide
from router.prices import Prices
from router.service.threads import Busy, Threads
from router.settings import Settings

logger = logging.getLogger("m3_router")

_NO_PRICES = Prices(default=0.0, prices=(0.0,), mean_tokens=(0.0,))  # for a decision that nothing predicts


class Routes(Protocol):
    """What the pipeline needs of a `router.Router`."""

    @property
    def version(self) -> str: ...

    def route(self, inputs: RouteInputs, constraints: Constraints | None = None) -> Decision: ...


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request costs at the chosen scale, and would have cost at the full one.

    FLOPs are of the whole path, tower included, with the same number of new tokens on both sides.
    """

    visual_tokens: int
    full_visual_tokens: int
    flops: int
    full_flops: int


@dataclass(frozen=True, slots=True)
class Routed:
    """An encoded image with the decision about it.

    fallback: ``no_router``, ``late``, ``error``, ``predictor``, ``novelty`` or None: a label for metrics;
        the words for people are in ``decision.fallback``.
    cost: of the prompt and one new token, until an answer says how many there were.
    """

    image: EncodedImage
    inputs: RouteInputs
    decision: Decision
    fallback: str | None
    cost: Cost
    timings_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Answered:
    """A finished request and its cost. ``routed`` is None when the caller fixed the scale (`answer_at`)."""

    scale: int
    generation: Generation
    cost: Cost
    timings_ms: dict[str, float]
    routed: Routed | None = None


class Stopwatch:
    """Wall-clock milliseconds by stage, and in total since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = (time.perf_counter() - begin) * 1000

    def read(self) -> dict[str, float]:
        """The stages so far and ``total``, in milliseconds, to the microsecond."""
        total = (time.perf_counter() - self._start) * 1000
        return {name: round(value, 3) for name, value in (*self._stages.items(), ("total", total))}


@asynccontextmanager
async def until(deadline: float) -> AsyncIterator[None]:
    """Cancels its block at ``deadline`` (a `time.monotonic` instant); raises `DeadlineExceeded` then."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            yield
    except TimeoutError as error:
        raise DeadlineExceeded("The request's deadline passed.") from error


class Pipeline:
    """Answers requests with one engine and one router; ``router`` None means: always the full scale."""

    def __init__(self, settings: Settings, engine: Engine, router: Routes | None) -> None:
        self.settings = settings
        self.engine = engine
        self.router = router
        self.router_version = None if router is None else router.version  # a hash: made once
        self._limits = images.ImageLimits(
            max_bytes=settings.max_body_bytes, max_pixels=settings.max_image_pixels
        )
        # Two pools, so that a predictor that hangs cannot keep images from being decoded; a small one
        # for images, because every decoded image may take max_image_pixels x 3 bytes.
        waiting = engine.capacity.queue_size + engine.capacity.batch_size
        self._decoders = Threads(2, waiting=waiting, name="m3-decode")
        self._routers = Threads(2, waiting=waiting, name="m3-route")

    def close(self) -> None:
        self._decoders.close()
        self._routers.close()

    async def route(
        self, image: bytes, question: str, constraints: Constraints, *, watch: Stopwatch, deadline: float
    ) -> Routed:
        """Decode, encode, summarise, decide. Raises `ImageError`, `ConstraintError`, `EngineError`."""
        async with until(deadline):
            encoded = await self._encode(image, watch)
            with watch.stage("route"):
                inputs = await self.engine.summarise(encoded, (question,))
                decision, fallback = await self._decide(inputs, constraints)
        cost = self._cost(encoded, decision.scale, inputs.text_tokens, new_tokens=1)
        return Routed(encoded, inputs, decision, fallback, cost, watch.read())

    async def answer(
        self, image: bytes, question: str, constraints: Constraints, *, deadline: float, request_id: str
    ) -> Answered:
        """`route`, then generate at the chosen scale. Raises what `route` raises, and `EngineError`."""
        watch = Stopwatch()
        routed = await self.route(image, question, constraints, watch=watch, deadline=deadline)
        scale = routed.decision.scale
        generation = await self._generate(routed.image, question, scale, watch, deadline, request_id)
        cost = self._cost_of(routed.image, scale, generation)
        return Answered(scale, generation, cost, watch.read(), routed)

    async def answer_at(self, image: bytes, question: str, scale: int, *, deadline: float) -> Answered:
        """Decode, encode, generate at ``scale``: the path without a router, for comparisons."""
        watch = Stopwatch()
        async with until(deadline):
            encoded = await self._encode(image, watch)
        generation = await self._generate(encoded, question, scale, watch, deadline, request_id="")
        return Answered(scale, generation, self._cost_of(encoded, scale, generation), watch.read())

    async def _encode(self, image: bytes, watch: Stopwatch) -> EncodedImage:
        with watch.stage("decode"):
            try:
                pixels = await self._decoders.run(images.decode, image, self._limits)
            except Busy:
                raise QueueFull("Too many images wait to be decoded. Try again later.") from None
        with watch.stage("encode"):
            return await self.engine.encode(pixels)

    async def _generate(
        self,
        image: EncodedImage,
        question: str,
        scale: int,
        watch: Stopwatch,
        deadline: float,
        request_id: str,
    ) -> Generation:
        request = GenerationRequest(
            turns=(question,),
            images=((image, scale),),
            max_new_tokens=self.settings.max_new_tokens,
            request_id=request_id,
        )
        events = self.engine.generate(request, deadline=deadline)
        try:
            with watch.stage("generate"):
                async with until(deadline):
                    async for event in events:
                        if event.generation is not None:
                            return event.generation
        finally:  # closing aborts what is still running: a client that left, a deadline
            if (close := getattr(events, "aclose", None)) is not None:
                await close()
        raise EngineError("The engine ended its stream without an answer.")

    async def _decide(self, inputs: RouteInputs, constraints: Constraints) -> tuple[Decision, str | None]:
        if self.router is None:
            return self._full(inputs, constraints, "no router is loaded", "no_router")
        try:
            async with asyncio.timeout(self.settings.route_timeout_s):
                decision = await self._routers.run(self.router.route, inputs, constraints)
        except ConstraintError:
            raise
        except (TimeoutError, Busy):
            late = f"the router took more than {self.settings.route_timeout_s:g} s"
            return self._full(inputs, constraints, late, "late")
        except Exception as error:
            # The type alone: what an unknown exception says may quote the question.
            logger.warning("The router failed with %s; answering at the full scale.", type(error).__name__)
            return self._full(inputs, constraints, "the router failed", "error")
        if decision.fallback is None:
            return decision, None
        return decision, "novelty" if decision.probabilities else "predictor"

    def _full(
        self, inputs: RouteInputs, constraints: Constraints, why: str, label: str
    ) -> tuple[Decision, str | None]:
        """The largest scale that ``constraints`` allow. A forced scale stays forced: that is no fallback."""
        decision = decide(None, inputs.visual_tokens, inputs.ladder, constraints, _NO_PRICES, fallback=why)
        return decision, None if decision.fallback is None else label

    def _cost_of(self, image: EncodedImage, scale: int, generation: Generation) -> Cost:
        text_tokens = generation.prompt_tokens - generation.visual_tokens
        return self._cost(image, scale, text_tokens, new_tokens=max(1, len(generation.token_ids)))

    def _cost(self, image: EncodedImage, scale: int, text_tokens: int, new_tokens: int) -> Cost:
        chosen, full = (image.n_tokens(s) for s in (scale, image.ladder.full))
        flops, full_flops = (
            self.engine.flops(
                views=image.views, visual_tokens=n, text_tokens=text_tokens, new_tokens=new_tokens
            )
            for n in (chosen, full)
        )
        return Cost(chosen, full, flops, full_flops)
