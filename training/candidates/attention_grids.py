"""`training.candidates.attention` over grids 1, 9 and 36: those of the table, then those of a cache.

Not covered: export. A bundle of it would need the finer tokens at request time, which `RouteInputs` lack.
Shapes: as in `training.candidates.attention`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from m3_backbone.cost import Architecture
from router.features import Float32
from router.predictor import Predictions
from training.candidates.attention import Attention
from training.candidates.base import Examples, FittedLogits
from training.comparing.charges import backbone_width
from training.evaluation.results import FLOPS, FLOPS_7B
from training.grids import SCALE, Grids


@dataclass(frozen=True)
class FittedGrids:
    """A fitted network that reads a cache. projected: FLOPs of the 36 tokens' projection, by cost name."""

    fitted: FittedLogits
    grids: Grids
    projected: Mapping[str, float]

    @property
    def notes(self) -> dict[str, object]:
        return {**self.fitted.notes, "grids": [1, 9, SCALE], "grids_digest": self.grids.digest}

    @property
    def charge(self) -> Mapping[str, float]:
        """See `Charged`: the predictor's own FLOPs and those of projecting the finer tokens."""
        return {cost: value + self.projected[cost] for cost, value in self.fitted.charge.items()}

    def predict(self, examples: Examples) -> Predictions:
        return self.fitted.predict(widened(examples, self.grids))


@dataclass(frozen=True)
class AttentionGrids:
    """The candidate. digest: of the cache, so that another one is another fit."""

    folder: Path = field(repr=False)
    digest: str
    attention: Attention = field(default_factory=Attention)
    name: str = "attention_grids_1_9_36"

    @classmethod
    def of(cls, folder: Path) -> AttentionGrids:
        """Raises `training.grids.GridsError` where there is no cache."""
        return cls(folder, Grids.open(folder).digest)

    @property
    def groups(self) -> tuple[str, ...]:
        return self.attention.groups

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedGrids:
        """See `Attention.fit`; raises `training.grids.GridsError` for a table whose grids are not cached."""
        grids = Grids.open(self.folder)
        fitted = self.attention.fit(widened(examples, grids), seed=seed, threads=threads)
        width = examples.spec.pooled_shape[1]
        hidden = {FLOPS: backbone_width(examples.table), FLOPS_7B: Architecture.llava_7b().hidden}
        return FittedGrids(fitted, grids, {cost: 2.0 * SCALE * width * of for cost, of in hidden.items()})


def widened(examples: Examples, grids: Grids) -> Examples:
    """The examples whose pooled tokens are followed by those of ``grids``: P = 10 + 36."""
    fine = grids.of(examples.table)
    table = replace(examples.table, pooled=np.concatenate([examples.table.pooled, fine], axis=1))
    spec = replace(examples.spec, pooled_shape=(table.pooled.shape[1], fine.shape[2]))
    features: Float32 = spec.matrix(table)
    return Examples(table, spec, features, examples.sufficient)
