"""What a network's search may try: the same for every candidate that is one, and as much as the trees try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Setting = Mapping[str, Any]

GRID: tuple[Setting, ...] = (
    {"learning_rate": 1e-3, "weight_decay": 0.1},
    {"learning_rate": 3e-3, "weight_decay": 0.1},
    {"learning_rate": 3e-3, "weight_decay": 1.0},
)


@dataclass(frozen=True)
class Budget:
    """grid: settings tried on the first fold; they may hold more, for the network's builder to read.

    folds: by image. epochs: at most. patience: epochs without a lower held-out loss before a fit stops.
    """

    grid: Sequence[Setting] = GRID
    folds: int = 4
    epochs: int = 60
    patience: int = 6
