"""Means over training seeds, with intervals that cover both the images drawn and the seeds drawn.

A candidate is a way to learn, and is judged by the mean over its seeds. A resample draws images with
replacement, the same for all candidates, and seeds with replacement, for each candidate apart. Few seeds
drawn with replacement spread too little, by (N - 1) / N in variance; the deviation that they add is
widened by as much, so that with N seeds it has the variance s^2 / N of their mean.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from training.evaluation.comparison import Estimate
from training.evaluation.frontier import Floats


@dataclass(frozen=True)
class Averaged:
    """The mean over N seeds of a quantity of any shape [...]: on the sample, and on B resamples.

    value: [...]; draws: [B, ...]; spread: [...] standard deviation between seeds, NaN for one seed.
    """

    value: Floats
    draws: Floats
    spread: Floats

    def __sub__(self, other: Averaged) -> Averaged:
        """The paired difference: images are shared, seeds are not."""
        return Averaged(
            self.value - other.value, self.draws - other.draws, np.full_like(self.value, float("nan"))
        )

    def estimate(self, *index: int) -> Estimate:
        """Of the whole quantity where it has no shape, else of one entry."""
        return Estimate.of(float(self.value[index]), np.moveaxis(self.draws, 0, -1)[index])


@dataclass(frozen=True)
class SeedDraws:
    """Which of N seeds each of B resamples draws: [B, N]."""

    drawn: np.ndarray[tuple[int, int], np.dtype[np.int64]]

    @classmethod
    def of(cls, name: str, seeds: int, draws: int, seed: int) -> SeedDraws:
        """name: of the candidate, so that its draws do not depend on who else is compared."""
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        return cls(rng.integers(seeds, size=(draws, seeds), dtype=np.int64))

    def average(self, values: Floats, draws: Floats) -> Averaged:
        """values: [N, ...] per seed; draws: [N, B, ...] per seed on the resampled images."""
        n = len(values)
        mean = draws.mean(axis=0)
        if n == 1:
            return Averaged(values[0], mean, np.full_like(values[0], float("nan")))
        rows = np.arange(len(self.drawn))
        some = np.stack([draws[self.drawn[:, i], rows] for i in range(n)]).mean(axis=0)
        widened = mean + np.sqrt(n / (n - 1)) * (some - mean)
        return Averaged(values.mean(axis=0), widened, values.std(axis=0, ddof=1))
