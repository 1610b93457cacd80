"""A lookup by (family, question kind): what a router without an image or a model would know.

It needs the data set's own annotation, so it cannot serve; reports compare against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.features import Float32
from router.predictor import Predictions
from training.candidates.base import Examples, no_novelty

PRIOR = 10.0
"""Samples' worth of the family's (and over it, of everyone's) mean mixed into each cell's mean."""


@dataclass(frozen=True)
class FittedLookup:
    """cells: (family, kind), (family, "") or ("", "") -> [2, S] mean of sufficient and of score."""

    cells: Mapping[tuple[str, str], NDArray[np.float64]]

    def predict(self, examples: Examples) -> Predictions:
        """A cell not seen in fitting answers with its family, a family not seen with everyone."""
        rows = [
            self.cells.get((family, kind), self.cells.get((family, ""), self.cells["", ""]))
            for family, kind in _keys(examples)
        ]
        values: Float32 = np.stack(rows).astype(np.float32)
        return Predictions(values[:, 0], values[:, 1], no_novelty(len(values)))


@dataclass(frozen=True)
class Lookup:
    """The candidate."""

    name: str = "lookup"
    groups: tuple[str, ...] = ("length",)  # a spec needs a column; none is read

    def fit(self, examples: Examples, *, seed: int = 0, threads: int = 1) -> FittedLookup:
        """Shrunk means per cell. ``seed`` and ``threads`` change nothing."""
        values = np.stack([examples.sufficient.astype(np.float64), examples.scores], axis=1)  # [n, 2, S]
        rows: dict[tuple[str, str], list[int]] = {}
        for i, (family, kind) in enumerate(_keys(examples)):
            rows.setdefault((family, ""), []).append(i)
            rows.setdefault((family, kind), []).append(i)
        cells = {("", ""): values.mean(axis=0)}
        for key in sorted(rows):  # a family sorts before its kinds: its mean is there when they need it
            parent = cells["", ""] if key[1] == "" else cells[key[0], ""]
            members = values[rows[key]]
            cells[key] = (members.sum(axis=0) + PRIOR * parent) / (len(members) + PRIOR)
        return FittedLookup(cells)


def _keys(examples: Examples) -> list[tuple[str, str]]:
    return list(zip(examples.table.families.tolist(), examples.table.kinds.tolist(), strict=True))
