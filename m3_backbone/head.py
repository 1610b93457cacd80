"""The text before the first image: the same in every prompt of a template, so computed once for a batch."""

from __future__ import annotations

import torch

from m3_backbone.decoder import Decoder
from m3_backbone.slots import Block, Kept, Step


class Head:
    """Keys and values of ``ids``, with which rows of a batch start."""

    def __init__(self, decoder: Decoder, ids: tuple[int, ...]) -> None:
        self.ids = ids
        self.length = len(ids)
        self.block = Block(decoder, 1, self.length)
        device = decoder.device
        step = Step(
            block=self.block,
            hidden=decoder.embed(torch.tensor(ids, device=device)),
            positions=torch.arange(self.length, device=device),
            queries=self.length,
            mask=None,
            # nobody reads the last layer's output
            keep=Kept(torch.zeros(0, dtype=torch.int64, device=device)),
        )
        decoder.forward([step])
