"""LightGBM boosters -> one node of an ONNX graph.

onnxmltools turns each booster into a tree ensemble; here they become a single one with a target per
column, so that serving runs one operator for all scales. The features are float32 and LightGBM's
thresholds are doubles: each is rounded *down* to float32 first, which leaves x <= threshold as it was
for every float32 x (rounding to nearest does not). And LightGBM takes the tiniest x for zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
from onnx import helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from router.features import Float32
from training.candidates.trees import Trees
from training.graph import ExportError

ZERO = np.float32(1e-35)
"""LightGBM's kZeroThreshold: what is not larger is zero before it is compared (`LightGBM/meta.h`)."""


def tree_node(trees: Sequence[Trees], width: int, n_columns: int, *, read: str, write: str) -> onnx.NodeProto:
    """One TreeEnsembleRegressor: ``read`` [n, width] -> ``write`` [n, n_columns], raw sums.

    Inputs are finite: there are no tracks for missing values.
    """
    nodes: dict[str, list[Any]] = {
        name: [] for name in ("nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    }
    tree_ids: list[int] = []
    targets: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    next_tree = 0
    for group in trees:
        model = convert_lightgbm(
            single_precision(group.booster), initial_types=[("x", FloatTensorType([None, width]))]
        )
        found = [n for n in model.graph.node if n.op_type == "TreeEnsembleRegressor"]
        others = {n.op_type for n in model.graph.node} - {"TreeEnsembleRegressor", "Identity"}
        if len(found) != 1 or others:
            raise ExportError(
                f"onnxmltools made {len(found)} ensembles and {sorted(others)} of a booster; wanted one."
            )
        part = {a.name: helper.get_attribute_value(a) for a in found[0].attribute}
        for name, values in nodes.items():
            values.extend(part[f"nodes_{name}"])
        tree_ids.extend(next_tree + i for i in part["nodes_treeids"])
        for column in group.columns:
            targets["treeids"].extend(next_tree + i for i in part["target_treeids"])
            targets["nodeids"].extend(part["target_nodeids"])
            targets["weights"].extend(part["target_weights"])
            targets["ids"].extend([column] * len(part["target_ids"]))
        next_tree = 1 + max(tree_ids)
    return helper.make_node(
        "TreeEnsembleRegressor",
        [read],
        [write],
        domain="ai.onnx.ml",
        n_targets=n_columns,
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=tree_ids,
        **{f"nodes_{name}": values for name, values in nodes.items()},
        **{f"target_{name}": values for name, values in targets.items()},
    )


def single_precision(booster: Any) -> Any:
    """The same trees with every threshold rounded down to float32, giving raw sums.

    Equal on float32 features. The objective becomes plain regression because onnxmltools knows no
    cross-entropy, and the sigmoid is ours anyway.
    """
    lines = booster.model_to_string().split("\n")
    lines = lines[: lines.index("end of trees") + 1]
    out = []
    for line in lines:
        key, _, value = line.partition("=")
        if key == "threshold":
            rounded = around_zero(round_down([float(v) for v in value.split()]))
            line = "threshold=" + " ".join(repr(float(t)) for t in rounded)
        elif key == "objective":
            line = "objective=regression"
        elif key == "tree_sizes":  # sizes in bytes of text that has just changed; they may be left out
            continue
        out.append(line)
    return lgb.Booster(model_str="\n".join([*out, ""]))


def around_zero(thresholds: Float32) -> Float32:
    """Thresholds that compare every x as LightGBM's compare x with numbers up to `ZERO` taken for zero."""
    negative = np.where(thresholds < 0, np.nextafter(-ZERO, np.float32(-np.inf)), ZERO)
    return np.where(np.abs(thresholds) <= ZERO, negative, thresholds).astype(np.float32)


def round_down(values: Sequence[float]) -> Float32:
    """The largest float32 that is not above each value."""
    wide = np.asarray(values, dtype=np.float64)
    near = wide.astype(np.float32)
    return np.where(near.astype(np.float64) > wide, np.nextafter(near, np.float32(-np.inf)), near)
