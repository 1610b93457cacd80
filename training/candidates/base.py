"""What every kind of predictor has in common: fitted on an outcome table, then asked about others.

Shapes: n samples, S scales, F features, C columns of an ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from router.features import FeatureSpec, Float32
from router.predictor import Predictions
from training.evaluation.settings import Settings


@dataclass(frozen=True)
class Examples:
    """An outcome table as a candidate sees it.

    features: float32 [n, F] of ``spec``. sufficient: bool [n, S]. scores: float64 [n, S] in [0, 1].
    groups: [n], equal for samples of the same image; no fold may split a group.
    """

    table: OutcomeTable
    spec: FeatureSpec
    features: Float32
    sufficient: NDArray[np.bool_]

    @classmethod
    def of(cls, table: OutcomeTable, spec: FeatureSpec, tolerance: float = 0.0) -> Examples:
        """The examples of ``table`` under ``spec``; tolerance: of `OutcomeTable.sufficient`."""
        return cls(table, spec, spec.matrix(table), table.sufficient(tolerance))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def scores(self) -> NDArray[np.float64]:
        return self.table.scores

    @property
    def groups(self) -> NDArray[np.int64]:
        return self.table.image_index


class Fitted(Protocol):
    """A candidate after fitting."""

    def predict(self, examples: Examples) -> Predictions:
        """Uncalibrated predictions [n, S]; novelty is zero."""
        ...


class Candidate(Protocol):
    """A way to learn predictions. ``groups``: the groups of features that it reads."""

    @property
    def name(self) -> str: ...

    @property
    def groups(self) -> tuple[str, ...]: ...

    def fit(self, examples: Examples, *, seed: int, threads: int) -> Fitted: ...


@dataclass(frozen=True)
class Trees:
    """A LightGBM booster whose raw output is added to each of ``columns``."""

    booster: Any
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Ensemble:
    """Boosters whose raw outputs, summed per column and put through a sigmoid, are the predictions.

    sufficient, score: which column is read for each scale; heads may share columns.
    """

    trees: tuple[Trees, ...]
    sufficient: tuple[int, ...]
    score: tuple[int, ...]

    @property
    def n_columns(self) -> int:
        return 1 + max(max(tree.columns) for tree in self.trees)

    @property
    def n_trees(self) -> int:
        return sum(tree.booster.num_trees() for tree in self.trees)

    def predict(self, features: Float32) -> Predictions:
        """Predictions by LightGBM itself, in double precision until the end: what the export must match."""
        raw = np.zeros((len(features), self.n_columns))
        for tree in self.trees:
            raw[:, list(tree.columns)] += tree.booster.predict(features, raw_score=True, num_threads=1)[
                :, None
            ]
        p = (1 / (1 + np.exp(-raw))).astype(np.float32)
        return Predictions(p[:, list(self.sufficient)], p[:, list(self.score)], no_novelty(len(features)))


@runtime_checkable
class Exportable(Protocol):
    """A fitted candidate that can be put into a bundle, with what is worth knowing about its fit."""

    @property
    def ensemble(self) -> Ensemble: ...

    @property
    def notes(self) -> dict[str, Any]:
        """Plain numbers for the manifest: settings chosen, trees, losses on held-out folds."""
        ...


@runtime_checkable
class Charged(Protocol):
    """A fitted candidate whose decision costs FLOPs worth counting: an encoder, a layer, a look-up."""

    @property
    def charge(self) -> Mapping[str, float]:
        """FLOPs per request by cost name: ``flops`` on the table's backbone, ``flops_7b`` at the 7B shape.
        What the route inputs themselves cost is not in it."""
        ...


@runtime_checkable
class Frontier(Protocol):
    """A fitted candidate that does more than predict before the language model runs, such as a cascade.

    `m3-train compare` replays the predictions of other candidates by price; this one is asked for settings.
    """

    def frontier(self, tune: Examples, examples: Examples) -> tuple[Settings, Settings]:
        """The same settings, cheapest first, on ``tune`` (which may calibrate them) and on ``examples``,
        whose scores choose nothing."""
        ...


def no_novelty(n: int) -> Float32:
    """[n] zeros: a candidate says nothing about novelty."""
    return np.zeros(n, dtype=np.float32)


def image_folds(groups: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """[n] fold of each sample; samples of one image share a fold, and folds have equally many images."""
    images, index = np.unique(groups, return_inverse=True)
    if len(images) < n_folds:
        raise ValueError(f"{len(images)} images cannot be put into {n_folds} folds: label more images.")
    order = np.random.default_rng(seed).permutation(len(images))
    fold: NDArray[np.int64] = (order % n_folds)[index]
    return fold


def log_loss(y: NDArray[Any], p: NDArray[np.floating]) -> float:
    """Mean cross-entropy in nats; y in [0, 1] may be soft."""
    q = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-(y * np.log(q) + (1 - y) * np.log(1 - q)).mean())


def by_name(name: str, candidates: Sequence[Candidate]) -> Candidate:
    """The candidate called ``name``; ValueError listing them otherwise."""
    for candidate in candidates:
        if candidate.name == name:
            return candidate
    raise ValueError(f"No candidate is called {name!r}: take one of {', '.join(c.name for c in candidates)}.")
