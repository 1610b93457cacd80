"""What the pipeline gives: a routed request, an answered one, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
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
    router: version of the router that decided; None without one.
    """

    image: EncodedImage
    inputs: RouteInputs
    decision: Decision
    fallback: str | None
    cost: Cost
    timings_ms: dict[str, float]
    router: str | None

    @property
    def slot(self) -> tuple[EncodedImage, int]:
        """The image at its scale, as a prompt takes it."""
        return self.image, self.decision.scale


@dataclass(frozen=True, slots=True)
class Answered:
    """A finished request and its cost.

    scale: the largest of its images; 0 without one. parts: one per image, empty when there is none or the
    caller fixed the scale (`Pipeline.answer_at`).
    """

    scale: int
    generation: Generation
    cost: Cost
    timings_ms: dict[str, float]
    parts: tuple[Routed, ...] = ()

    @property
    def routed(self) -> Routed:
        """The decision that speaks for the request (`leading`); there must be one."""
        part = leading(self.parts)
        assert part is not None
        return part


def leading(parts: Sequence[Routed]) -> Routed | None:
    """The part with the largest scale, the first of several; None without parts."""
    return max(parts, key=lambda part: part.decision.scale, default=None)
