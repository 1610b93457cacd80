"""What requests cost on an engine: one prompt, one answer, all passes of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from m3_backbone.types import Engine, Generation
from router.service.results import Cost, Pass, Routed, Run, Slots


def cost_of_prompt(
    engine: Engine, slots: Slots, text_tokens: int, new_tokens: int, *, encoded: bool = False
) -> Cost:
    """Of a prompt with these images and ``new_tokens``. encoded: the images were, for an earlier pass."""
    chosen = sum(image.n_tokens(scale) for image, scale in slots)
    full = sum(image.n_tokens(image.ladder.full) for image, _ in slots)
    views = 0 if encoded else sum(image.views for image, _ in slots)

    def flops(visual_tokens: int) -> int:
        return engine.flops(
            views=views, visual_tokens=visual_tokens, text_tokens=text_tokens, new_tokens=new_tokens
        )

    full_flops = flops(full)
    return Cost(chosen, full, full_flops if chosen == full else flops(chosen), full_flops)


def cost_of_answer(engine: Engine, slots: Slots, generation: Generation, *, encoded: bool = False) -> Cost:
    """Of ``generation`` from these images."""
    text_tokens = generation.prompt_tokens - generation.visual_tokens
    return cost_of_prompt(engine, slots, text_tokens, max(1, len(generation.token_ids)), encoded=encoded)


def cost_of_runs(engine: Engine, runs: Sequence[Run]) -> tuple[Cost, tuple[Pass, ...]]:
    """Of all passes together, and of each; the images are encoded for the first."""
    costs = [cost_of_answer(engine, run.slots, run.generation, encoded=k > 0) for k, run in enumerate(runs)]
    passes = tuple(_pass(run, cost) for run, cost in zip(runs, costs, strict=True))
    if len(runs) == 1:
        return costs[0], passes
    whole = replace(
        cost_of_answer(engine, runs[-1].slots, runs[-1].generation),
        visual_tokens=sum(each.visual_tokens for each in passes),
        flops=sum(each.flops for each in passes),
    )
    return whole, passes


def cost_so_far(engine: Engine, before: Sequence[Run], part: Routed) -> Cost:
    """Of the passes ``before`` and the prompt of the next one, with one new token; about one image."""
    passes = cost_of_runs(engine, before)[1]
    now = cost_of_prompt(engine, [part.slot], part.inputs.text_tokens, 1, encoded=True)
    return replace(
        part.cost,
        visual_tokens=now.visual_tokens + sum(each.visual_tokens for each in passes),
        flops=now.flops + sum(each.flops for each in passes),
    )


def _pass(run: Run, cost: Cost) -> Pass:
    made = run.generation
    return Pass(run.scale, cost.visual_tokens, cost.flops, made.prompt_tokens, len(made.token_ids))
