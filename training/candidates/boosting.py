"""LightGBM's settings and what its candidates share: bins, the search on folds by image, threads.

LightGBM's own threads wait for each other by spinning: on a shared machine two of them were seen to take
forty times as long as one. Every fit has one thread, and fits run side by side instead.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from router.features import NEEDS, Float32
from training.candidates.base import FittedLogits, Labels, Logits, image_folds
from training.candidates.budget import ROUNDS_PATIENCE, Setting

log = logging.getLogger(__name__)

Mask = NDArray[np.bool_]

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

EMBEDDINGS = ("pooled", "question", "products")
"""Groups whose single columns mean nothing by themselves: projected tokens, the question's vector."""

GROUPS = tuple(group for group in NEEDS if group not in EMBEDDINGS)
"""What trees read, which split on single columns. Those of an embedding tell how often a question is answered
at all more than which scale it needs: they lower the log loss and blur what scales differ by, which alone a
policy goes by (docs/log.md)."""


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


@dataclass(frozen=True)
class Found:
    """What a search found for some targets. setting: of the grid; runs: [fold][target]; start: as given.

    held_out: [n, targets] raw predictions of every row by the fit it was held out of, ``start`` included.
    known: trees per target that were given, not found: there are then no runs, and nothing was held out.
    """

    targets: Sequence[Labels]
    start: Labels | None
    setting: dict[str, Any]
    runs: Sequence[Sequence[HeldOut]]
    held_out: Labels
    known: Sequence[int] = ()

    @property
    def trees(self) -> list[int]:
        """Per target, the mean over the folds, or as given."""
        if self.known:
            return list(self.known)
        folds = zip(*self.runs, strict=True)
        return [max(1, round(float(np.mean([run.trees for run in column])))) for column in folds]

    @property
    def losses(self) -> list[float]:
        """Per target, mean held-out log loss over the folds."""
        return [float(np.mean([run.loss for run in column])) for column in zip(*self.runs, strict=True)]


class Search:
    """Finds settings and numbers of trees on folds by image, then fits on everything; a context manager.

    features: [n, F]; groups: [n], no fold splits one. grid: the settings to try. rounds: trees at most.
    threads: fits that run side by side. always: settings of every fit, besides `FIXED`.
    """

    def __init__(
        self,
        features: Float32,
        groups: NDArray[np.int64],
        *,
        grid: Sequence[Setting],
        folds: int,
        rounds: int,
        seed: int,
        threads: int,
        always: Mapping[str, Any] | None = None,
    ) -> None:
        self.fold = image_folds(groups, folds, seed)
        self._features, self._folds, self._grid, self._rounds = features, folds, grid, rounds
        self._params = {**FIXED, **(always or {}), "seed": seed}
        self._bins = Bins(features, seed)
        self._pool = ThreadPoolExecutor(threads)

    def __enter__(self) -> Search:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)  # after Ctrl-C what has not begun is not waited for

    def choose(
        self,
        targets: Sequence[Labels],
        start: Labels | None = None,
        *,
        grid: Sequence[Setting] = (),
        trees: Sequence[int] = (),
    ) -> Found:
        """The setting that is best on the first fold, and its fits on all folds.

        targets: labels [n] each. start: raw predictions [n] from which all of them go on. grid: in place of
        the search's own. trees: per target, where they are known: nothing is then tried, the first setting is
        the one.
        """
        n, grid = len(targets), grid or self._grid
        if trees:
            return Found(targets, start, dict(grid[0]), (), np.zeros((0, n)), tuple(trees))
        log.info("tuning: settings to try on the first of %d folds: %d", self._folds, len(grid))
        tried = self._run(self._held_out, [(0, t, s, start) for s in grid for t in targets])
        losses = np.array([run.loss for run in tried]).reshape(len(grid), n)
        best = int(losses.mean(axis=1).argmin())
        setting = dict(grid[best])
        log.info("tuning: how many trees, on the other folds")
        rest = self._run(
            self._held_out, [(k, t, setting, start) for k in range(1, self._folds) for t in targets]
        )
        flat = [*tried[best * n : (best + 1) * n], *rest]
        runs = [flat[k * n : (k + 1) * n] for k in range(self._folds)]
        return Found(targets, start, setting, runs, self._raw_held_out(runs, start))

    def fit(self, found: Found) -> list[Any]:
        """A booster per target on every row, with the setting and the numbers of trees that were found."""
        log.info("fitting on all of it: %d models", len(found.targets))
        return self._run(
            self._everything,
            [(t, found.setting, n, found.start) for t, n in zip(found.targets, found.trees, strict=True)],
        )

    def _raw_held_out(self, runs: Sequence[Sequence[HeldOut]], start: Labels | None) -> Labels:
        raw = np.zeros((len(self.fold), len(runs[0])))
        if start is not None:
            raw += start[:, None]
        for k, fold in enumerate(runs):
            held = self.fold == k
            rows = self._features[held]
            for c, run in enumerate(fold):
                raw[held, c] += run.booster.predict(rows, raw_score=True, num_threads=1)
        return raw

    def _held_out(self, k: int, labels: Labels, setting: dict[str, Any], start: Labels | None) -> HeldOut:
        """Fit on the rows outside fold ``k`` until the loss on those in it stops falling."""
        held = self.fold == k
        booster = lgb.train(
            {**self._params, **setting},
            self._bins.rows(~held, labels, start),
            num_boost_round=self._rounds,
            valid_sets=[self._bins.rows(held, labels, start)],
            callbacks=[lgb.early_stopping(ROUNDS_PATIENCE, verbose=False)],
        )
        return HeldOut(
            float(booster.best_score["valid_0"]["cross_entropy"]), int(booster.best_iteration), booster
        )

    def _everything(self, labels: Labels, setting: dict[str, Any], rounds: int, start: Labels | None) -> Any:
        data = self._bins.rows(np.ones(len(labels), np.bool_), labels, start)
        return lgb.train({**self._params, **setting}, data, num_boost_round=rounds)

    def _run(self, work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Results in the order of ``arguments``, whatever order they finish in."""
        return [future.result() for future in [self._pool.submit(work, *a) for a in arguments]]


def fitted_trees(
    logits: Logits, found: Found, held_out: Labels, shared: bool, more: dict[str, Any] | None = None
) -> FittedLogits:
    """The fitted candidate, with what is worth knowing about the fit. held_out, shared: as its columns."""
    return FittedLogits(
        logits,
        held_out,
        notes={
            "setting": dict(found.setting),
            "trees": found.trees,
            **(more or {}),
            "held_out_log_loss": [round(loss, 5) for loss in found.losses],
            "heads_shared": shared,
            "lightgbm": lgb.__version__,
        },
    )
