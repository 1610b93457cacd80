"""Muon (Jordan et al. 2024) with steps of AdamW's size (Liu et al. 2025, arXiv 2502.16982).

As `torch.optim.Muon`, apart from two things: matrices of one shape are made orthogonal together, and in the
precision that is asked for. torch's own does it in bfloat16, which a processor without bfloat16 emulates: a
step of m3-tiny took five seconds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Steps for matrices with gradients; momentum 0.95, Nesterov, decoupled weight decay."""

    def __init__(
        self,
        matrices: Iterable[Tensor],
        *,
        weight_decay: float,
        precision: torch.dtype,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(matrices, {"lr": 0.0, "weight_decay": weight_decay, "momentum": momentum})
        self._precision = precision

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        assert closure is None
        for group in self.param_groups:
            alike: defaultdict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                mean = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - group["momentum"])
                alike[weight.shape].append((weight, weight.grad.lerp(mean, group["momentum"])))
            for shape, pairs in alike.items():
                rate = group["lr"] * 0.2 * math.sqrt(max(shape))
                steps = orthogonal(torch.stack([update for _, update in pairs]).to(self._precision))
                for (weight, _), made in zip(pairs, steps, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(made.to(weight.dtype), alpha=-rate)


def orthogonal(matrices: Tensor) -> Tensor:
    """[n, rows, columns]: each with its singular values brought near 1, by Newton and Schulz's iteration."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    made = matrices.mT if tall else matrices
    made = made / made.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(_ITERATIONS):
        square = made @ made.mT
        made = a * made + (b * square + c * square @ square) @ made
    return made.mT if tall else made
