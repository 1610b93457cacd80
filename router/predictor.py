"""Features -> P(sufficient at scale) and expected score for every scale.

Not covered: calibration (`router.calibration`) and the choice itself (`router.policy`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from router.errors import BundleCorrupt, PredictorError

Float32 = NDArray[np.float32]

INPUT = "features"
OUTPUTS = ("sufficient", "score", "novelty")
"""Names of the ONNX graph's input and outputs; `training.export` writes them."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What is predicted for n requests and S scales; all float32.

    sufficient: [n, S] P(scale is sufficient). score: [n, S] expected score, in [0, 1].
    novelty: [n] squared distance of the image from the images of training; 0 where none was fitted.
    """

    sufficient: Float32
    score: Float32
    novelty: Float32


class Predictor(Protocol):
    """One abstract method, so that a predictor can be anything that maps a matrix to predictions."""

    def predict(self, features: Float32) -> Predictions:
        """``features``: float32 [n, F]. Raises `PredictorError` when the answer cannot be used."""
        ...


class OnnxPredictor:
    """The predictor of a bundle, run by onnxruntime on the CPU.

    model: bytes of the ONNX file. n_features, n_scales: what the manifest says, checked against the graph.
    threads: onnxruntime's own threads; one, because a request is one row and the service has its own.
    file: what messages call it.
    Raises `BundleCorrupt` when the bytes are no such graph.
    """

    def __init__(
        self,
        model: bytes,
        *,
        n_features: int,
        n_scales: int,
        threads: int = 1,
        file: str = "predictor.onnx",
    ) -> None:
        import onnxruntime as ort  # costs a tenth of a second: only who predicts pays it

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its warnings go to stderr past our logging; faults are raised anyway
        try:
            self._session: Any = ort.InferenceSession(
                model, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as err:  # onnxruntime has a private exception type per fault
            raise BundleCorrupt(
                f"{file} is not a graph that onnxruntime can load: fit the bundle again."
            ) from err
        self._n_features = n_features
        self._n_scales = n_scales
        inputs = [(i.name, i.type, i.shape[1:]) for i in self._session.get_inputs()]
        if inputs != [(INPUT, "tensor(float)", [n_features])]:
            raise BundleCorrupt(
                f"{file} takes {inputs}; the manifest's features need one float32 input "
                f"'{INPUT}' of width {n_features}: fit the bundle again."
            )
        if [o.name for o in self._session.get_outputs()] != list(OUTPUTS):
            raise BundleCorrupt(f"{file} does not give {', '.join(OUTPUTS)}: fit the bundle again.")

    def predict(self, features: Float32) -> Predictions:
        """See `Predictor.predict`. Refuses NaN and infinities on the way in and on the way out."""
        if features.dtype != np.float32 or features.ndim != 2 or features.shape[1] != self._n_features:
            raise PredictorError(
                f"The predictor takes float32 [n, {self._n_features}], got {features.dtype} {features.shape}."
            )
        if not np.isfinite(features).all():
            raise PredictorError("The features hold NaN or infinity.")
        try:
            sufficient, score, novelty = self._session.run(list(OUTPUTS), {INPUT: features})
        except Exception as err:  # as above
            raise PredictorError("onnxruntime failed on this input.") from err
        shape = (len(features), self._n_scales)
        if sufficient.shape != shape or score.shape != shape or novelty.shape != shape[:1]:
            raise PredictorError(
                f"The predictor gave {sufficient.shape}, {score.shape} and {novelty.shape}; "
                f"{shape[1]} scales need {shape}, {shape} and {shape[:1]}."
            )
        if not (np.isfinite(sufficient).all() and np.isfinite(score).all() and np.isfinite(novelty).all()):
            raise PredictorError("The predictor gave NaN or infinity.")
        return Predictions(sufficient, score, novelty)
