"""What the second look is learned from: a row per sample and scale tried, its labels every scale's score."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from router.cascade import evidence
from router.features import Float32
from router.predictor import Predictions
from training.candidates.base import Examples, Logits, heads
from training.evaluation.passes import confidences
from training.graph import ExportError


@runtime_checkable
class HeldOut(Protocol):
    """A fitted candidate that kept what its fits on folds said of the samples that they had not seen."""

    @property
    def logits(self) -> Logits: ...

    @property
    def held_out(self) -> NDArray[Any]:
        """[n, C] logits."""
        ...


def held_out(fitted: object, name: str) -> Predictions:
    """What was said of the samples it was fitted on by fits without their images, not calibrated.

    name: of the candidate. Raises `ExportError` when it kept nothing of the kind.
    """
    if not isinstance(fitted, HeldOut) or not len(fitted.held_out):
        raise ExportError(
            f"Candidate {name!r} keeps no predictions of held-out samples: a second look cannot be learned "
            "from those of samples it was fitted on. Take another candidate."
        )
    return heads(fitted.logits, fitted.held_out.astype(np.float64))


def attempts(examples: Examples, predictions: Predictions) -> Examples:
    """[(S - 1) n] rows: all samples tried at the smallest scale, then at the next, up to the last but one.

    predictions: the router's, calibrated, [n, S]; on samples that the router was fitted on they must be those
    of fits that had not seen the image, or the second look learns to trust them too far.
    """
    n, n_scales = predictions.score.shape
    rows = np.tile(np.arange(n), n_scales - 1)
    features = [seen(examples, predictions, scale) for scale in range(n_scales - 1)]
    return Examples(
        table=examples.table.take(rows),
        spec=examples.spec,
        features=np.concatenate(features),
        sufficient=examples.sufficient[rows],
    )


def seen(examples: Examples, predictions: Predictions, scale: int) -> Float32:
    """[n, E] the evidence on all samples after their answers at the scale with index ``scale``."""
    tried = np.full(len(examples), scale, np.int64)
    return evidence(predictions, tried, confidences(examples.table)[:, scale])
