"""A router replayed over an outcome table at every setting of a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable, RecordError
from router.certificates import Setting
from router.constraints import LossName
from router.predictor import Predictions
from router.router import Router
from training.certificates.bounds import Floats
from training.certificates.losses import at_scales, by_image


@dataclass(frozen=True)
class Replay:
    """What a policy does on n samples at K settings of ``path``.

    choices: int8 [K, n], the index of the scale that answers. tokens: [K, n] visual tokens of all passes.
    """

    table: OutcomeTable
    path: tuple[Setting, ...]
    choices: NDArray[np.int8]
    tokens: Floats

    @classmethod
    def of(
        cls, router: Router, predictions: Predictions, table: OutcomeTable, path: Sequence[Setting]
    ) -> Replay:
        """With its fallback, as it is served. Raises `RecordError` for a cascade, which needs more passes."""
        cascade = next((s for s in path if s.threshold is not None), None)
        if cascade is not None:
            raise RecordError(f"{cascade} is a setting of a cascade, and a router alone makes one pass.")
        choices = np.stack(
            [router.play(predictions, table.visual_tokens, setting).astype(np.int8) for setting in path]
        )
        rows = np.arange(len(table))
        tokens = np.stack([table.visual_tokens[rows, choice] for choice in choices]).astype(np.float64)
        return cls(table, tuple(path), choices, tokens)

    def losses(self, loss: LossName) -> Floats:
        """[m, K] by image, unit of every certificate."""
        return by_image(at_scales(self.table, loss), self.choices, self.table.image_index)

    def image_tokens(self) -> Floats:
        """[m, K] mean visual tokens by image."""
        _, image_of = np.unique(self.table.image_index, return_inverse=True)
        samples = np.bincount(image_of)
        sums = [np.bincount(image_of, tokens, len(samples)) for tokens in self.tokens]
        return np.stack(sums, axis=1) / samples[:, None]

    def family(self, name: str) -> Replay:
        """The samples of one family alone."""
        rows = np.flatnonzero(self.table.families == name)
        return replace(
            self, table=self.table.take(rows), choices=self.choices[:, rows], tokens=self.tokens[:, rows]
        )
