"""Rows at which an exported graph and the library that fitted it are likeliest to part.

Comparisons part where a value lies on a tree's threshold or beside it, sums where it is huge or tiny. Such
values are put into rows of a table, one column at a time, some at a time and all at once.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from router.features import Float32

ROWS = 10_000

HALF_MAX = 65_504.0
"""Route inputs are float16's numbers (`m3_backbone.summary`): none is larger."""

LARGEST = 8 * HALF_MAX**2
"""A product of two route inputs, one of them along a direction of the question vector, stays below this."""

_ORDINARY = (0.0, 1.0, HALF_MAX, LARGEST, np.finfo(np.float32).tiny, np.finfo(np.float32).smallest_subnormal)


def edge_rows(features: Float32, content: bytes, n: int = ROWS, seed: int = 0) -> Float32:
    """float32 [n, F] of edge values for the graph ``content``.

    features: [m, F] rows to start from; m > 0.
    """
    rng = np.random.default_rng(seed)
    width = features.shape[1]
    ordinary = np.array([sign * value for value in _ORDINARY for sign in (1, -1)], np.float32)
    rows = features[rng.integers(0, len(features), n)].copy()
    everywhere = min(n, len(ordinary))
    rows[:everywhere] = ordinary[:everywhere, None]
    share = rng.choice([1 / width, 0.1, 0.5, 1.0], n - everywhere)
    for column, values in enumerate(_values(features, thresholds(content, width), ordinary)):
        hit = everywhere + np.flatnonzero(rng.random(n - everywhere) < share)
        rows[hit, column] = rng.choice(values, len(hit))
    return rows


def thresholds(content: bytes, width: int) -> list[Float32]:
    """For each of ``width`` columns what the trees of the graph compare it with, ascending; maybe nothing."""
    found: list[list[float]] = [[] for _ in range(width)]
    for node in onnx.load_from_string(content).graph.node:
        if node.op_type != "TreeEnsembleRegressor":
            continue
        part = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        for column, value, mode in zip(
            part["nodes_featureids"], part["nodes_values"], part["nodes_modes"], strict=True
        ):
            if mode != b"LEAF" and column < width:  # a graph may add columns of its own
                found[column].append(value)
    return [np.unique(np.array(values, np.float32)) for values in found]


def _values(features: Float32, on_trees: list[Float32], ordinary: Float32) -> list[NDArray[np.float32]]:
    """Per column: thresholds and the column's ends with their neighbours on both sides, and ``ordinary``."""
    out = []
    for column, found in enumerate(on_trees):
        ends = np.array([features[:, column].min(), features[:, column].max()], np.float32)
        exact = np.concatenate([found, ends])
        beside = [np.nextafter(exact, np.float32(side)) for side in (-np.inf, np.inf)]
        # Half of the draws are of ordinary values: a column may have a thousand thresholds, or none.
        few = np.resize(ordinary, max(len(ordinary), 3 * len(exact)))
        out.append(np.concatenate([exact, *beside, few]).astype(np.float32))
    return out
