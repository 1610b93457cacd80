"""Two ways in turn, A B A B, so that a machine that slows down slows both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

import numpy as np
import torch

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds of a call until the device has done what the call asked for."""

    device: torch.device

    def time(self, call: Callable[[], A]) -> tuple[float, A]:
        self.wait()
        begin = time.perf_counter()
        value = call()
        self.wait()
        return time.perf_counter() - begin, value

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@dataclass(slots=True)
class Turns:
    """Seconds of both ways; ours[i] and reference[i] were measured one right after the other."""

    clock: Clock
    ours: list[float] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)

    def take(self, ours: Callable[[], A], reference: Callable[[], B]) -> tuple[A, B]:
        """One turn each; what they returned."""
        ours_s, mine = self.clock.time(ours)
        reference_s, theirs = self.clock.time(reference)
        self.note(ours_s, reference_s)
        return mine, theirs

    def note(self, ours_s: float, reference_s: float) -> None:
        """A turn that was measured elsewhere."""
        self.ours.append(ours_s)
        self.reference.append(reference_s)

    @property
    def ours_s(self) -> float:
        return median(self.ours)

    @property
    def reference_s(self) -> float:
        return median(self.reference)

    @property
    def ratio(self) -> float:
        """How many times faster ours is: the ratio of the medians."""
        return self.reference_s / self.ours_s

    @property
    def spread(self) -> tuple[float, float]:
        """Quartiles of the ratios of neighbours."""
        low, high = np.percentile(np.asarray(self.reference) / np.asarray(self.ours), [25, 75])
        return float(low), float(high)

    def row(self) -> dict[str, Any]:
        return {
            "ours_s": round(self.ours_s, 5),
            "reference_s": round(self.reference_s, 5),
            "ratio": round(self.ratio, 3),
            "ratio_quartiles": [round(value, 3) for value in self.spread],
            "turns": len(self.ours),
        }
