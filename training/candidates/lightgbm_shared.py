"""LightGBM with a shared trunk: what the scales have in common is learned once, then each scale's deviation.

A decision lives on differences between scales. Boosters fitted apart each guess anew how hard the question
is, and the errors of those guesses go into the differences; here they cancel. The deviations go on from
the trunk's predictions on images that it was not fitted on, lest they learn to undo its overfitting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from training.candidates.base import Examples, FittedLogits, head_columns, head_labels
from training.candidates.boosting import fitted_trees
from training.candidates.budget import Setting, chosen
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.candidates.trees import Ensemble, Trees


@dataclass(frozen=True)
class LightGBMShared(LightGBMPerScale):
    """The candidate; fields as in `LightGBMPerScale`. Trunk and deviations choose their settings apart.

    trunk_grid: settings tried for the trunk; left empty, those of ``grid``.
    """

    name: str = "lightgbm_shared"
    trunk_grid: Sequence[Setting] = ()

    def settled(self, notes: Mapping[str, Any], *, rounds: bool = False) -> Self:
        """See `training.candidates.base.Settling`. The deviations go on from held-out predictions, so that
        folds are fitted whether the numbers of trees are known or not."""
        trunk = chosen(self.trunk_grid or self.grid, notes.get("trunk_setting"))
        return replace(super().settled(notes), trunk_grid=trunk)

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedLogits:
        """Trunk on the mean over the columns, then a deviation per column, each with its trees by folds."""
        labels, shared = head_labels(examples)
        with self._search(examples.features, examples.groups, seed, threads) as search:
            common = search.choose([labels.mean(axis=1)], grid=self.trunk_grid)
            found = search.choose(list(labels.T), common.held_out[:, 0])
            (trunk,) = search.fit(common)
            boosters = search.fit(found)
        trees = (
            Trees(trunk, tuple(range(labels.shape[1]))),
            *(Trees(booster, (c,)) for c, booster in enumerate(boosters)),
        )
        ensemble = Ensemble(trees, *head_columns(examples.scores.shape[1], labels.shape[1]))
        more = {"trunk_setting": dict(common.setting), "trunk_trees": common.trees[0]}
        return fitted_trees(ensemble, found, found.held_out, shared, more)
