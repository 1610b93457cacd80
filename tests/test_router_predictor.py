from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from router.errors import BundleCorrupt, PredictorError
from router.predictor import OnnxPredictor
from tests.routing import outcomes, small_fit
from training.export import export


def graph(
    sufficient: tuple[int, ...] = (1, 5), bias: float = 0.0, outputs: str = "sufficient score novelty"
) -> bytes:
    """features [n, 3] -> two zero heads of the given widths, plus ``bias``; novelty is the first feature."""
    names = outputs.split()
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], [names[0]]),
        helper.make_node("Identity", [names[0]], [names[1]]),
        helper.make_node("Gather", ["features", "zero"], [names[2]], axis=1),
    ]
    constants: dict[str, Any] = {
        "weights": np.zeros((3, sufficient[1]), np.float32),
        "bias": np.full(sufficient, bias, np.float32),
        "zero": np.array(0, np.int64),
    }
    made = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(made, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    return bytes(model.SerializeToString())


def test_a_fitted_graph_gives_both_heads_and_novelty_in_float32() -> None:
    bundle = small_fit().bundle
    table = outcomes(10, split="dev")
    predictor = OnnxPredictor(bundle.onnx, n_features=bundle.features.width, n_scales=5)
    found = predictor.predict(bundle.features.matrix(table))
    assert found.sufficient.shape == found.score.shape == (len(table), 5)
    assert found.novelty.shape == (len(table),)
    assert found.sufficient.dtype == found.score.dtype == found.novelty.dtype == np.float32
    assert ((found.score > 0) & (found.score < 1)).all()


def test_a_row_alone_is_predicted_as_in_a_batch() -> None:
    bundle = small_fit().bundle
    features = bundle.features.matrix(outcomes(10, split="dev"))
    predictor = OnnxPredictor(bundle.onnx, n_features=bundle.features.width, n_scales=5)
    batch = predictor.predict(features)
    for i in range(len(features)):
        np.testing.assert_allclose(predictor.predict(features[i : i + 1]).score[0], batch.score[i], atol=1e-6)


def test_without_novelty_the_graph_gives_zeros_for_one_row_and_for_many() -> None:
    fitted = small_fit()
    width = fitted.bundle.features.width
    from training.candidates.base import Examples
    from training.candidates.lightgbm_per_scale import LightGBMPerScale

    candidate = LightGBMPerScale(grid=({"num_leaves": 4},), folds=2, rounds=3)
    examples = Examples.of(outcomes(60), fitted.bundle.features)
    logits = candidate.fit(examples, seed=0, threads=1).logits
    predictor = OnnxPredictor(export(logits, None, width), n_features=width, n_scales=5)
    for n in (1, 7):
        assert predictor.predict(examples.features[:n]).novelty.tolist() == [0.0] * n


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((1, 3)), r"takes float32 \[n, 3\], got float64"),
        (np.zeros((1, 4), np.float32), r"got float32 \(1, 4\)"),
        (np.zeros(3, np.float32), r"got float32 \(3,\)"),
        (np.array([[0, np.nan, 0]], np.float32), "NaN or infinity"),
        (np.array([[0, np.inf, 0]], np.float32), "NaN or infinity"),
    ],
)
def test_features_that_cannot_be_right_are_refused(features: Any, message: str) -> None:
    predictor = OnnxPredictor(graph(), n_features=3, n_scales=5)
    with pytest.raises(PredictorError, match=message):
        predictor.predict(features)


def test_answers_that_cannot_be_right_are_refused() -> None:
    row = np.zeros((2, 3), np.float32)
    with pytest.raises(PredictorError, match="gave NaN or infinity"):
        OnnxPredictor(graph(bias=float("nan")), n_features=3, n_scales=5).predict(row)
    with pytest.raises(PredictorError, match="5 scales need"):
        OnnxPredictor(graph((1, 4)), n_features=3, n_scales=5).predict(row)
    with pytest.raises(PredictorError, match="onnxruntime failed"):
        OnnxPredictor(graph((3, 5)), n_features=3, n_scales=5).predict(row)


def test_bytes_that_are_no_such_graph_are_refused() -> None:
    with pytest.raises(BundleCorrupt, match="not a graph that onnxruntime can load"):
        OnnxPredictor(b"\x80\x04not onnx", n_features=3, n_scales=5)
    with pytest.raises(BundleCorrupt, match="width 4"):
        OnnxPredictor(graph(), n_features=4, n_scales=5)
    with pytest.raises(BundleCorrupt, match="does not give sufficient, score, novelty"):
        OnnxPredictor(graph(outputs="sufficient score other"), n_features=3, n_scales=5)


def test_predictions_are_values_that_can_be_replaced_but_not_changed() -> None:
    found = OnnxPredictor(graph(bias=0.5), n_features=3, n_scales=5).predict(np.ones((2, 3), np.float32))
    assert found.score.tolist() == [[0.5] * 5] * 2
    assert found.novelty.tolist() == [1.0, 1.0]
    assert replace(found, novelty=found.novelty * 2).novelty.tolist() == [2.0, 2.0]
    with pytest.raises(AttributeError):
        found.score = found.sufficient  # type: ignore[misc]
