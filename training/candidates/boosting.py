"""LightGBM's settings and the small machinery that its candidates share: bins, held-out fits, threads.

LightGBM's own threads wait for each other by spinning: on a shared machine two of them were seen to take
forty times as long as one. Every fit has one thread, and fits run side by side instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from router.features import Float32
from router.predictor import Predictions
from training.candidates.base import Ensemble, Examples

Labels = NDArray[np.float64]
Mask = NDArray[np.bool_]

ROUNDS = 400
PATIENCE = 25
FOLDS = 4

FIXED: dict[str, Any] = {
    "objective": "cross_entropy",
    "metric": "cross_entropy",
    "learning_rate": 0.06,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 63,  # of 255: a quarter of the histograms' time, no loss seen
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


class Bins:
    """The binned features, and data sets of some of their rows with labels; safe to use from threads.

    Bins are found once, from all rows: they see no labels.
    """

    def __init__(self, features: Float32, seed: int) -> None:
        params = {**FIXED, "seed": seed, "feature_pre_filter": False}
        self._whole = lgb.Dataset(features, params=params, free_raw_data=False).construct()
        self._lock = threading.Lock()

    def rows(self, mask: Mask, labels: Labels, start: Labels | None = None) -> Any:
        """The rows of ``mask`` [n] with their labels [n]; start: raw predictions [n] to go on from."""
        with self._lock:
            part = self._whole.subset(np.flatnonzero(mask)).construct().set_label(labels[mask])
            return part if start is None else part.set_init_score(start[mask])


@dataclass(frozen=True)
class HeldOut:
    """loss: lowest log loss on the held-out rows; trees: how many reached it; booster: cut there."""

    loss: float
    trees: int
    booster: Any


def fit_held_out(
    bins: Bins, held: Mask, labels: Labels, params: dict[str, Any], rounds: int, start: Labels | None = None
) -> HeldOut:
    """Fit on the rows that are not ``held`` until the loss on those that are stops falling."""
    booster = lgb.train(
        params,
        bins.rows(~held, labels, start),
        num_boost_round=rounds,
        valid_sets=[bins.rows(held, labels, start)],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    return HeldOut(
        float(booster.best_score["valid_0"]["cross_entropy"]), int(booster.best_iteration), booster
    )


def fit_all(
    bins: Bins, labels: Labels, params: dict[str, Any], rounds: int, start: Labels | None = None
) -> Any:
    """A booster of ``rounds`` trees on every row."""
    return lgb.train(params, bins.rows(np.ones(len(labels), np.bool_), labels, start), num_boost_round=rounds)


def head_labels(examples: Examples) -> tuple[Labels, bool]:
    """([n, C] a column per head and scale, whether the heads share columns).

    They do when their labels are the same (a metric of 0 and 1 with no tolerance): a scale is then
    sufficient exactly when its score is 1. Otherwise the columns of sufficient come first.
    """
    sufficient = examples.sufficient.astype(np.float64)
    if np.array_equal(examples.scores, sufficient):
        return examples.scores, True
    return np.concatenate([sufficient, examples.scores], axis=1), False


def run_all(
    pool: ThreadPoolExecutor, run: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
) -> list[Any]:
    """Results in the order of ``arguments``, whatever order they finish in."""
    return [future.result() for future in [pool.submit(run, *a) for a in arguments]]
