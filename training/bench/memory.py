"""The most memory that a call held: on CUDA the allocator's, else the process's."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from m3_backbone.machine import give_back_freed_memory

T = TypeVar("T")

_PROC = Path("/proc/self")


def peak(call: Callable[[], T], device: torch.device) -> tuple[int | None, T]:
    """(bytes, what ``call`` returned). Weights are among the bytes; on a CPU so is all else of the process,
    but not what earlier calls took and freed.

    None where the system has no such counter (it is Linux's ``VmHWM``).
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        value = call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device), value
    give_back_freed_memory()
    try:
        (_PROC / "clear_refs").write_text("5")  # resets the high-water mark of this process
    except OSError:
        return None, call()
    value = call()
    found = re.search(r"VmHWM:\s+(\d+) kB", (_PROC / "status").read_text())
    return (int(found[1]) * 1024 if found else None), value
