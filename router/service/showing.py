"""The moment from which on an answer may be shown token by token, because none of them will be taken back.

Without a cascade that is the first token. With one, a pass is held back, for `Settings.stream_buffer` tokens
at most. An answer that ends within them is looked at as a whole, as without a stream. Of a longer one the
first tokens decide, by their probabilities; what a router has learned is of whole answers, so under it the
longer one is shown. A pass after which no other may follow is not held back at all.

That is another policy than the cascade that sees every answer whole, and has a name of its own (`STREAMED`);
no certificate is of it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from m3_backbone.types import EngineError, Generation, TokenEvent
from router.cascade import MOST_PASSES
from router.constraints import Constraints, PolicyName
from router.policy import Decision
from router.service.costing import cost_so_far
from router.service.deciding import Decider
from router.service.pipeline import Pipeline, Turns
from router.service.results import Routed, Run
from router.service.sampling import Sampling
from router.service.timing import Stopwatch

logger = logging.getLogger("m3_router")

STREAMED: PolicyName = "cascade_stream"


@dataclass(frozen=True, slots=True)
class Showing:
    """An answer that may be shown.

    before: passes that were made and are not shown. parts: what is answered about. held: tokens that are
    there already; they may be all. rest: those that follow, to be closed. request_id: of this pass alone.
    """

    before: tuple[Run, ...]
    parts: tuple[Routed, ...]
    held: tuple[TokenEvent, ...]
    rest: AsyncGenerator[TokenEvent, None]
    request_id: str

    @property
    def whole(self) -> Generation | None:
        """The answer, if it is all there."""
        return self.held[-1].generation

    async def tokens(self) -> AsyncGenerator[TokenEvent, None]:
        """All of them, once; the last has the generation. Raises `EngineError`."""
        async with aclosing(self.rest):
            for event in self.held:
                yield event
            if self.whole is None:
                async for event in self.rest:
                    yield event

    async def close(self) -> None:
        """For an answer that will not be shown after all."""
        await self.rest.aclose()


@dataclass(frozen=True, slots=True)
class Shower:
    """Makes answers that may be shown, for one request."""

    pipeline: Pipeline
    decider: Decider
    turns: Turns
    sampling: Sampling
    watch: Stopwatch
    deadline: float
    request_id: str

    async def once(self, parts: tuple[Routed, ...], before: tuple[Run, ...] = ()) -> Showing:
        """In one pass, from its first token on. Raises `EngineError`."""
        return await self._begun(parts, before, tokens=1)

    async def in_passes(self, first: Routed, constraints: Constraints, buffer: int) -> Showing:
        """In as many passes about one image as pay. Raises `EngineError` when the first of them fails.

        When a later one does, the answer at hand is shown; one that was cut off is made again.
        """
        part = replace(first, decision=_streamed(first.decision))
        before: list[Run] = []
        whole: Showing | None = None  # the answer of the pass before, if it is all there
        while True:
            last = len(before) + 1 >= MOST_PASSES or part.decision.scale == part.inputs.ladder.full
            try:
                showing = await self._begun((part,), tuple(before), tokens=1 if last else buffer)
            except EngineError as error:
                if not before:
                    raise
                logger.warning("Another pass failed with %s; its first answer stays.", type(error).__name__)
                return whole or await self.once(before[-1].parts, tuple(before))
            if last:
                return showing
            try:
                decision = await self._next(showing, constraints)
            except BaseException:
                await showing.close()
                raise
            if decision is part.decision:
                return showing
            whole = showing if showing.whole is not None else None
            before.append(Run((part,), await self._ended(showing)))
            part = replace(part, decision=_streamed(decision))

    async def _begun(self, parts: tuple[Routed, ...], before: tuple[Run, ...], *, tokens: int) -> Showing:
        """The first ``tokens`` of an answer, or all of it when it has fewer."""
        # An id of its own: a client may use one for several requests, and only this one may be cut off.
        request_id = f"{self.request_id}/{uuid.uuid4().hex}"
        rest = self.pipeline.tokens(
            [part.slot for part in parts],
            self.turns,
            self.sampling,
            deadline=self.deadline,
            request_id=request_id,
        )
        held: list[TokenEvent] = []
        try:
            with self.watch.stage("generate"):
                while len(held) < tokens and not (held and held[-1].generation is not None):
                    held.append(await anext(rest))
                    if len(held) == 1:
                        self.watch.first_token()
        except BaseException:
            await rest.aclose()
            raise
        if before:  # about one image
            cost = cost_so_far(self.pipeline.engine, before, parts[0])
            parts = (replace(parts[0], cost=cost),)
        return Showing(before, parts, tuple(held), rest, request_id)

    async def _next(self, showing: Showing, constraints: Constraints) -> Decision:
        """What follows now that so much of an answer is there; the decision of its part: it is shown."""
        (part,) = showing.parts
        seen = showing.whole
        if seen is None:
            if constraints.cascade is True:
                return part.decision
            seen = _so_far(showing)
        tried = [run.parts[0].decision.scale for run in showing.before]
        with self.watch.stage("route"):
            return await self.decider.reconsider(part.decision, seen, part.inputs, constraints, tried)

    async def _ended(self, showing: Showing) -> Generation:
        """What the pass of ``showing`` has made by now; one that is not done is cut off."""
        async with aclosing(showing.rest):
            if showing.whole is not None:
                return showing.whole
            await self.pipeline.engine.abort(showing.request_id)
            try:
                async for event in showing.rest:
                    if event.generation is not None:
                        return event.generation
            except EngineError as error:
                logger.warning("A pass that was cut off failed with %s.", type(error).__name__)
        return _so_far(showing)


def _streamed(decision: Decision) -> Decision:
    policy = STREAMED if decision.policy == "cascade" else decision.policy
    return replace(decision, policy=policy, certified=False)


def _so_far(showing: Showing) -> Generation:
    """The first tokens of an answer as if they were all; the margin of the first is not known."""
    (part,) = showing.parts
    image, scale = part.slot
    visual_tokens = image.n_tokens(scale)
    return Generation(
        text="".join(event.text for event in showing.held),
        token_ids=tuple(event.token_id for event in showing.held if event.token_id is not None),
        logprobs=tuple(event.logprob for event in showing.held if event.logprob is not None),
        first_margin=0.0,
        finish_reason="abort",
        prompt_tokens=visual_tokens + part.inputs.text_tokens,
        visual_tokens=visual_tokens,
    )
