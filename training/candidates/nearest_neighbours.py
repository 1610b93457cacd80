"""k nearest neighbours: what happened to the samples of training that look most like this one.

A baseline that published routers often do not beat (Li 2025, arXiv 2505.12601). Columns are standardised, and
each group of features weighs the same, but for the question's, whose weight is chosen with k. Every request
pays for its distances to the whole training table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.features import QUESTION_GROUPS, FeatureSpec, Float32
from router.predictor import Predictions
from training.candidates.base import Examples, image_folds, log_loss, no_novelty
from training.candidates.budget import FOLDS
from training.evaluation.results import FLOPS, FLOPS_7B

GROUPS = ("grid_stats", "pooled", "image", "question", "interaction", "length")
_ROWS = 512  # rows whose distances to all of training are held at once


@dataclass(frozen=True)
class Space:
    """Where distances are taken: (features - mean) * factor, both [F]."""

    mean: Float32
    factor: Float32

    @classmethod
    def of(cls, features: Float32, spec: FeatureSpec, question_weight: float) -> Space:
        """A group's squared distances have the same mean, times ``question_weight`` for the question's."""
        deviation = features.std(axis=0, dtype=np.float64)
        varies = deviation > 1e-6
        factor = np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0)
        for group in spec.groups:
            columns = spec.columns((group,))
            weight = question_weight if group in QUESTION_GROUPS else 1.0
            factor[columns] *= np.sqrt(weight / max(int(varies[columns].sum()), 1))
        return cls(features.mean(axis=0, dtype=np.float64).astype(np.float32), factor.astype(np.float32))

    def place(self, features: Float32) -> Float32:
        placed: Float32 = (features - self.mean) * self.factor
        return placed


@dataclass(frozen=True)
class FittedNeighbours:
    """placed: [N, F] samples of training in ``space``; values: [N, 2, S] their sufficient and score."""

    space: Space
    placed: Float32
    values: Float32
    k: int
    notes: dict[str, Any]

    @property
    def charge(self) -> Mapping[str, float]:
        """A multiply-accumulate per number of the training table, and a comparison per sample of it."""
        flops = float(2 * self.placed.size + len(self.placed))
        return dict.fromkeys((FLOPS, FLOPS_7B), flops)

    def predict(self, examples: Examples) -> Predictions:
        got = np.concatenate(
            [
                self.values[near].mean(axis=1)
                for near in _nearest(self.placed, self.space.place(examples.features), self.k)
            ]
        )
        return Predictions(got[:, 0], got[:, 1], no_novelty(len(got)))


@dataclass(frozen=True)
class NearestNeighbours:
    """The candidate. ks, question_weights: all are tried on the first fold by image."""

    name: str = "nearest_neighbours"
    groups: tuple[str, ...] = GROUPS
    ks: Sequence[int] = (10, 30, 100, 300)
    question_weights: Sequence[float] = field(default=(1.0, 3.0, 10.0))
    folds: int = FOLDS

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> NearestNeighbours:
        """See `training.candidates.base.Settling`."""
        if notes.get("k") not in self.ks or notes.get("question_weight") not in self.question_weights:
            return self
        return replace(self, ks=(notes["k"],), question_weights=(notes["question_weight"],))

    def fit(self, examples: Examples, *, seed: int, threads: int = 1) -> FittedNeighbours:
        """Choose k and the question's weight by held-out log loss of the scores. ``threads``: not used."""
        values = np.stack([examples.sufficient, examples.scores], axis=1).astype(np.float32)  # [n, 2, S]
        held = image_folds(examples.groups, self.folds, seed) == 0
        ks = [k for k in self.ks if k <= int((~held).sum())] or [1]
        tried: dict[tuple[float, int], float] = {}
        for weight in self.question_weights:
            space = Space.of(examples.features[~held], examples.spec, weight)
            placed = space.place(examples.features[~held])
            scores = values[~held, 1]
            guesses: dict[int, list[Float32]] = {k: [] for k in ks}
            for near in _nearest(placed, space.place(examples.features[held]), max(ks)):
                for k in ks:
                    guesses[k].append(scores[near[:, :k]].mean(axis=1))
            for k, guess in guesses.items():
                tried[weight, k] = log_loss(values[held, 1], np.concatenate(guess))
        weight, k = min(tried, key=lambda setting: tried[setting])
        space = Space.of(examples.features, examples.spec, weight)
        notes = {"k": k, "question_weight": weight, "held_out_log_loss": round(tried[weight, k], 5)}
        return FittedNeighbours(space, space.place(examples.features), values, k, notes)


def _nearest(placed: Float32, at: Float32, k: int) -> Iterator[NDArray[np.int64]]:
    """Blocks [b, k] of rows of ``placed``, the nearest first, for the rows of ``at``."""
    k = min(k, len(placed))
    squares = np.square(placed).sum(axis=1)
    for start in range(0, len(at), _ROWS):
        # The query's own square is the same for all of training, and changes no order.
        distance = squares - 2 * (at[start : start + _ROWS] @ placed.T)
        near = np.argpartition(distance, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(distance, near, axis=1).argsort(axis=1, kind="stable")
        yield np.take_along_axis(near, order, axis=1)
