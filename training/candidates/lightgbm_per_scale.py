"""LightGBM: one booster per scale and head, with the number of trees found on folds by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from router.features import NEEDS
from training.candidates.base import Examples, Trees
from training.candidates.boosting import FOLDS, GRID, ROUNDS, FittedTrees, Search, fitted_trees, head_labels


@dataclass(frozen=True)
class LightGBMPerScale:
    """The candidate. groups: the groups of features it reads; grid: settings tried on the first fold."""

    name: str = "lightgbm_per_scale"
    groups: tuple[str, ...] = tuple(group for group in NEEDS if group != "products")
    grid: Sequence[dict[str, Any]] = field(default=GRID)
    folds: int = FOLDS
    rounds: int = ROUNDS

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedTrees:
        """Choose a setting on the first fold, the numbers of trees on all, then fit on everything."""
        labels, shared = head_labels(examples)
        with Search(
            examples, grid=self.grid, folds=self.folds, rounds=self.rounds, seed=seed, threads=threads
        ) as search:
            found = search.choose(list(labels.T))
            boosters = search.fit(found)
        trees = [Trees(booster, (c,)) for c, booster in enumerate(boosters)]
        return fitted_trees(trees, examples.scores.shape[1], found, shared)
