"""How unlike the images of training an image is: a Mahalanobis distance with a low-rank covariance.

The k largest principal axes of the standardised image features have their own variance, all others share
one (probabilistic PCA, Tipping and Bishop 1999). Divided by the number of features, so that an image like
those of training scores about 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.features import Float32

AXES = 32
QUANTILE = 0.999


@dataclass(frozen=True)
class Novelty:
    """columns: [K] of the feature vector; mean, scale: [K]; axes: [K, k]; weights: [k]; rest: a number.

    novelty = rest |z|^2 + sum_i weights_i (z axes_i)^2, z = (x[columns] - mean) scale.
    """

    columns: NDArray[np.int64]
    mean: Float32
    scale: Float32
    axes: Float32
    weights: Float32
    rest: np.float32

    def __call__(self, features: Float32) -> Float32:
        """[n] of features [n, F]; the graph of the bundle computes the same."""
        z = (features[:, self.columns] - self.mean) * self.scale
        distance: Float32 = (
            ((z @ self.axes) ** 2) @ self.weights + self.rest * (z**2).sum(axis=1, dtype=np.float32)
        ).astype(np.float32)
        return distance


def fit_novelty(features: Float32, columns: NDArray[np.int64], axes: int = AXES) -> Novelty:
    """Fit on features [m, F], one row per image, of which ``columns`` [K] describe the image."""
    x = features[:, columns].astype(np.float64)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)  # a constant column says nothing
    z = (x - mean) * scale
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    live = max(1, int((scale > 0).sum()))
    k = min(axes, live - 1)
    # The floor keeps directions in which the training images hardly differ from being all that counts.
    rest = max(float(values[k:live].mean()), 0.01) if k < live else 1.0
    variances = np.maximum(values[:k], rest)
    return Novelty(
        columns=columns,
        mean=mean.astype(np.float32),
        scale=scale.astype(np.float32),
        axes=vectors[:, :k].astype(np.float32),
        weights=((1 / variances - 1 / rest) / live).astype(np.float32),
        rest=np.float32(1 / rest / live),
    )


def threshold(novelty: Float32, quantile: float = QUANTILE) -> float:
    """The smallest novelty that at least ``quantile`` of the images [m] do not exceed."""
    return float(np.quantile(novelty.astype(np.float64), quantile, method="higher"))
