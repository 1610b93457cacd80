"""What the device can do at best: the limit that no way of batching goes beyond."""

from __future__ import annotations

import torch

from training.bench.timing import Clock

_SIDE = 1536


def matmul_flops_per_s(clock: Clock, dtype: torch.dtype, *, side: int = _SIDE, turns: int = 12) -> float:
    """FLOPs a second of square matrices' products, the best of ``turns``: the kernels' own speed."""
    left = torch.rand(side, side, dtype=dtype, device=clock.device)
    right = torch.rand(side, side, dtype=dtype, device=clock.device)
    torch.mm(left, right)
    return 2 * side**3 / min(clock.time(lambda: torch.mm(left, right))[0] for _ in range(turns))
