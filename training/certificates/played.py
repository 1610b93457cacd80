"""A policy played over an outcome table at all of its settings: what it loses and spends by image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from data.records import OutcomeTable
from router.constraints import LossName
from training.certificates.bounds import Floats
from training.certificates.losses import at_scales, image_means


@dataclass(frozen=True)
class Played:
    """What a policy does on n samples at K settings, the first of which is the full scale for all.

    choices: int8 [K, n], the index of the scale that answers. tokens: [K, n] visual tokens of all passes.
    """

    table: OutcomeTable
    choices: NDArray[np.int8]
    tokens: Floats

    def losses(self, loss: LossName) -> Floats:
        """[m, K] by image, the unit of every certificate."""
        values = at_scales(self.table, loss)
        rows = np.arange(len(values))
        lost = np.stack([values[rows, choice] for choice in self.choices])
        return image_means(lost, self.table.image_index)

    def image_tokens(self) -> Floats:
        """[m, K] mean visual tokens by image."""
        return image_means(self.tokens, self.table.image_index)

    def family(self, name: str) -> Self:
        """The samples of one family alone."""
        rows = np.flatnonzero(self.table.families == name)
        return replace(
            self, table=self.table.take(rows), choices=self.choices[:, rows], tokens=self.tokens[:, rows]
        )
