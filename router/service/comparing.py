"""One image, one question, every scale: the answers side by side, from one encoding."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from m3_backbone.types import Generation, OutOfMemory, PromptTooLong
from router.constraints import Constraints
from router.service.pipeline import Pipeline, Turns
from router.service.results import Answered, Picture
from router.service.timing import Stopwatch

OWN_FAULTS = (PromptTooLong, OutOfMemory)
"""What may fail at one scale and not at a smaller one."""


@dataclass(frozen=True, slots=True)
class AtScale:
    """The answer at one scale, or one of `OWN_FAULTS`. flops: of this scale alone, tower included."""

    scale: int
    visual_tokens: int
    result: Generation | Exception
    flops: int | None


@dataclass(frozen=True, slots=True)
class Compared:
    """chosen: at the router's scale, as `Pipeline.answer` gives it. answers: one per scale of the ladder."""

    chosen: Answered
    answers: tuple[AtScale, ...]


async def compare(
    pipeline: Pipeline,
    image: Picture,
    turns: Turns,
    constraints: Constraints,
    *,
    deadline: float,
    request_id: str,
    owner: str = "",
) -> Compared:
    """Route, then answer at all scales, in batches that leave no more than one batch waiting.

    Their time together is the stage ``compare``: ``generate`` is that of one answer.

    Raises what `Pipeline.answer` raises. A scale other than the chosen one that does not fit (`OWN_FAULTS`)
    is told in its place.
    """
    constraints = replace(constraints, cascade=False)  # all passes are made anyway
    watch = Stopwatch()
    routed = await pipeline.route(image, turns, constraints, watch=watch, deadline=deadline, owner=owner)
    places = asyncio.Semaphore(pipeline.engine.capacity.batch_size)

    async def at(scale: int) -> Generation | Exception:
        try:
            async with places:
                slots = [(routed.image, scale)]
                return await pipeline.generation(slots, turns, deadline=deadline, request_id=request_id)
        except Exception as error:
            return error

    ladder = pipeline.engine.ladder
    with watch.stage("compare"):
        async with asyncio.TaskGroup() as group:
            tasks = {scale: group.create_task(at(scale)) for scale in ladder}
    results = {scale: task.result() for scale, task in tasks.items()}
    chosen = results[routed.decision.scale]
    for result in (chosen, *results.values()):
        if isinstance(result, Exception) and (result is chosen or not isinstance(result, OWN_FAULTS)):
            raise result
    assert isinstance(chosen, Generation)
    return Compared(
        chosen=pipeline.answered((routed,), chosen, watch),
        answers=tuple(
            AtScale(
                scale=scale,
                visual_tokens=routed.image.n_tokens(scale),
                result=result,
                flops=pipeline.cost_of([(routed.image, scale)], result).flops
                if isinstance(result, Generation)
                else None,
            )
            for scale, result in results.items()
        ),
    )
