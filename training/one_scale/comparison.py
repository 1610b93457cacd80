"""Outcome tables of the models -> accuracy at every scale, with intervals by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable, RecordError
from training.evaluation.resampling import image_counts, interval
from training.one_scale.models import FULL

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Value:
    """A mean with its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One scale. gain: M3 minus the model trained at this scale alone. over_pooling: M3 minus pooling."""

    scale: int
    m3: Value
    alone: Value
    pooled: Value
    gain: Value
    over_pooling: Value


def compare(tables: Mapping[str, OutcomeTable], draws: int = 1000, seed: int = 0) -> tuple[Row, ...]:
    """``tables``: name of a model -> its table. Raises `RecordError` when their questions differ."""
    m3 = tables["m3"]
    for name, table in tables.items():
        if table.sample_ids != m3.sample_ids or table.references != m3.references:
            raise RecordError(f"The table of {name} is not of the questions that the table of m3 is of.")
    weigh = _Resampled(m3, draws, seed)
    rows = []
    for scale in m3.scales:
        own = _scores(m3, scale)
        alone, pooled = _scores(tables[f"only-{scale}"], scale), _scores(tables[f"only-{FULL}"], scale)
        values = (own, alone, pooled, own - alone, own - pooled)
        rows.append(Row(scale, *(weigh(each) for each in values)))
    return tuple(rows)


def _scores(table: OutcomeTable, scale: int) -> Floats:
    return np.asarray(table.scores[:, table.scales.index(scale)], np.float64)


class _Resampled:
    """Means over the questions, and over those of images drawn with replacement."""

    def __init__(self, table: OutcomeTable, draws: int, seed: int) -> None:
        _, self._image = np.unique(table.image_index, return_inverse=True)
        self._sizes = np.bincount(self._image).astype(np.float64)
        self._counts = np.concatenate(list(image_counts(len(self._sizes), draws, seed))).astype(np.float64)

    def __call__(self, values: Floats) -> Value:
        sums = np.bincount(self._image, values, len(self._sizes))
        low, high = interval((self._counts @ sums) / (self._counts @ self._sizes))
        return Value(float(values.mean()), low, high)
