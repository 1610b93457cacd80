"""A fitted candidate -> one ONNX graph: features [n, F] -> sufficient [n, S], score [n, S], novelty [n].

The candidate gives the part that leads to its logits (`training.graph`); the heads and novelty are added
here, and the whole is compared with what was fitted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from router.features import Float32
from router.predictor import INPUT, OUTPUTS, OnnxPredictor, Predictions
from training.candidates.base import Logits
from training.graph import IR_VERSION, OPSET, OPSET_ML, ExportError
from training.novelty import Novelty

__all__ = ["MAX_BYTES", "TOLERANCE", "ExportError", "check_parity", "export"]

TOLERANCE = 1e-5
MAX_BYTES = 8_000_000


def export(logits: Logits, novelty: Novelty | None, width: int) -> bytes:
    """The graph's bytes. width: F. Raises `ExportError` when it is over `MAX_BYTES`."""
    part = logits.graph(width)
    nodes = [
        *part.nodes,
        helper.make_node("Sigmoid", [part.output], ["probability"]),
        helper.make_node("Gather", ["probability", "sufficient_columns"], [OUTPUTS[0]], axis=1),
        helper.make_node("Gather", ["probability", "score_columns"], [OUTPUTS[1]], axis=1),
    ]
    constants: dict[str, NDArray[Any]] = {
        "sufficient_columns": np.asarray(logits.sufficient, np.int64),
        "score_columns": np.asarray(logits.score, np.int64),
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
    constants |= part.constants
    scales = len(logits.score)
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
            f"The graph has {len(content) / 1e6:.1f} MB, the limit is {MAX_BYTES / 1e6:.0f}: {part.remedy}."
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
    if not worst <= TOLERANCE:  # a NaN is not
        raise ExportError(
            f"Row {int(np.max(gaps, axis=0).argmax())}: the ONNX graph differs from the predictor that was "
            f"fitted by {worst:.2g}, at most {TOLERANCE:g} is allowed. The export is at fault, not the data."
        )
    novelty = np.abs(got.novelty - wanted.novelty) / np.maximum(1.0, np.abs(wanted.novelty))
    if not float(novelty.max()) <= 1e-3:  # a sum of some hundred squares in float32
        raise ExportError(
            f"The ONNX graph's novelty differs by {float(novelty.max()):.2g} from the one fitted."
        )
    return worst
