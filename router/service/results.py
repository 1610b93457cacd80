"""What the pipeline gives: a routed request, an answered one, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

from m3_backbone.types import EncodedImage, Generation, RouteInputs
from router.policy import Decision


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
