"""Routing by the image's entropy alone: the busier the picture, the more tokens.

Outcome tables hold no pixels, so the entropy is one of those of the stored features: how evenly the energy
that pooling takes away is spread over the cells of a scale (``lost_entropy_36`` and the like, see
`m3_backbone.summary`), or how evenly energy is spread over the pooled tokens. The best of them is found on
folds by image. It pays for the group of route inputs that it is taken from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from router.predictor import Predictions
from training.candidates.base import Examples, image_folds, log_loss, no_novelty
from training.candidates.budget import FOLDS

Floats = NDArray[np.float64]

BINS = 10
POOLED = "pooled"
"""Name of the entropy over pooled tokens."""


@dataclass(frozen=True)
class FittedEntropy:
    """centres: [K] mean entropy of each bin, rising; values: [K, 2, S] means of sufficient and score.

    entropy: which one is read; notes: log loss of each on held-out folds.
    """

    entropy: str
    centres: Floats
    values: Floats
    notes: dict[str, Any]

    def predict(self, examples: Examples) -> Predictions:
        """Between two centres, the straight line; beyond the ends, the end."""
        got = _read(self.centres, self.values, entropies(examples.table)[self.entropy]).astype(np.float32)
        return Predictions(got[:, 0], got[:, 1], no_novelty(len(got)))


@dataclass(frozen=True)
class ImageEntropy:
    """The candidate. bins: of equally many samples; folds: by image, to choose the entropy."""

    name: str = "image_entropy"
    groups: tuple[str, ...] = ("grid_stats",)  # what it is charged for; the table is read itself
    bins: int = BINS
    folds: int = FOLDS

    def fit(self, examples: Examples, *, seed: int, threads: int = 1) -> FittedEntropy:
        """Choose the entropy by held-out log loss of the scores, then take the means of its bins.
        Raises ValueError for a table whose images have no entropy to read. ``threads`` changes nothing."""
        found = entropies(examples.table)
        if not found:
            raise ValueError(
                "The route inputs have neither a lost_entropy nor two pooled tokens: an image has no entropy."
            )
        values = np.stack([examples.sufficient.astype(np.float64), examples.scores], axis=1)  # [n, 2, S]
        fold = image_folds(examples.groups, self.folds, seed)
        losses = {}
        for name, entropy in found.items():
            guess = np.empty_like(values)
            for k in range(self.folds):
                held = fold == k
                guess[held] = _read(*self._bins(entropy[~held], values[~held]), entropy[held])
            losses[name] = log_loss(values[:, 1], guess[:, 1])
        best = min(losses, key=lambda name: losses[name])
        notes = {"entropy": best, "held_out_log_loss": {name: round(x, 5) for name, x in losses.items()}}
        return FittedEntropy(best, *self._bins(found[best], values), notes)

    def _bins(self, entropy: Floats, values: Floats) -> tuple[Floats, Floats]:
        """(centres [K], means [K, 2, S]) of equally large bins; equal entropies share one."""
        edges = np.unique(np.quantile(entropy, np.linspace(0, 1, self.bins + 1)[1:-1]))
        bin_of = np.unique(np.searchsorted(edges, entropy, side="left"), return_inverse=True)[1]
        sizes = np.bincount(bin_of).astype(np.float64)
        means = np.zeros((len(sizes), *values.shape[1:]))
        np.add.at(means, bin_of, values)
        return np.bincount(bin_of, entropy) / sizes, means / sizes[:, None, None]


def entropies(table: OutcomeTable) -> Mapping[str, Floats]:
    """Name -> [n] entropy of each sample's image, as a share of the largest that is possible."""
    found = {
        name: table.grid_stats[table.image_index, column].astype(np.float64)
        for column, name in enumerate(table.grid_stat_names)
        if "entropy" in name
    }
    tokens = table.pooled.shape[1]
    if tokens > 1:
        energy = np.square(table.pooled.astype(np.float64)).sum(axis=2)
        share = energy / np.maximum(energy.sum(axis=1, keepdims=True), 1e-12)
        bits = -(share * np.log(np.maximum(share, 1e-12))).sum(axis=1) / np.log(tokens)
        found[POOLED] = bits[table.image_index]
    return found


def _read(centres: Floats, values: Floats, at: Floats) -> Floats:
    """[n, 2, S] at entropies ``at`` [n], by interpolation between bins."""
    after = np.clip(np.searchsorted(centres, at), 1, max(len(centres) - 1, 1))
    if len(centres) == 1:
        return np.repeat(values, len(at), axis=0)
    low, high = centres[after - 1], centres[after]
    part = np.clip((at - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)[:, None, None]
    mixed: Floats = values[after - 1] * (1 - part) + values[after] * part
    return mixed
