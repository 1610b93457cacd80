"""LightGBM with a shared trunk: what the scales have in common is learned once, then each scale's deviation.

A decision lives on differences between scales. Boosters fitted apart each guess anew how hard the question
is, and the errors of those guesses go into the differences; here they cancel. The deviations go on from
the trunk's predictions on images that it was not fitted on, lest they learn to undo its overfitting.
"""

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
    Labels,
    fit_all,
    fit_held_out,
    head_labels,
    run_all,
)


@dataclass(frozen=True)
class LightGBMShared:
    """The candidate; fields as in `LightGBMPerScale`. Trunk and deviations choose their settings apart."""

    name: str = "lightgbm_shared"
    groups: tuple[str, ...] = tuple(group for group in NEEDS if group != "products")
    grid: Sequence[dict[str, Any]] = field(default=GRID)
    folds: int = FOLDS
    rounds: int = ROUNDS

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedTrees:
        """Trunk on the mean over the columns, then a deviation per column, each with its trees by folds."""
        labels, shared = head_labels(examples)
        n_scales, n_columns = examples.scores.shape[1], labels.shape[1]
        columns = range(n_columns)
        fold = image_folds(examples.groups, self.folds, seed)
        bins = Bins(examples.features, seed)

        def held_out(k: int, target: Labels, setting: dict[str, Any], start: Labels | None) -> HeldOut:
            return fit_held_out(
                bins, fold == k, target, {**FIXED, **setting, "seed": seed}, self.rounds, start
            )

        with ThreadPoolExecutor(threads) as pool:

            def choose(
                targets: Sequence[Labels], start: Labels | None
            ) -> tuple[dict[str, Any], list[list[HeldOut]]]:
                """(the best setting on the first fold, its runs [fold][target])."""
                n = len(targets)
                tried = run_all(pool, held_out, [(0, t, s, start) for s in self.grid for t in targets])
                losses = np.array([run.loss for run in tried]).reshape(len(self.grid), n).mean(axis=1)
                best = int(losses.argmin())
                setting = self.grid[best]
                others = [(k, t, setting, start) for k in range(1, self.folds) for t in targets]
                rest = run_all(pool, held_out, others)
                runs = [*tried[best * n : (best + 1) * n], *rest]
                return setting, [runs[k * n : (k + 1) * n] for k in range(self.folds)]

            common = labels.mean(axis=1)
            trunk_setting, trunk_runs = choose([common], None)
            start = np.zeros(len(labels))
            for k, (run,) in enumerate(trunk_runs):
                held = fold == k
                start[held] = run.booster.predict(examples.features[held], raw_score=True, num_threads=1)
            setting, runs = choose([labels[:, c] for c in columns], start)
            trunk_rounds = _mean([run.trees for (run,) in trunk_runs])
            rounds = [_mean([row[c].trees for row in runs]) for c in columns]
            trunk = fit_all(bins, common, {**FIXED, **trunk_setting, "seed": seed}, trunk_rounds)
            params = {**FIXED, **setting, "seed": seed}
            work = [(bins, labels[:, c], params, rounds[c], start) for c in columns]
            boosters = run_all(pool, fit_all, work)
        return FittedTrees(
            Ensemble(
                trees=(Trees(trunk, tuple(columns)), *(Trees(b, (c,)) for c, b in enumerate(boosters))),
                sufficient=tuple(range(n_scales)),
                score=tuple(range(n_columns - n_scales, n_columns)),
            ),
            notes={
                "setting": dict(setting),
                "trees": rounds,
                "trunk_setting": dict(trunk_setting),
                "trunk_trees": trunk_rounds,
                "held_out_log_loss": [
                    round(float(np.mean([row[c].loss for row in runs])), 5) for c in columns
                ],
                "heads_shared": shared,
                "lightgbm": lgb.__version__,
            },
        )


def _mean(trees: Sequence[int]) -> int:
    return max(1, round(float(np.mean(trees))))
