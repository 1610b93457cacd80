"""All measurements of one run, where they come from, and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training.bench import cold, labelling, waiting
from training.bench.cold import Cold
from training.bench.labelling import Labelling
from training.bench.machine import matmul_flops_per_s
from training.bench.models import Sides
from training.bench.provenance import provenance
from training.bench.timing import Clock
from training.bench.waiting import Waiting
from training.bench.workload import Workload

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
        provenance=provenance(
            sides.backbone,
            command,
            dtype=dtype,
            repeats=repeats,
            packages=("m3-router", "torch", "transformers"),
        ),
        matmul_flops_per_s=max(speed, matmul_flops_per_s(clock, sides.backbone.dtype)),
        cold=of_cold,
        labelling=of_labelling,
        waiting=(of_waiting[0], of_waiting[1]),
    )
