"""LightGBM boosters as `Logits`: their sums per column, and one node for all trees.

Shapes: n samples, F features, C columns of logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from router.features import Float32
from router.predictor import Predictions
from training.candidates.base import Labels, predictions

if TYPE_CHECKING:
    from training.graph import GraphPart


@dataclass(frozen=True)
class Trees:
    """A LightGBM booster whose raw output is added to each of ``columns``."""

    booster: Any
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Ensemble:
    """Boosters whose raw outputs, summed per column, are the logits; fields as in `Logits`."""

    trees: tuple[Trees, ...]
    sufficient: tuple[int, ...]
    score: tuple[int, ...]

    @property
    def n_columns(self) -> int:
        return 1 + max(max(tree.columns) for tree in self.trees)

    @property
    def n_trees(self) -> int:
        return sum(tree.booster.num_trees() for tree in self.trees)

    @property
    def flops(self) -> float:
        """At most leaves - 1 comparisons and an addition per tree."""
        return float(sum(leaves(tree.booster) for tree in self.trees))

    def raw(self, features: Float32) -> Labels:
        """See `Logits.raw`."""
        raw = np.zeros((len(features), self.n_columns))
        for tree in self.trees:
            raw[:, list(tree.columns)] += tree.booster.predict(features, raw_score=True, num_threads=1)[
                :, None
            ]
        return raw

    def predict(self, features: Float32) -> Predictions:
        """Predictions by LightGBM itself."""
        return predictions(self, features)

    def graph(self, width: int) -> GraphPart:
        """One node for all trees."""
        from router.predictor import INPUT
        from training.graph import GraphPart
        from training.tree_graph import tree_node  # imports onnxmltools: only an export pays for it

        node = tree_node(self.trees, width, self.n_columns, read=INPUT, write="raw")
        return GraphPart((node,), {}, "raw", f"fit fewer or smaller trees ({self.n_trees} now)")


def leaves(booster: Any) -> int:
    """Of all trees of a LightGBM booster."""
    return sum(int(tree["num_leaves"]) for tree in booster.dump_model()["tree_info"])
