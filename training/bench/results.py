"""All measurements of one run, where they come from, and as JSON."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from training.bench import cold, labelling, waiting
from training.bench.cold import Cold
from training.bench.labelling import Labelling
from training.bench.machine import matmul_flops_per_s
from training.bench.models import Sides
from training.bench.timing import Clock
from training.bench.waiting import Waiting
from training.bench.workload import Workload
from training.report.provenance import commit

_SHORT = 3
"""Turns of the short measurements for one of the labelling."""


@dataclass(frozen=True, slots=True)
class Results:
    """waiting: answers of a fixed length, then answers to their end.

    matmul_flops_per_s: see `training.bench.machine`.
    """

    provenance: dict[str, Any]
    matmul_flops_per_s: float
    cold: Cold
    labelling: Labelling
    waiting: tuple[Waiting, Waiting]

    def json(self) -> dict[str, Any]:
        return {
            "bench": "m3-backbone",
            "provenance": self.provenance,
            "matmul_flops_per_s": round(self.matmul_flops_per_s),
            "cold": self.cold.json(),
            "labelling": self.labelling.json(),
            "waiting": [{**each.json(), "limit": round(self.limit(each), 3)} for each in self.waiting],
        }

    def encoding_share(self, waiting: Waiting) -> float:
        """Of our time for waiting requests; the cost floor, which batching does not lower on a CPU."""
        return waiting.requests * self.cold.encoding.ours_s / waiting.engine.ours_s

    def limit(self, waiting: Waiting) -> float:
        """How many times faster than the reference it would be at the speed of bare matrix products."""
        return waiting.model.reference_s / (waiting.flops / self.matmul_flops_per_s)


def measure(
    sides: Sides,
    work: Workload,
    *,
    command: str,
    dtype: str,
    repeats: int,
    on_progress: Callable[[str], None] = lambda what: None,
) -> Results:
    """Runs everything; raises `BenchError` when the two ways do not say the same."""
    clock = Clock(sides.backbone.device)
    speed = matmul_flops_per_s(clock, sides.backbone.dtype)
    on_progress("(a) one cold request")
    of_cold = cold.measure(sides, work, clock, repeats)
    on_progress("(c) waiting requests")
    of_waiting = tuple(
        waiting.measure(sides, work, clock, _SHORT * repeats, endless=endless) for endless in (True, False)
    )
    on_progress(f"(b) labelling {work.pairs} pairs")
    of_labelling = labelling.measure(sides, work, clock, dtype, repeats)
    return Results(
        provenance=_provenance(sides, command, dtype, repeats),
        matmul_flops_per_s=max(speed, matmul_flops_per_s(clock, sides.backbone.dtype)),
        cold=of_cold,
        labelling=of_labelling,
        waiting=(of_waiting[0], of_waiting[1]),
    )


def _provenance(sides: Sides, command: str, dtype: str, repeats: int) -> dict[str, Any]:
    head, changed = commit()
    backbone = sides.backbone
    return {
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": head,
        "uncommitted_changes": changed,
        "backbone": backbone.name,
        "backbone_fingerprint": backbone.fingerprint,
        "device": _device(backbone.device),
        "dtype": dtype,
        "threads": torch.get_num_threads(),
        "attention": "sdpa",
        "repeats": repeats,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("m3-router", "torch", "transformers")},
    }


def _device(device: torch.device) -> str:
    """What it is called by people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU, {names[0] if names else platform.machine()}"
