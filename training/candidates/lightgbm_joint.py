"""One LightGBM over (features, scale): every sample is S rows, which differ in the scale and in the label.

What the scales have in common need not be learned S times, and trees may split on the scale where they
like. With ``monotone`` no prediction falls as the scale grows. The labels themselves do: more tokens
now and then make an answer worse, and a router that may not say so trades that away for less variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from router.features import Float32
from training.candidates.base import Examples, FittedLogits, Labels, head_columns, head_labels
from training.candidates.boosting import fitted_trees
from training.candidates.budget import Setting
from training.candidates.lightgbm_per_scale import LightGBMPerScale
from training.candidates.trees import Trees, leaves

if TYPE_CHECKING:
    from training.graph import GraphPart

GRID: tuple[dict[str, Any], ...] = (
    {"num_leaves": 15, "min_data_in_leaf": 200, "feature_fraction": 0.6},
    {"num_leaves": 31, "min_data_in_leaf": 200, "feature_fraction": 0.6},
    {"num_leaves": 63, "min_data_in_leaf": 200, "feature_fraction": 0.6},
)
"""Rows are S times as many. A tree without the scale among its columns cannot tell scales apart."""


@dataclass(frozen=True)
class OverScales:
    """Boosters over (features, place on the ladder), one per head; other fields as in `Logits`.

    Column h S + s is booster h at the scale with index s.
    """

    boosters: tuple[Any, ...]
    n_scales: int
    sufficient: tuple[int, ...]
    score: tuple[int, ...]

    @property
    def n_trees(self) -> int:
        return sum(booster.num_trees() for booster in self.boosters)

    @property
    def flops(self) -> float:
        """As of `Ensemble`, once per scale."""
        return float(self.n_scales * sum(leaves(booster) for booster in self.boosters))

    def raw(self, features: Float32) -> Labels:
        """See `Logits.raw`."""
        rows = with_scales(features, self.n_scales)
        heads = [
            booster.predict(rows, raw_score=True, num_threads=1).reshape(self.n_scales, -1).T
            for booster in self.boosters
        ]
        return np.concatenate(heads, axis=1)

    def graph(self, width: int) -> GraphPart:
        """The features once per scale, all trees on them, and back to a row per request."""
        from router.predictor import INPUT
        from training.graph import GraphBuilder
        from training.tree_graph import tree_node

        build = GraphBuilder("joint")
        zero = build.add("Gather", INPUT, np.zeros(1, np.int64), axis=1)
        zero = build.add("Sub", zero, zero)  # [n, 1]
        blocks = [
            build.add("Concat", INPUT, build.add("Add", zero, np.full(1, s, np.float32)), axis=1)
            for s in range(self.n_scales)
        ]
        rows = build.add("Concat", *blocks, axis=0)  # [S n, F + 1]
        heads = len(self.boosters)
        trees = [Trees(booster, (h,)) for h, booster in enumerate(self.boosters)]
        raw = build.take(tree_node(trees, width + 1, heads, read=rows, write="raw"))  # [S n, H]
        cube = build.add("Reshape", raw, np.array([self.n_scales, -1, heads], np.int64))
        by_request = build.add("Transpose", cube, perm=[1, 2, 0])
        logits = build.add("Reshape", by_request, np.array([-1, heads * self.n_scales], np.int64))
        return build.part(logits, f"fit fewer or smaller trees ({self.n_trees} now)")


@dataclass(frozen=True)
class LightGBMJoint(LightGBMPerScale):
    """The candidate; other fields as in `LightGBMPerScale`. monotone: more tokens never predict less."""

    name: str = "lightgbm_joint"
    grid: Sequence[Setting] = field(default=GRID)
    monotone: bool = False

    def fit(self, examples: Examples, *, seed: int, threads: int) -> FittedLogits:
        """As `LightGBMPerScale.fit`, on S rows per sample."""
        labels, shared = head_labels(examples)
        n_scales = examples.scores.shape[1]
        n_heads = labels.shape[1] // n_scales
        rows = with_scales(examples.features, n_scales)
        always: dict[str, Any] = {}
        if self.monotone:
            always["monotone_constraints"] = [0] * examples.spec.width + [1]
            always["monotone_constraints_method"] = "intermediate"  # "basic" gives up more of the fit
        groups = np.tile(examples.groups, n_scales)
        # Of each head, the scales one below the other: [S n] in the order of the rows.
        targets = [labels[:, h * n_scales : (h + 1) * n_scales].T.ravel() for h in range(n_heads)]
        with self._search(rows, groups, seed, threads, always) as search:
            found = search.choose(targets, trees=self.trees[::n_scales])
            boosters = search.fit(found)
        held_out = [found.held_out[:, h].reshape(n_scales, -1).T for h in range(n_heads)]
        logits = OverScales(tuple(boosters), n_scales, *head_columns(n_scales, labels.shape[1]))
        trees = [found.trees[c // n_scales] for c in range(labels.shape[1])]
        more = {"trees": trees, "monotone": self.monotone}
        return fitted_trees(logits, found, np.concatenate(held_out, axis=1), shared, more)


def lightgbm_monotone() -> LightGBMJoint:
    """`LightGBMJoint` whose predictions do not fall as the scale grows."""
    return LightGBMJoint(name="lightgbm_monotone", monotone=True)


def with_scales(features: Float32, n_scales: int) -> Float32:
    """[S n, F + 1]: all features with scale 0 in the last column, then all with scale 1, ..."""
    place = np.repeat(np.arange(n_scales, dtype=np.float32), len(features))
    return np.concatenate([np.tile(features, (n_scales, 1)), place[:, None]], axis=1)
