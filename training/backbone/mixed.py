"""bfloat16 working weights with float32 masters: the matrix products are about five times as fast on CPU."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def prepare_machine(threads: int) -> None:
    """Threads; denormals to zero, or Adam crawls; large blocks kept by malloc instead of given back.

    The last saves the page faults of every activation (glibc's mallopt; nothing happens elsewhere).
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
            libc.mallopt(-3, 2**30)  # M_MMAP_THRESHOLD


class MixedAdamW:
    """AdamW (betas 0.9, 0.95) on float32 masters of modules that compute in bfloat16.

    The modules are turned to bfloat16 here. Gradients are added up in float32 by `collect`, once per
    micro-batch. Weight decay is for matrices only.
    """

    def __init__(self, modules: nn.Module, names: Iterable[str], *, weight_decay: float, clip: float) -> None:
        wanted = set(names)
        self.masters = {
            name: value.detach().float().clone()
            for name, value in modules.named_parameters()
            if name in wanted
        }
        modules.to(torch.bfloat16)
        self._working = {name: value for name, value in modules.named_parameters() if name in wanted}
        for master in self.masters.values():
            master.grad = torch.zeros_like(master)
        groups = [
            {"params": [m for m in self.masters.values() if m.ndim > 1], "weight_decay": weight_decay},
            {"params": [m for m in self.masters.values() if m.ndim <= 1], "weight_decay": 0.0},
        ]
        self._clip = clip
        self._adam = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=True)

    def collect(self) -> None:
        """Moves the working gradients into the masters'."""
        for name, weight in self._working.items():
            if weight.grad is not None:
                grad = self.masters[name].grad
                assert grad is not None
                grad.add_(weight.grad)
                weight.grad = None

    def step(self, rate: float) -> float:
        """One update; returns the gradient's norm before clipping."""
        for group in self._adam.param_groups:
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(self.masters.values(), self._clip)
        if torch.isfinite(norm):
            self._adam.step()
        self._adam.zero_grad(set_to_none=False)
        self._publish()
        return float(norm)

    def _publish(self) -> None:
        with torch.no_grad():
            for name, weight in self._working.items():
                weight.copy_(self.masters[name])

    def state(self) -> dict[str, Any]:
        return {"masters": self.masters, "adam": self._adam.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        for name, value in state["masters"].items():
            self.masters[name].data.copy_(value)
        self._adam.load_state_dict(state["adam"])
        self._publish()


def as_working(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Masters -> what the modules held: bfloat16."""
    return {name: value.to(torch.bfloat16) for name, value in weights.items()}
