"""The number format that this machine multiplies fastest: bfloat16 where the CPU has units for it."""

from __future__ import annotations

import logging
import time

import torch

log = logging.getLogger(__name__)

_ROWS, _WIDTH = 4096, 512


def working_dtype(name: str, threads: int) -> torch.dtype:
    """``name``: "bfloat16", "float32", or "auto", which measures both. ValueError for others.

    With AMX a CPU multiplies bfloat16 several times as fast as float32; without AMX and AVX-512-BF16 it
    does so a hundred times as slowly, and a run would learn nothing in its time.
    """
    if name == "auto":
        torch.set_num_threads(threads)
        speeds = {kind: _speed(kind) for kind in (torch.bfloat16, torch.float32)}
        chosen = max(speeds, key=speeds.__getitem__)
        said = ", ".join(f"{str(kind).removeprefix('torch.')} {speed:.0f}" for kind, speed in speeds.items())
        log.info("training in %s (GFLOP/s measured: %s)", str(chosen).removeprefix("torch."), said)
        return chosen
    kinds = {"bfloat16": torch.bfloat16, "float32": torch.float32}
    if name not in kinds:
        raise ValueError(f"dtype has value {name!r}. Known: auto, {', '.join(kinds)}.")
    return kinds[name]


def _speed(dtype: torch.dtype) -> float:
    """GFLOP/s of a matrix product of a training step's size: the best of three after a first one."""
    left, right = torch.ones(_ROWS, _WIDTH, dtype=dtype), torch.ones(_WIDTH, _WIDTH, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - start)
    return 2 * _ROWS * _WIDTH * _WIDTH / best / 1e9
