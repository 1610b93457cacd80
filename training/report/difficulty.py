"""The oracle's scale against what the generator drew: height of glyphs, size of objects, how many, contrast.

Each measure (a key of `data.records.Sample.difficulty`) is cut into bins of about equally many questions.
A benchmark whose labels are about detail shows it here: smaller things, more tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from training.evaluation.oracle import Oracle

BINS = 6


@dataclass(frozen=True)
class Bin:
    """Questions whose value lies in [low, high]: the ends are values that were drawn.

    labels: share whose oracle scale is each scale, last: none is sufficient. accuracy: at each scale.
    """

    low: float
    high: float
    n: int
    labels: tuple[float, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True)
class Measure:
    """One thing that the generator drew. families: those that draw it."""

    name: str
    n: int
    families: tuple[str, ...]
    bins: tuple[Bin, ...]


def measures(table: OutcomeTable, oracle: Oracle, bins: int = BINS) -> tuple[Measure, ...]:
    """Every measure of the table, that of most questions first; empty where nothing was recorded."""
    found = []
    for name, values in table.difficulty.items():
        rows = np.flatnonzero(np.isfinite(values))
        if rows.size:
            found.append(_measure(table, oracle, name, rows, values[rows].astype(np.float64), bins))
    return tuple(sorted(found, key=lambda m: (-m.n, m.name)))


def _measure(
    table: OutcomeTable,
    oracle: Oracle,
    name: str,
    rows: NDArray[np.int64],
    values: NDArray[np.float64],
    bins: int,
) -> Measure:
    which, n_scales = bin_of(values, bins), len(table.scales)
    made = []
    for b in np.unique(which).tolist():
        inside = which == b
        choice = oracle.choice[rows[inside]]
        labels = np.bincount(np.where(choice < 0, n_scales, choice), minlength=n_scales + 1) / len(choice)
        made.append(
            Bin(
                low=float(values[inside].min()),
                high=float(values[inside].max()),
                n=len(choice),
                labels=tuple(labels.tolist()),
                accuracy=tuple(table.scores[rows[inside]].mean(axis=0).tolist()),
            )
        )
    families = tuple(f for f in np.unique(table.families[rows]).tolist() if f)
    return Measure(name, len(rows), families, tuple(made))


def bin_of(values: NDArray[np.float64], bins: int = BINS) -> NDArray[np.int64]:
    """[n] index of each value's bin: one per value where there are at most ``bins`` of them, else quantiles.

    Equal values share a bin, so there may be fewer bins than asked for.
    """
    distinct = np.unique(values)
    if len(distinct) <= bins:
        return np.searchsorted(distinct, values).astype(np.int64)
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf"))
    return np.searchsorted(edges, values, side="left").astype(np.int64)
