"""Answer, look at the answer, answer again where that pays: the passes of one request over one encoding."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Protocol

from m3_backbone.types import EngineError, Generation
from router import passes
from router.constraints import Constraints
from router.passes import unproven
from router.policy import Decision
from router.service.deciding import Decider
from router.service.results import Routed, Run, Slots, Turns
from router.service.sampling import Sampling
from router.service.timing import Stopwatch

logger = logging.getLogger("m3_router")


class Generates(Protocol):
    """What is needed of a `Pipeline`."""

    async def generation(
        self,
        slots: Slots,
        turns: Turns,
        sampling: Sampling | None = None,
        *,
        deadline: float,
        request_id: str = "",
        watch: Stopwatch | None = None,
    ) -> Generation: ...


async def in_passes(
    pipeline: Generates,
    decider: Decider,
    first: Routed,
    turns: Turns,
    constraints: Constraints,
    sampling: Sampling | None,
    *,
    watch: Stopwatch,
    deadline: float,
    request_id: str,
) -> list[Run]:
    """The passes about one image, in order; the last one's answer is the one to give.

    Raises `EngineError` when the first of them fails. When a later one does, the answer at hand stays, and is
    not certified.
    """
    runs: list[Run] = []
    part = first
    while True:
        try:
            with watch.stage("generate"):
                generation = await pipeline.generation(
                    [part.slot], turns, sampling, deadline=deadline, request_id=request_id, watch=watch
                )
        except EngineError as error:
            if not runs:
                raise
            logger.warning("Another pass failed with %s; its first answer stays.", type(error).__name__)
            (answered,) = runs[-1].parts
            return [*runs[:-1], _with(runs[-1], unproven(answered.decision, "another pass failed"))]
        tried = [run.parts[0].decision.scale for run in runs]
        runs.append(Run((part,), generation))
        with watch.stage("route"):
            decision = await decider.reconsider(part.decision, generation, part.inputs, constraints, tried)
        if decision.scale == part.decision.scale:
            return [*runs[:-1], _with(runs[-1], decision)]
        part = replace(part, decision=decision)


def alone(routed: Routed) -> Routed:
    """As it is where nobody will think the answer over (`router.passes.alone`)."""
    return replace(routed, decision=passes.alone(routed.decision))


def _with(run: Run, decision: Decision) -> Run:
    """``run`` about one image, with another ``decision`` at the same scale."""
    (part,) = run.parts
    return replace(run, parts=(replace(part, decision=decision),))
