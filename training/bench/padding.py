"""How much of what a batch computes is padding, counted from the steps that the decoder is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from m3_backbone.decoder import Decoder
from m3_backbone.slots import Step


@dataclass(slots=True)
class Padding:
    """Token slots of all steps, prefill and decoding.

    computed: tokens that went through the linear layers, where there is no padding. attended: slots of
    attention's queries, of which ``computed`` hold a token. forwards: passes through the layers.
    """

    computed: int = 0
    attended: int = 0
    forwards: int = 0

    @property
    def waste(self) -> float:
        """Share of attention's slots that hold no token; 0 before anything ran."""
        return 1 - self.computed / self.attended if self.attended else 0.0


class CountingDecoder(Decoder):
    """`Decoder` that notes how its steps are filled; put in an `M3Model`'s place for one untimed pass."""

    def __init__(self, decoder: Decoder, padding: Padding) -> None:
        super().__init__(decoder.model)
        self._padding = padding

    def forward(self, steps: Sequence[Step]) -> Tensor:
        self._padding.forwards += 1
        for step in steps:
            self._padding.computed += step.hidden.shape[0]
            self._padding.attended += step.block.rows * step.queries
        return super().forward(steps)
