"""LightGBM: one booster per scale and head, with the number of trees found on folds by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from router.features import Float32
from training.candidates.base import Examples, FittedLogits, head_columns, head_labels
from training.candidates.boosting import GRID, GROUPS, Search, fitted_trees
from training.candidates.budget import FOLDS, ROUNDS, Setting, chosen
from training.candidates.trees import Ensemble, Trees


@dataclass(frozen=True)
class LightGBMPerScale:
    """The candidate. groups: the groups of features it reads; grid: settings tried on the first fold.

    trees: per column, where they are known: one fit on everything, with the first setting of the grid. It
    then keeps no predictions of held-out samples.
    """

    name: str = "lightgbm_per_scale"
    groups: tuple[str, ...] = GROUPS
    grid: Sequence[Setting] = field(default=GRID)
    folds: int = FOLDS
    rounds: int = ROUNDS
    trees: tuple[int, ...] = ()

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> Self:
        """See `training.candidates.base.Settling`."""
        trees = tuple(notes.get("trees", ())) if rounds else ()
        return replace(self, grid=chosen(self.grid, notes.get("setting")), trees=trees)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedLogits:
        """Choose a setting on the first fold, the numbers of trees on all, then fit on everything."""
        labels, shared = head_labels(examples)
        with self._search(examples.features, examples.groups, seed, threads) as search:
            found = search.choose(list(labels.T), trees=self.trees)
            boosters = search.fit(found)
        trees = tuple(Trees(booster, (c,)) for c, booster in enumerate(boosters))
        ensemble = Ensemble(trees, *head_columns(examples.scores.shape[1], labels.shape[1]))
        return fitted_trees(ensemble, found, found.held_out, shared)

    def _search(
        self,
        features: Float32,
        groups: NDArray[np.int64],
        seed: int,
        threads: int,
        always: Mapping[str, Any] | None = None,
    ) -> Search:
        """The candidate's settings over ``features`` [n, F] and ``groups`` [n]; always: see `Search`."""
        return Search(
            features,
            groups,
            grid=self.grid,
            folds=self.folds,
            rounds=self.rounds,
            seed=seed,
            threads=threads,
            always=always,
        )
