"""Muon (Jordan et al. 2024) with its iteration in a number format of choice.

`torch.optim.Muon` always iterates in bfloat16, which takes most of a step where a CPU has no units for it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum 0.95 with Nesterov's look-ahead; every update is made nearly orthogonal.

    Its size is that of an AdamW step: 0.2 times the root of the longer side (Liu et al. 2025, arXiv
    2502.16982). ``dtype`` is that of the iteration. In bfloat16 it computes what `torch.optim.Muon` with
    ``adjust_lr_fn="match_rms_adamw"`` does.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        *,
        lr: float,
        weight_decay: float,
        dtype: torch.dtype,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient; there is no closure."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum"] = torch.zeros_like(matrix)
                mean = state["momentum"].lerp_(matrix.grad, 1 - momentum)
                update = orthogonal(matrix.grad.lerp(mean, momentum), self._dtype)
                matrix.mul_(1 - rate * group["weight_decay"])
                matrix.add_(update, alpha=-0.2 * rate * max(matrix.shape) ** 0.5)


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Singular vectors kept, singular values brought near one by a quintic Newton-Schulz iteration."""
    a, b, c = _COEFFICIENTS
    x = matrix.to(dtype, copy=True)
    upright = x.shape[0] > x.shape[1]
    if upright:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if upright else x
