"""What the pipeline gives: a routed request, an answered one, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from m3_backbone.types import EncodedImage, Generation, RouteInputs
from router.policy import Decision

Turns = Sequence[str]
"""What was said: user, assistant, user, ...; the user's is the last."""


class Readable(Protocol):
    """An image file that has to be got first. `read` raises members of `M3Error`."""

    async def read(self) -> bytes: ...


Picture = bytes | Readable
"""An image file of a request."""

Slots = Sequence[tuple[EncodedImage, int]]
"""The images of a prompt, each at its scale."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request costs in all its passes, and would have cost in one at the full scale.

    FLOPs are of the whole path, tower included, with the same number of new tokens in the last pass and at
    the full scale.
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
    cost: of the prompt and one new token, until an answer says how many there were and how many passes.
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
class Run:
    """One pass: what was routed, and the answer that was made of it."""

    parts: tuple[Routed, ...]
    generation: Generation

    @property
    def slots(self) -> Slots:
        return [part.slot for part in self.parts]

    @property
    def scale(self) -> int:
        """The largest of its images; 0 without one."""
        return max((part.decision.scale for part in self.parts), default=0)


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass used; the first one's FLOPs include the encoding, which later ones do not pay again."""

    scale: int
    visual_tokens: int
    flops: int
    prompt_tokens: int
    new_tokens: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A finished request and its cost.

    passes: in order; the last one's answer is ``generation``.
    scale: the largest of its images; 0 without one. parts: one per image, empty when there is none or the
    caller fixed the scale (`Pipeline.answer_at`). first_token_ms: until the first token of ``generation``.
    """

    scale: int
    generation: Generation
    cost: Cost
    timings_ms: dict[str, float]
    parts: tuple[Routed, ...] = ()
    passes: tuple[Pass, ...] = ()
    first_token_ms: float | None = None

    @property
    def routed(self) -> Routed:
        """The decision that speaks for the request (`leading`); there must be one."""
        part = leading(self.parts)
        assert part is not None
        return part


def leading(parts: Sequence[Routed]) -> Routed | None:
    """The part with the largest scale, the first of several; None without parts."""
    return max(parts, key=lambda part: part.decision.scale, default=None)
