"""Working weights in the format that the machine multiplies fastest, with float32 masters."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import nn

from m3_backbone.machine import keep_freed_memory
from training.backbone.muon import Muon


def prepare_machine(threads: int) -> None:
    """Threads; denormals to zero, or Adam crawls; memory that is freed is kept for the next activations."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()


class MixedOptimiser:
    """Float32 masters of modules that compute in ``dtype``; AdamW (betas 0.9, 0.95), Muon where asked for.

    The modules are turned to ``dtype`` here. Gradients are added up in float32 by `collect`, once per
    micro-batch. Weight decay is for matrices only.

    muon: names of matrices that `Muon` steps instead, at ``muon_factor`` times the rate.
    """

    def __init__(
        self,
        modules: nn.Module,
        names: Iterable[str],
        *,
        weight_decay: float,
        clip: float,
        dtype: torch.dtype = torch.bfloat16,
        muon: Collection[str] = (),
        muon_factor: float = 1.0,
    ) -> None:
        wanted = set(names)
        self.masters = {
            name: value.detach().float().clone()
            for name, value in modules.named_parameters()
            if name in wanted
        }
        modules.to(dtype)
        self._working = {name: value for name, value in modules.named_parameters() if name in wanted}
        for master in self.masters.values():
            master.grad = torch.zeros_like(master)
        adam = [master for name, master in self.masters.items() if name not in muon]
        groups = [
            {"params": [m for m in adam if m.ndim > 1], "weight_decay": weight_decay},
            {"params": [m for m in adam if m.ndim <= 1], "weight_decay": 0.0},
        ]
        self._clip = clip
        self._adam = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=True)
        self._muon = (
            Muon(
                [self.masters[name] for name in muon],
                lr=0.0,
                weight_decay=weight_decay,
                dtype=dtype,
            )
            if muon
            else None
        )
        self._muon_factor = muon_factor

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
        norm = torch.nn.utils.clip_grad_norm_(self.masters.values(), self._clip)
        if torch.isfinite(norm):
            _step(self._adam, rate)
            if self._muon is not None:
                _step(self._muon, rate * self._muon_factor)
        for master in self.masters.values():
            assert master.grad is not None
            master.grad.zero_()
        self._publish()
        return float(norm)

    def _publish(self) -> None:
        with torch.no_grad():
            for name, weight in self._working.items():
                weight.copy_(self.masters[name])

    def state(self) -> dict[str, Any]:
        state = {"masters": self.masters, "adam": self._adam.state_dict()}
        return state if self._muon is None else state | {"muon": self._muon.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        for name, value in state["masters"].items():
            self.masters[name].data.copy_(value)
        self._adam.load_state_dict(state["adam"])
        if self._muon is not None:
            self._muon.load_state_dict(state["muon"])
        self._publish()


def _step(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
