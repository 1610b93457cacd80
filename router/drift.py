"""Whether numbers are distributed as they once were: the population stability index of each, by bins.

PSI = sum over bins of (q - p) ln(q / p), p the reference's share and q the recent one (the symmetrised
Kullback-Leibler divergence; Siddiqi, "Credit Risk Scorecards", 2006, whose rule of thumb `SHIFTED` is).
Bins are tenths of the reference, and beside them what is below its minimum and above its maximum. With equal
distributions PSI is about (1/n + 1/m) chi-squared (Yurdakul and Naranjo, 2020): 0.05 at 500 and 500 rows.

Memory does not grow: the reference is kept as counts, the recent rows as a ring.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHIFTED = 0.25
"""A PSI of this much is a shift that matters."""

ROWS = 500
"""Of the reference, when the first rows are it, and of what is held against it."""

_TENTHS = np.arange(1, 10) / 10
_HALF = 0.5  # added to every count: a bin may be empty

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reference:
    """How one number was distributed: ascending edges, and ``rows`` counted between them.

    counts[i]: values in (edges[i - 1], edges[i]]; one more count than edges.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.edges or len(self.counts) != len(self.edges) + 1:
            raise ValueError(f"{len(self.counts)} counts for {len(self.edges)} edges.")
        if not all(map(math.isfinite, self.edges)) or any(np.diff(self.edges) <= 0):
            raise ValueError("The edges must be finite and ascend.")
        if min(self.counts) < 0 or sum(self.counts) < 1:
            raise ValueError("The counts must not be negative, nor all be 0.")

    @classmethod
    def of(cls, values: Sequence[float] | Float64, edges: Sequence[float] | None = None) -> Reference:
        """Of at least one finite value; without ``edges`` its own tenths."""
        column = np.asarray(values, np.float64)
        if edges is None:
            below = np.nextafter(column.min(), -np.inf)
            edges = np.unique([below, *np.quantile(column, _TENTHS), column.max()]).tolist()
        bins = np.searchsorted(np.asarray(edges), column, side="left")
        counts = np.bincount(bins, minlength=len(edges) + 1)
        return cls(tuple(map(float, edges)), tuple(map(int, counts)))

    def to_json(self) -> dict[str, Any]:
        return {"edges": list(self.edges), "counts": list(self.counts)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Reference:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(tuple(map(float, value["edges"])), tuple(map(int, value["counts"])))


class Drift:
    """Rows of numbers against a reference: ``reference``, or the first ``rows`` rows.

    names: of the numbers in a row. edges: name -> edges of its bins, for numbers that are categories.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        reference: Mapping[str, Reference] | None = None,
        edges: Mapping[str, Sequence[float]] | None = None,
        rows: int = ROWS,
    ) -> None:
        self.names = tuple(names)
        self.recorded = reference is not None
        self._edges_of = dict(edges or {})
        self._rows = rows
        self._first: list[Float64] = []
        self._seen = 0
        if reference is not None:
            self._begin([reference[name] for name in self.names])
        self._begun = reference is not None

    @property
    def reference_rows(self) -> int:
        return sum(self.reference[0].counts) if self._begun else len(self._first)

    @property
    def recent_rows(self) -> int:
        return min(self._seen, self._rows)

    @property
    def full(self) -> bool:
        """Whether there are as many recent rows as the index is made for."""
        return self._seen >= self._rows

    def add(self, row: Sequence[float]) -> None:
        """``row``: one finite number per name."""
        values = np.asarray(row, np.float64)
        if not self._begun:
            self._first.append(values)
            if len(self._first) == self._rows:
                columns = np.stack(self._first, axis=1)
                self._begin(
                    [
                        Reference.of(column, self._edges_of.get(name))
                        for name, column in zip(self.names, columns, strict=True)
                    ]
                )
                self._begun, self._first = True, []
            return
        bins = (values[:, None] > self._edges).sum(axis=1)
        place = self._seen % self._rows
        if self.full:
            self._counts[self._index, self._ring[place]] -= 1
        self._ring[place] = bins
        self._counts[self._index, bins] += 1
        self._seen += 1

    def psi(self) -> dict[str, float]:
        """Name -> index; empty before the first recent row."""
        if not self._seen:
            return {}
        return {
            name: _psi(np.asarray(reference.counts), counts[: len(reference.counts)])
            for name, reference, counts in zip(self.names, self.reference, self._counts, strict=True)
        }

    def shifted(self) -> tuple[str, ...]:
        """The names whose index is at least `SHIFTED`; none before there are enough recent rows."""
        return tuple(name for name, index in self.psi().items() if index >= SHIFTED) if self.full else ()

    def _begin(self, reference: list[Reference]) -> None:
        self.reference = reference
        longest = max(len(each.edges) for each in reference)
        self._edges = np.full((len(reference), longest), np.inf)
        for row, each in zip(self._edges, reference, strict=True):
            row[: len(each.edges)] = each.edges
        self._index = np.arange(len(reference))
        self._ring = np.zeros((self._rows, len(reference)), np.int64)
        self._counts = np.zeros((len(reference), longest + 1), np.int64)


def _psi(reference: NDArray[np.int64], recent: NDArray[np.int64]) -> float:
    p, q = ((counts + _HALF) / (counts.sum() + _HALF * len(counts)) for counts in (reference, recent))
    return float(((q - p) * np.log(q / p)).sum())
