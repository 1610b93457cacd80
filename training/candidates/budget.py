"""What every candidate's search may try: the same for all, so that none wins by having searched longer.

For each model that it fits, a candidate tries at most `SETTINGS` settings on the first of `FOLDS` folds by
image, takes the best to the other folds, which say how many rounds or epochs are right, and fits once more on
everything: six fits. A fit has at most `ROUNDS` trees or `EPOCHS` passes over the data, and stops when the
loss on held-out images has not fallen for `ROUNDS_PATIENCE` or `EPOCHS_PATIENCE` of them. (A tree and a pass
cost differently; most fits stop before either limit.) Nearest neighbours have nothing to fit: they try three
spaces, in each of which several k cost no more than one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Setting = Mapping[str, Any]

SETTINGS = 3
FOLDS = 3
ROUNDS, ROUNDS_PATIENCE = 400, 25
EPOCHS, EPOCHS_PATIENCE = 20, 4

GRID: tuple[Setting, ...] = (
    {"learning_rate": 1e-3, "weight_decay": 0.1},
    {"learning_rate": 3e-3, "weight_decay": 0.1},
    {"learning_rate": 3e-3, "weight_decay": 1.0},
)


def chosen(grid: Sequence[Setting], setting: object) -> tuple[Setting, ...]:
    """``setting`` alone, where it is one of ``grid``; else all of that."""
    return tuple(one for one in grid if dict(one) == setting)[:1] or tuple(grid)


@dataclass(frozen=True)
class Budget:
    """A network's. grid: settings tried on the first fold; they may hold more, for its builder to read.

    folds: by image. epochs: at most. patience: epochs without a lower held-out loss before a fit stops.
    known: epochs, where they are known; 0: folds tell.
    """

    grid: Sequence[Setting] = GRID
    folds: int = FOLDS
    epochs: int = EPOCHS
    patience: int = EPOCHS_PATIENCE
    known: int = 0

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> Budget:
        """With nothing in the grid but the setting in ``notes`` of a fit. rounds: and with its epochs."""
        known = int(notes.get("epochs", 0)) if rounds else 0
        return replace(self, grid=chosen(self.grid, notes.get("setting")), known=known)
