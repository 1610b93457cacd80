"""Fitted trees -> one ONNX graph: features [n, F] -> sufficient [n, S], score [n, S], novelty [n].

onnxmltools turns each booster into a tree ensemble; here they become a single one with a column per
prediction, so that serving runs one operator for all scales. The features are float32 and LightGBM's
thresholds are doubles: each is rounded *down* to float32 first, which leaves x <= threshold as it was
for every float32 x (rounding to nearest does not).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from router.errors import M3Error
from router.features import Float32
from router.predictor import INPUT, OUTPUTS, OnnxPredictor, Predictions
from training.candidates.base import Ensemble
from training.novelty import Novelty

OPSET = 17
OPSET_ML = 3
IR_VERSION = 8
TOLERANCE = 1e-5
MAX_BYTES = 4_000_000


class ExportError(M3Error):
    """The graph is not what was fitted, or too large to ship."""

    code = "export_error"


def export(ensemble: Ensemble, novelty: Novelty | None, width: int) -> bytes:
    """The graph's bytes. width: F. Raises `ExportError` when it is over `MAX_BYTES`."""
    nodes = [
        _merge(ensemble, width),
        helper.make_node("Sigmoid", ["raw"], ["probability"]),
        helper.make_node("Gather", ["probability", "sufficient_columns"], [OUTPUTS[0]], axis=1),
        helper.make_node("Gather", ["probability", "score_columns"], [OUTPUTS[1]], axis=1),
    ]
    constants: dict[str, NDArray[Any]] = {
        "sufficient_columns": np.asarray(ensemble.sufficient, np.int64),
        "score_columns": np.asarray(ensemble.score, np.int64),
    }
    if novelty is None:
        constants |= {"first": np.zeros(1, np.int64), "last_axis": np.array([1], np.int64)}
        constants["nothing"] = np.zeros(1, np.float32)
        nodes += [
            helper.make_node("Gather", [INPUT, "first"], ["one_column"], axis=1),
            helper.make_node("Mul", ["one_column", "nothing"], ["zeros"]),
            helper.make_node("Squeeze", ["zeros", "last_axis"], [OUTPUTS[2]]),
        ]
    else:
        constants |= {
            "image_columns": novelty.columns,
            "mean": novelty.mean,
            "scale": novelty.scale,
            "axes": novelty.axes,
            "weights": novelty.weights[:, None],
            "rest": np.asarray(novelty.rest, np.float32),
            "last_axis": np.array([1], np.int64),
        }
        nodes += [
            helper.make_node("Gather", [INPUT, "image_columns"], ["image"], axis=1),
            helper.make_node("Sub", ["image", "mean"], ["centred"]),
            helper.make_node("Mul", ["centred", "scale"], ["z"]),
            helper.make_node("ReduceSumSquare", ["z"], ["squares"], axes=[1], keepdims=1),
            helper.make_node("Mul", ["squares", "rest"], ["outside"]),
            helper.make_node("MatMul", ["z", "axes"], ["along"]),
            helper.make_node("Mul", ["along", "along"], ["along_squared"]),
            helper.make_node("MatMul", ["along_squared", "weights"], ["inside"]),
            helper.make_node("Add", ["outside", "inside"], ["distance"]),
            helper.make_node("Squeeze", ["distance", "last_axis"], [OUTPUTS[2]]),
        ]
    scales = len(ensemble.score)
    shapes: dict[str, list[Any]] = {
        OUTPUTS[0]: [None, scales],
        OUTPUTS[1]: [None, scales],
        OUTPUTS[2]: [None],
    }
    graph = helper.make_graph(
        nodes,
        "router",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="m3-train",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", OPSET_ML)],
    )
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    if len(content) > MAX_BYTES:
        raise ExportError(
            f"The graph has {len(content) / 1e6:.1f} MB, the limit is {MAX_BYTES / 1e6:.0f}: "
            f"fit fewer or smaller trees ({ensemble.n_trees} now)."
        )
    return content


def check_parity(content: bytes, wanted: Predictions, features: Float32) -> float:
    """Largest difference of the graph from what the library predicts, over all rows and heads.

    Raises `ExportError` when it is over `TOLERANCE` anywhere. Novelty is compared relative to its size.
    """
    predictor = OnnxPredictor(content, n_features=features.shape[1], n_scales=wanted.score.shape[1])
    got = predictor.predict(features)
    gaps = [
        np.abs(got.sufficient - wanted.sufficient).max(axis=1),
        np.abs(got.score - wanted.score).max(axis=1),
    ]
    worst = float(np.max(gaps))
    if worst > TOLERANCE:
        raise ExportError(
            f"Row {int(np.max(gaps, axis=0).argmax())}: the ONNX graph differs from the fitted trees by "
            f"{worst:.2g}, at most {TOLERANCE:g} is allowed. The export is at fault, not the data."
        )
    novelty = np.abs(got.novelty - wanted.novelty) / np.maximum(1.0, np.abs(wanted.novelty))
    if float(novelty.max()) > 1e-3:  # a sum of some hundred squares in float32
        raise ExportError(
            f"The ONNX graph's novelty differs by {float(novelty.max()):.2g} from the one fitted."
        )
    return worst


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
            line = "threshold=" + " ".join(
                repr(float(t)) for t in round_down([float(v) for v in value.split()])
            )
        elif key == "objective":
            line = "objective=regression"
        elif key == "tree_sizes":  # sizes in bytes of text that has just changed; they may be left out
            continue
        out.append(line)
    return lgb.Booster(model_str="\n".join([*out, ""]))


def round_down(values: Sequence[float]) -> Float32:
    """The largest float32 that is not above each value."""
    wide = np.asarray(values, dtype=np.float64)
    near = wide.astype(np.float32)
    return np.where(near.astype(np.float64) > wide, np.nextafter(near, np.float32(-np.inf)), near)


def _merge(ensemble: Ensemble, width: int) -> onnx.NodeProto:
    """One TreeEnsembleRegressor with a target per column. Inputs are finite: no tracks for missing values."""
    nodes: dict[str, list[Any]] = {
        name: [] for name in ("nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    }
    tree_ids: list[int] = []
    targets: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    next_tree = 0
    for trees in ensemble.trees:
        model = convert_lightgbm(
            single_precision(trees.booster), initial_types=[("x", FloatTensorType([None, width]))]
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
        for column in trees.columns:
            targets["treeids"].extend(next_tree + i for i in part["target_treeids"])
            targets["nodeids"].extend(part["target_nodeids"])
            targets["weights"].extend(part["target_weights"])
            targets["ids"].extend([column] * len(part["target_ids"]))
        next_tree = 1 + max(tree_ids)
    return helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        ["raw"],
        domain="ai.onnx.ml",
        n_targets=ensemble.n_columns,
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=tree_ids,
        **{f"nodes_{name}": values for name, values in nodes.items()},
        **{f"target_{name}": values for name, values in targets.items()},
    )
