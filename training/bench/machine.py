"""What the processor is called, and what the device can do at best: the limit of any way of batching."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from training.bench.timing import Clock

_SIDE = 1536


def matmul_flops_per_s(clock: Clock, dtype: torch.dtype, *, side: int = _SIDE, turns: int = 12) -> float:
    """FLOPs a second of square matrices' products, the best of ``turns``: the kernels' own speed."""
    left = torch.rand(side, side, dtype=dtype, device=clock.device)
    right = torch.rand(side, side, dtype=dtype, device=clock.device)
    torch.mm(left, right)
    return 2 * side**3 / min(clock.time(lambda: torch.mm(left, right))[0] for _ in range(turns))


def processors() -> tuple[int, str]:
    """(how many there are, what people call one)."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return len(names) or os.cpu_count() or 1, names[0] if names else platform.machine()
