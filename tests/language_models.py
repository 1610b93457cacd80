"""A language model elsewhere, for tests without vLLM: torch's, asked as `m3_backbone.host` asks vLLM."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import torch

from m3_backbone.language_model import LanguageModelDied, Picked, Prefix, margin
from m3_backbone.model import M3Model
from m3_backbone.slots import Block, Step
from m3_backbone.types import EngineError


class TorchClient:
    """`m3_backbone.language_model.Client` on the decoder of ``backbone``, greedy, one token a turn.

    The switches: ``hangs`` gives no token, ``refuses`` fails every request alone, ``kill`` ends it as a crash
    does, ``broken`` keeps it shut.
    """

    def __init__(self, backbone: M3Model) -> None:
        self.decoder = backbone.decoder
        self.opened = 0
        self.asked = 0
        self.streams = 0  # that run now
        self.hangs = False
        self.refuses = False
        self.broken = False
        self._killed = False

    def kill(self) -> None:
        self._killed = True

    async def open(self) -> None:
        if self.broken:
            raise LanguageModelDied("It does not open.")
        self.opened += 1
        self._killed = False

    async def close(self) -> None:
        pass

    @property
    def dead(self) -> bool:
        return self._killed

    async def stream(self, prefix: Prefix) -> AsyncGenerator[Picked, None]:
        self.asked += 1
        self.streams += 1
        try:
            hidden = prefix.embeds
            block = Block(self.decoder, 1, hidden.shape[0] + prefix.max_new_tokens)
            for _ in range(prefix.max_new_tokens):
                await asyncio.sleep(0)
                while self.hangs:
                    await asyncio.sleep(0.01)
                if self.refuses:
                    raise EngineError("It refuses.")
                if self._killed:
                    raise LanguageModelDied("It died.")
                picked = self._next(block, hidden)
                yield picked
                if picked.token in prefix.stop_ids:
                    return
                hidden = self.decoder.embed(torch.tensor([picked.token]))
        finally:
            self.streams -= 1

    @torch.inference_mode()
    def _next(self, block: Block, hidden: torch.Tensor) -> Picked:
        n = hidden.shape[0]
        positions = torch.arange(n) + block.length
        states = self.decoder.forward([Step(block, hidden, positions, n, mask=None)])
        values, ids = self.decoder.logits(states[-1:])[0].log_softmax(-1).topk(2)
        return Picked(int(ids[0]), min(0.0, float(values[0])), margin(values.tolist()))
