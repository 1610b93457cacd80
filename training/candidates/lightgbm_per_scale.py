"""LightGBM: one booster per scale and head, with the number of trees found on folds by image.

The two heads, P(sufficient) and expected score, share boosters when their labels are the same (a metric
of 0 and 1 with no tolerance): then a scale is sufficient exactly when its score is 1.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from router.features import NEEDS, Float32
from router.predictor import Predictions
from training.candidates.base import Ensemble, Examples, Trees, image_folds

Labels = NDArray[np.float64]

MAX_BIN = 63  # of 255: a quarter of the histograms' time, no loss seen
ROUNDS = 400
PATIENCE = 25
FOLDS = 4

# LightGBM's own threads wait for each other by spinning: on a shared machine two of them were seen to take
# forty times as long as one. Every fit has one thread, and fits run side by side instead.
FIXED: dict[str, Any] = {
    "objective": "cross_entropy",
    "metric": "cross_entropy",
    "learning_rate": 0.06,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": MAX_BIN,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
GRID: tuple[dict[str, Any], ...] = (
    {"num_leaves": 7, "min_data_in_leaf": 40},
    {"num_leaves": 15, "min_data_in_leaf": 40},
    {"num_leaves": 31, "min_data_in_leaf": 80},
)


@dataclass(frozen=True)
class FittedTrees:
    """Boosters, and how they came about."""

    ensemble: Ensemble
    notes: dict[str, Any]

    def predict(self, examples: Examples) -> Predictions:
        return self.ensemble.predict(examples.features)


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
        scores, sufficient = examples.scores, examples.sufficient.astype(np.float64)
        shared = np.array_equal(scores, sufficient)
        labels = scores if shared else np.concatenate([sufficient, scores], axis=1)
        n_scales, n_columns = scores.shape[1], labels.shape[1]
        fold = image_folds(examples.groups, self.folds, seed)
        bins = _Bins(examples.features, seed)

        def held_out(k: int, column: int, setting: dict[str, Any]) -> tuple[float, int]:
            params = {**FIXED, **setting, "seed": seed}
            return _held_out(bins, fold == k, labels[:, column], params, self.rounds)

        columns = range(n_columns)
        with ThreadPoolExecutor(threads) as pool:
            tried = _map(pool, held_out, [(0, c, setting) for setting in self.grid for c in columns])
            losses = np.array([loss for loss, _ in tried]).reshape(len(self.grid), n_columns)
            best = int(losses.mean(axis=1).argmin())
            setting = self.grid[best]
            rest = _map(pool, held_out, [(k, c, setting) for k in range(1, self.folds) for c in columns])
            runs = [*tried[best * n_columns : (best + 1) * n_columns], *rest]
            trees = np.array([n for _, n in runs]).reshape(self.folds, n_columns).mean(axis=0)
            rounds = [max(1, round(float(n))) for n in trees]
            params = {**FIXED, **setting, "seed": seed}
            boosters = _map(pool, _fit, [(bins, labels[:, c], params, rounds[c]) for c in columns])
        loss = np.array([loss for loss, _ in runs]).reshape(self.folds, n_columns).mean(axis=0)
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


class _Bins:
    """The binned features, and data sets of some of their rows with labels; safe to use from threads.

    Bins are found once, from all rows: they see no labels.
    """

    def __init__(self, features: Float32, seed: int) -> None:
        params = {**FIXED, "seed": seed, "feature_pre_filter": False}
        self._whole = lgb.Dataset(features, params=params, free_raw_data=False).construct()
        self._lock = threading.Lock()

    def rows(self, mask: NDArray[np.bool_], labels: Labels) -> Any:
        with self._lock:
            return self._whole.subset(np.flatnonzero(mask)).construct().set_label(labels[mask])


def _held_out(
    bins: _Bins, held: NDArray[np.bool_], labels: Labels, params: dict[str, Any], rounds: int
) -> tuple[float, int]:
    """(lowest log loss on the held-out rows, number of trees that reached it)."""
    booster = lgb.train(
        params,
        bins.rows(~held, labels),
        num_boost_round=rounds,
        valid_sets=[bins.rows(held, labels)],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    return float(booster.best_score["valid_0"]["cross_entropy"]), int(booster.best_iteration)


def _fit(bins: _Bins, labels: Labels, params: dict[str, Any], rounds: int) -> Any:
    return lgb.train(params, bins.rows(np.ones(len(labels), np.bool_), labels), num_boost_round=rounds)


def _map(
    pool: ThreadPoolExecutor, run: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
) -> list[Any]:
    """Results in the order of ``arguments``, whatever order they finish in."""
    return [future.result() for future in [pool.submit(run, *a) for a in arguments]]
