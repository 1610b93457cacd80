"""Both ways must say the same before their times may be compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from training.bench.reference import Ask, Reference


class BenchError(ValueError):
    """A measurement that cannot be made, or must not be believed."""


_ROUNDINGS = 8
"""In half precision: logits closer than so many roundings of the largest one are a tie."""


def check_same(
    reference: Reference,
    asks: Sequence[Ask],
    ours: Sequence[tuple[int, ...]],
    theirs: Sequence[tuple[int, ...]],
    dtype: torch.dtype,
) -> int:
    """Raises `BenchError` unless the greedy ids are equal; returns in how many answers a tie fell otherwise.

    float32 must agree to the last id. In bfloat16 and float16 two orders of summing may put another token
    first where the reference's own logits of the two are within rounding; from there on answers may differ.
    """
    if not len(asks) == len(ours) == len(theirs):
        raise BenchError(
            f"{len(asks)} requests, {len(ours)} answers of ours, {len(theirs)} of the reference."
        )
    ties = 0
    for ask, mine, other in zip(asks, ours, theirs, strict=True):
        if mine == other:
            continue
        step = next((i for i, (a, b) in enumerate(zip(mine, other, strict=False)) if a != b), None)
        said = f"{ask.question!r} at scale {ask.scale}: ours {list(mine)}, the reference {list(other)}"
        if step is None:
            raise BenchError(f"The answers end at different places. {said}.")
        logits = reference.next_logits(ask, other[:step])
        gap = float(logits[other[step]] - logits[mine[step]])
        allowed = _ROUNDINGS * torch.finfo(dtype).eps * float(logits.abs().max())
        if dtype == torch.float32 or gap > allowed:
            raise BenchError(
                f"The answers differ from token {step} on, where the reference's logits are {gap:.2g} apart. "
                f"{said}. Times of different answers are not compared."
            )
        ties += 1
    return ties
