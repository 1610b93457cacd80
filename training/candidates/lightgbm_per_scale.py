"""LightGBM: one booster per scale and head, with the number of trees found on folds by image."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np

from router.features import NEEDS
from training.candidates.base import Ensemble, Examples, Trees, image_folds
from training.candidates.boosting import (
    FIXED,
    FOLDS,
    GRID,
    ROUNDS,
    Bins,
    FittedTrees,
    HeldOut,
    fit_all,
    fit_held_out,
    head_labels,
    run_all,
)


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
        n_scales, n_columns = examples.scores.shape[1], labels.shape[1]
        columns = range(n_columns)
        fold = image_folds(examples.groups, self.folds, seed)
        bins = Bins(examples.features, seed)

        def held_out(k: int, column: int, setting: dict[str, Any]) -> HeldOut:
            params = {**FIXED, **setting, "seed": seed}
            return fit_held_out(bins, fold == k, labels[:, column], params, self.rounds)

        with ThreadPoolExecutor(threads) as pool:
            tried = run_all(pool, held_out, [(0, c, setting) for setting in self.grid for c in columns])
            losses = np.array([run.loss for run in tried]).reshape(len(self.grid), n_columns)
            best = int(losses.mean(axis=1).argmin())
            setting = self.grid[best]
            rest = run_all(pool, held_out, [(k, c, setting) for k in range(1, self.folds) for c in columns])
            runs = [*tried[best * n_columns : (best + 1) * n_columns], *rest]
            trees = np.array([run.trees for run in runs]).reshape(self.folds, n_columns).mean(axis=0)
            rounds = [max(1, round(float(n))) for n in trees]
            params = {**FIXED, **setting, "seed": seed}
            boosters = run_all(pool, fit_all, [(bins, labels[:, c], params, rounds[c]) for c in columns])
        loss = np.array([run.loss for run in runs]).reshape(self.folds, n_columns).mean(axis=0)
        return FittedTrees(
            Ensemble(
                trees=tuple(Trees(booster, (c,)) for c, booster in enumerate(boosters)),
                sufficient=tuple(range(n_scales)),
                score=tuple(range(n_columns - n_scales, n_columns)),
            ),
            notes={
                "setting": dict(setting),
                "trees": rounds,
                "held_out_log_loss": [round(float(v), 5) for v in loss],
                "heads_shared": shared,
                "lightgbm": lgb.__version__,
            },
        )
