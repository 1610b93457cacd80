"""A share of the requests is answered again, at all scales, while nobody else needs the engine.

What is compared is in `router.service.quality`. Which requests: drawn at their arrival, of those that leave
everything to the router (one image, no constraint of their own, greedy decoding), because agreement is to
tell of the router and of nothing that a client asked for. Their images stay encoded until their turn comes.

One answer at one scale is made at a time, and given up for the moment when anybody else waits: another
request is delayed by one step of one answer at the most.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from m3_backbone.types import Generation, QueueFull
from router.agreement import agrees
from router.constraints import Constraints
from router.service.comparing import OWN_FAULTS
from router.service.metrics import WATCHED, Metrics
from router.service.pipeline import Pipeline, Turns
from router.service.quality import Watched
from router.service.results import Answered
from router.service.sampling import Sampling

logger = logging.getLogger("m3_router")

WAITING = 16
"""Requests that wait to be answered again; each keeps its encoded image alive."""

POLL_S = 0.02
"""Between two looks at the engine, while there is something to do."""

PATIENCE = 20
"""Times that one request is put off because others came, before it is given up."""


_HOW = frozenset({"greedy", "kind", "max_new_tokens", "dtype"})
"""Fields of constraints that choose no scale."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A request that is to be answered again: what was said, and how it is answered (None: as usual)."""

    turns: Turns
    sampling: Sampling | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    drawn: Drawn
    done: Answered
    request_id: str


class Watch:
    """Answers drawn requests again, and hands what it finds to ``tell``.

    share: of the requests that may be drawn. usual: the constraints of a request that asks for nothing.
    chance: draws from [0, 1).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        metrics: Metrics,
        tell: Callable[[Watched], None],
        *,
        share: float,
        usual: Constraints,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._pipeline = pipeline
        self._metrics = metrics
        self._tell = tell
        self._share = share
        self._usual = _asked(usual)
        self._chance = chance
        self.counts = dict.fromkeys(WATCHED, 0)
        self._queue: deque[_Waiting] = deque()
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def share(self) -> float:
        return self._share

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def draw(
        self, turns: Turns, constraints: Sequence[Constraints], sampling: Sampling | None = None
    ) -> Drawn | None:
        """Whether a request is to be watched; asked once, when it comes. constraints: of each image."""
        if self._share == 0 or self._pipeline.router is None:
            return None
        if sampling is not None and sampling.temperature > 0:
            return None
        if len(constraints) != 1 or _asked(constraints[0]) != self._usual:
            return None
        return Drawn(turns, sampling) if self._chance() < self._share else None

    def offer(self, drawn: Drawn, done: Answered, request_id: str) -> None:
        """Answer this request again when there is time. The oldest that waits gives way."""
        if self._task is None or done.generation.finish_reason == "abort":
            return
        if len(self._queue) == WAITING:
            self._queue.popleft()
            self._count("dropped")
        self._queue.append(_Waiting(drawn, done, request_id))
        self._some.set()

    def start(self) -> None:
        if self._share > 0:
            self._task = asyncio.create_task(self._run(), name="m3-watch")

    async def close(self) -> None:
        """Stop at once; what waits is forgotten."""
        task, self._task = self._task, None
        self._queue.clear()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            if not self._queue:
                self._some.clear()
                continue
            await self._idle()
            if not self._queue:
                continue
            item = self._queue.popleft()
            try:
                await self._again(item)
            except Exception as error:  # the type alone: what it says may quote the question
                self._count("failed")
                logger.warning("%s could not be watched: %s", item.request_id, type(error).__name__)
            del item  # its image must not be kept until the next one comes

    async def _again(self, item: _Waiting) -> None:
        """All scales, the full one first: without it there is nothing to compare with."""
        ladder = self._pipeline.engine.ladder
        patience = PATIENCE
        answers: dict[int, str | None] = {}
        for scale in reversed(ladder.scales):
            while True:
                try:
                    answers[scale] = await self._alone(item, scale)
                    break
                except (_Interrupted, QueueFull):
                    patience -= 1
                    if not patience:
                        self._count("dropped")
                        return
                    await self._idle()
            if answers[ladder.full] is None:
                self._count("failed")
                return
        full = answers[ladder.full]
        assert full is not None
        agreed = agrees(item.done.generation.text, full)
        self._count("agreed" if agreed else "disagreed")
        self._tell(
            Watched(
                routed=item.done.routed,
                request_id=item.request_id,
                agreed=agreed,
                at={
                    scale: None if (answer := answers[scale]) is None else agrees(answer, full)
                    for scale in ladder
                },
            )
        )

    def _count(self, outcome: str) -> None:
        self.counts[outcome] += 1
        self._metrics.watched(outcome)

    async def _alone(self, item: _Waiting, scale: int) -> str | None:
        """The answer at ``scale``; None when the prompt does not fit. Raises `_Interrupted` for others."""
        pipeline = self._pipeline
        slots = [(item.done.routed.image, scale)]
        deadline = time.monotonic() + pipeline.settings.request_timeout_s
        drawn = item.drawn
        task = asyncio.ensure_future(
            pipeline.generation(slots, drawn.turns, drawn.sampling, deadline=deadline)
        )
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=POLL_S)
                if not task.done() and pipeline.engine.health().queued:
                    raise _Interrupted
            result: Generation = task.result()
        except OWN_FAULTS:
            return None
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return result.text

    async def _idle(self) -> None:
        """Returns when the engine has nothing to do."""
        while True:
            state = self._pipeline.engine.health()
            if state.ready and not state.queued and not state.running:
                return
            await asyncio.sleep(POLL_S)


def _asked(constraints: Constraints) -> tuple[object, ...]:
    """What chooses the scale."""
    return tuple(getattr(constraints, field.name) for field in fields(constraints) if field.name not in _HOW)


class _Interrupted(Exception):
    """Somebody else waits for the engine."""
